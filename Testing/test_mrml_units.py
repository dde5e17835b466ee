"""Lengths in the unit that the scene asks for, and calibrated views in numbers that people know."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import CARM, new_scene, volume_node, xray_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import XrayView, rotation_from_vector, view_from_carm

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.calibration import computed_geometry, geometry_texts  # noqa: E402
from XrayCTRegistrationLib.mrml.units import MILLIMETRES, length_unit  # noqa: E402


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def unit_node(scene):
    """The unit of lengths as 3D Slicer sets it up: millimetres with four decimals."""
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    units = slicer.vtkSlicerUnitsLogic()
    units.SetMRMLApplicationLogic(application)
    units.SetMRMLScene(scene)
    scene.logics = application, units  # which otherwise take the nodes with them
    return application.GetSelectionNode().GetUnitNode("length")


def test_a_scene_without_units_is_in_millimetres(scene):
    assert length_unit(scene) == MILLIMETRES
    assert MILLIMETRES.text(12.34) == "12.3 mm"


def test_slicers_default_is_in_millimetres_too(scene, unit_node):
    assert length_unit(scene).text(1020.0) == "1020.0 mm"


def test_another_unit_keeps_the_resolution_and_gives_the_length_back(scene, unit_node):
    unit_node.SetSuffix("cm")
    unit_node.SetDisplayCoefficient(0.1)
    unit = length_unit(scene)
    assert unit.text(12.34) == "1.23 cm"  # a tenth of a millimetre
    assert unit.text(0.25, 1e-4) == "0.0250 cm"  # as fine as the unit's four decimals
    assert unit.millimetres(unit.shown(12.34)) == pytest.approx(12.34)


def test_the_precision_of_the_unit_is_not_exceeded(scene, unit_node):
    unit_node.SetPrecision(0)
    assert length_unit(scene).text(12.34) == "12 mm"


def test_the_principal_point_and_the_angles_are_those_the_view_was_made_of():
    known = computed_geometry(view_from_carm(CARM))
    assert known.principal_point_px == pytest.approx(CARM["principal_point_px"], abs=1e-9)
    assert known.pixel_spacing_mm == pytest.approx(CARM["pixel_spacing_mm"])
    assert known.source_to_detector_mm == pytest.approx(CARM["source_to_detector_mm"])
    assert known.primary_angle_deg == pytest.approx(CARM["primary_angle_deg"])
    assert known.secondary_angle_deg == pytest.approx(CARM["secondary_angle_deg"])
    assert np.linalg.norm(known.source_mm) == pytest.approx(CARM["source_to_isocenter_mm"])


def test_a_calibrated_view_without_a_parametric_equivalent_is_told_in_words(scene):
    """A detector turned in its plane, as a projection matrix can have it."""
    view = view_from_carm(CARM | {"primary_angle_deg": 0.0, "secondary_angle_deg": 0.0})
    turn = rotation_from_vector(0.3 * view.axes[:, 2])
    middle = view.detector_points(view.principal_point_px)
    matrix = view.pixel_to_world.copy()
    matrix[:3, :2] = turn @ matrix[:3, :2]
    matrix[:3, 3] = middle - matrix[:3, :2] @ view.principal_point_px
    node = xray_node(scene, "calibrated", XrayView(view.source, matrix, view.size_px))
    assert geometry_texts(node) == {
        "source_mm": "L 0.0, P 650.0, S 0.0 mm",
        "source_to_detector_mm": "1000.0 mm",
        "principal_point_px": "3.0, 4.5 px",
        "pixel_spacing_mm": "0.5000 x 0.7000 mm",
        "primary_angle_deg": "0.0\u00b0",
        "secondary_angle_deg": "0.0\u00b0",
    }


def test_an_xray_without_geometry_says_so(scene):
    bare = volume_node(scene, "bare", np.arange(63.0).reshape(1, 7, 9), np.eye(4))
    with pytest.raises(InputError, match="bare: where the X-ray source stood is not known"):
        geometry_texts(bare)
