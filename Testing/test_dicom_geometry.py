"""C-arm geometry from DICOM tags: each value with the tag it came from, and nothing that no tag says."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from XrayCTRegistrationLib.geometry.entries import Entry
from XrayCTRegistrationLib.io.dicom_files import read_tags
from XrayCTRegistrationLib.io.dicom_geometry import carm_entries, first_value


def tags(**values) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_every_value_names_its_tag():
    entries = carm_entries(
        tags(
            DistanceSourceToDetector=1020,
            DistanceSourceToPatient=700,
            ImagerPixelSpacing=[0.3, 0.4],
            PositionerPrimaryAngle=-32,
            PositionerSecondaryAngle=2.5,
        )
    )
    assert entries == {
        "source_to_detector_mm": Entry(1020.0, "DICOM (0018,1110)"),
        "source_to_isocenter_mm": Entry(700.0, "DICOM (0018,1111)"),
        "pixel_spacing_mm": Entry([0.3, 0.4], "DICOM (0018,1164)"),
        "primary_angle_deg": Entry(-32.0, "DICOM (0018,1510)"),
        "secondary_angle_deg": Entry(2.5, "DICOM (0018,1511)"),
    }


def test_nothing_is_made_up():
    assert carm_entries(tags(Modality="XA")) == {}


@pytest.mark.parametrize("empty", [0, "", None])
def test_distances_of_zero_or_nothing_count_as_not_said(empty):
    assert carm_entries(tags(DistanceSourceToDetector=empty, DistanceSourceToPatient=empty)) == {}


def test_the_isocentre_follows_from_the_magnification():
    entries = carm_entries(tags(DistanceSourceToDetector=1000, EstimatedRadiographicMagnificationFactor=1.25))
    assert entries["source_to_isocenter_mm"] == Entry(800.0, "DICOM (0018,1114), magnification")


def test_spacing_at_the_detector_comes_before_spacing_calibrated_at_the_patient():
    both = tags(ImagerPixelSpacing=[0.3, 0.3], PixelSpacing=[0.2, 0.2], PixelSpacingCalibrationType="GEOMETRY")
    assert carm_entries(both)["pixel_spacing_mm"] == Entry([0.3, 0.3], "DICOM (0018,1164)")
    calibrated = tags(
        PixelSpacing=[0.2, 0.1],
        PixelSpacingCalibrationType="GEOMETRY",
        DistanceSourceToDetector=1200,
        DistanceSourceToPatient=800,
    )
    entry = carm_entries(calibrated)["pixel_spacing_mm"]
    np.testing.assert_allclose(entry.value, [0.3, 0.15])
    assert entry.origin == "DICOM (0028,0030), carried to the detector"


def test_spacing_calibrated_at_the_patient_without_distances_is_not_used():
    assert carm_entries(tags(PixelSpacing=[0.2, 0.2], PixelSpacingCalibrationType="FIDUCIAL")) == {}


def test_uncalibrated_pixel_spacing_and_that_of_a_film_scanner_are_at_the_detector():
    assert carm_entries(tags(PixelSpacing=[0.2, 0.1]))["pixel_spacing_mm"] == Entry([0.2, 0.1], "DICOM (0028,0030)")
    scanned = carm_entries(tags(NominalScannedPixelSpacing=[0.1, 0.1], PixelSpacing=[0.2, 0.2]))
    assert scanned["pixel_spacing_mm"] == Entry([0.1, 0.1], "DICOM (0018,2010)")


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("PA", {"view": "PA"}),
        ("AP", {"view": "AP"}),
        ("LL", {"primary_angle_deg": 90.0}),
        ("RL", {"primary_angle_deg": -90.0}),
        ("ML", {}),
    ],
)
def test_the_projection_of_a_radiograph(position, expected):
    entries = carm_entries(tags(ViewPosition=position))
    assert {name: entry.value for name, entry in entries.items()} == expected
    assert all(entry.origin == "DICOM (0018,5101)" for entry in entries.values())


def test_angles_come_before_the_projections_name():
    entries = carm_entries(tags(ViewPosition="AP", PositionerPrimaryAngle=10))
    assert "view" not in entries
    assert entries["primary_angle_deg"].value == 10


def test_a_turning_c_arm_has_an_angle_per_frame():
    turning = tags(PositionerPrimaryAngle=-30, PositionerPrimaryAngleIncrement=[0, 1.5, 3.0])
    assert [carm_entries(turning, frame)["primary_angle_deg"].value for frame in range(3)] == [-30, -28.5, -27]


def test_tags_inside_the_functional_groups_of_enhanced_objects_are_found():
    positions = pydicom.Sequence([tags(PositionerPrimaryAngle=15)])
    enhanced = tags(SharedFunctionalGroupsSequence=pydicom.Sequence([tags(PositionerPositionSequence=positions)]))
    assert first_value(enhanced, "PositionerPrimaryAngle") == 15
    assert carm_entries(enhanced)["primary_angle_deg"].value == 15


def test_real_files(shared_data):
    chest = carm_entries(read_tags(shared_data / "xray" / "dicom" / "cr_thorax.dcm"))
    assert chest == {
        "source_to_detector_mm": Entry(1996.0, "DICOM (0018,1110)"),
        "view": Entry("PA", "DICOM (0018,5101)"),
    }  # its pixel spacing is 0
    cine = carm_entries(read_tags(shared_data / "xray" / "dicom" / "xa_cine.dcm"))
    assert cine["primary_angle_deg"] == Entry(-32.0, "DICOM (0018,1510)")
    assert set(cine) == {"primary_angle_deg", "secondary_angle_deg"}


class Database:
    """As slicer.dicomDatabase."""

    def __init__(self, files):
        self._files = files

    def fileForInstance(self, uid):
        return self._files.get(uid, "")


def test_a_node_finds_its_file_through_its_instance_uids(shared_data):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_nodes import new_scene, xray_node
    from XrayCTRegistrationLib.mrml.dicom import dicom_entries

    path = shared_data / "xray" / "dicom" / "cr_thorax.dcm"
    node = xray_node(new_scene())
    assert dicom_entries(node, Database({})) == {}
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert dicom_entries(node, Database({"1.2.3": str(path)}))["source_to_detector_mm"].value == 1996
    assert dicom_entries(node, Database({})) == {}
    assert dicom_entries(node, None) == {}


def test_a_node_loaded_from_a_dicom_file_without_the_database_finds_it_too(shared_data):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_nodes import new_scene, xray_node
    from XrayCTRegistrationLib.mrml.dicom import dicom_entries

    scene = new_scene()
    node = xray_node(scene)
    storage = scene.AddNode(slicer.vtkMRMLVolumeArchetypeStorageNode())
    storage.SetFileName(str(shared_data / "xray" / "dicom" / "xa_cine.dcm"))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert dicom_entries(node, None)["primary_angle_deg"].value == -32
    storage.SetFileName(str(shared_data / "xray" / "wrist" / "cam1.json"))
    assert dicom_entries(node, None) == {}
