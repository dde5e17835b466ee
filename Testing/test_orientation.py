"""X-rays that are stored turned or mirrored: in C-arm files, in DICOM tags, and back from a view."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.geometry.entries import Entry, carm_of_view, view_from_entries
from XrayCTRegistrationLib.io.dicom_geometry import carm_entries

CARM = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.5, 0.4],
    "image_size_px": [300, 200],
    "principal_point_px": [140.0, 90.0],
    "primary_angle_deg": -30.0,
    "secondary_angle_deg": 20.0,
}
XA = {
    "DistanceSourceToDetector": 1020,
    "DistanceSourceToPatient": 700,
    "ImagerPixelSpacing": [0.3, 0.3],
    "PositionerPrimaryAngle": -30,
    "PositionerSecondaryAngle": 20,
}
TURNED_OR_MIRRORED = [("L", "F"), ("R", "F"), ("L", "H"), ("R", "H"), ("F", "L"), ("F", "R"), ("H", "L"), ("H", "R")]
LPS = {"L": (0, 1), "R": (0, -1), "H": (2, 1), "F": (2, -1)}  # axis and sign


def tags(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("orientation", TURNED_OR_MIRRORED)
def test_columns_and_rows_run_where_the_letters_say(orientation):
    view = view_from_carm({**CARM, "patient_orientation": list(orientation)})
    for letter, along in zip(orientation, view.axes.T):
        axis, sign = LPS[letter]
        assert sign * along[axis] > 0.8  # cos 30 deg = 0.87 and cos 20 deg = 0.94
    plain = view_from_carm(CARM)
    np.testing.assert_allclose(view.source, plain.source, atol=1e-9)
    np.testing.assert_allclose(view.principal_point_px, CARM["principal_point_px"], atol=1e-9)
    np.testing.assert_allclose(view.pixel_spacing_mm, [0.4, 0.5], atol=1e-12)  # of the image as it is stored
    assert np.linalg.det(plain.axes) * np.linalg.det(view.axes) == pytest.approx(
        1 if orientation in {("L", "F"), ("R", "H"), ("F", "R"), ("H", "L")} else -1
    )


@pytest.mark.parametrize("name", ["PA", "AP"])  # both are shown with the patient's left on the right
def test_a_mirrored_image_is_the_plain_one_with_its_columns_in_reverse(name):
    carm = {**CARM, "view": name, "primary_angle_deg": 0}
    plain = view_from_carm(carm)
    point = [299 - CARM["principal_point_px"][0], CARM["principal_point_px"][1]]
    mirrored = view_from_carm({**carm, "principal_point_px": point, "patient_orientation": ["R", "F"]})
    seen = np.array([[30.0, -20, 10], [0, 50, -40]])
    (pixels, _), (reversed_pixels, _) = plain.project_points(seen), mirrored.project_points(seen)
    np.testing.assert_allclose(reversed_pixels, np.array([299, 0]) + [-1, 1] * pixels, atol=1e-9)


@pytest.mark.parametrize("orientation", TURNED_OR_MIRRORED)
@pytest.mark.parametrize("angles", [(0, 0), (-30, 20), (95, -10)])
def test_a_view_turned_or_mirrored_has_a_parametric_carm(orientation, angles):
    carm = dict(zip(("primary_angle_deg", "secondary_angle_deg"), angles))
    letters = [{"L": "P", "R": "A"}.get(word, word) if angles[0] == 95 else word for word in orientation]
    view = view_from_carm({**CARM, **carm, "patient_orientation": letters})
    back = view_from_carm({**carm_of_view(view), "image_size_px": CARM["image_size_px"]})
    np.testing.assert_allclose(back.pixel_to_world, view.pixel_to_world, atol=1e-9)


@pytest.mark.parametrize(
    ("orientation", "told"),
    [
        ("LF", "two words"),
        (["L"], "two words"),
        (["L", "X"], "letters"),
        (["L", ""], "letters"),
        (["L", 1], "letters"),
        (["A", "P"], "does not fit the angles"),
        (["L", "R"], "does not fit the angles"),
    ],
)
def test_letters_that_say_nothing_are_refused(orientation, told):
    carm = {**CARM, "primary_angle_deg": 0, "secondary_angle_deg": 0, "patient_orientation": orientation}
    with pytest.raises(InputError, match=rf"^a\.json: patient_orientation.*({told})"):
        view_from_carm(carm, "a.json")


# ---- DICOM ----


@pytest.mark.parametrize(
    ("said", "orientation"),
    [
        (XA, ["P", "F"]),  # seen from the other side: columns run to the left and front at RAO 30
        (XA, ["R", "F"]),
        (XA, ["F", "L"]),
        ({**XA, "PositionerPrimaryAngle": None, "ViewPosition": "PA"}, ["R", "F"]),
        ({**XA, "PositionerPrimaryAngle": None, "ViewPosition": "AP"}, ["R", "F"]),
        ({**XA, "PositionerPrimaryAngle": None, "ViewPosition": "LL"}, ["A", "F"]),
    ],
)
def test_patient_orientation_turns_the_view(said, orientation):
    plain = carm_entries(tags(**said))
    entries = carm_entries(tags(**said, PatientOrientation=orientation))
    assert entries["patient_orientation"] == Entry(orientation, "DICOM (0020,0020)")
    before, after = (view_from_entries(one, (512, 512), "x.dcm") for one in (plain, entries))
    np.testing.assert_allclose(after.source, before.source, atol=1e-9)
    assert not np.allclose(after.pixel_to_world, before.pixel_to_world)


@pytest.mark.parametrize(
    "said",
    [
        {**XA, "PatientOrientation": ["L", "F"]},
        {**XA, "PatientOrientation": ["LA", "FP"]},
        {**XA, "PositionerPrimaryAngle": 90, "PatientOrientation": ["L", "F"]},  # left lies across the detector
        {**XA, "PatientOrientation": "L"},
        {**XA, "PatientOrientation": None},
        {**XA, "FieldOfViewHorizontalFlip": "YES", "PatientOrientation": ["L", "F"]},
        {**XA, "FieldOfViewHorizontalFlip": "NO", "FieldOfViewRotation": 0},
    ],
)
def test_an_upright_image_is_left_alone_without_a_word(said, caplog):
    with caplog.at_level(logging.INFO):
        assert carm_entries(tags(**said)).keys() == carm_entries(tags(**XA)).keys()
    assert not caplog.messages


@pytest.mark.parametrize("said", [{"FieldOfViewHorizontalFlip": "YES"}, {"FieldOfViewRotation": 90}])
def test_a_field_of_view_that_was_turned_is_told_where_nothing_says_how_the_image_lies(said, caplog):
    assert carm_entries(tags(**XA, **said)) == carm_entries(tags(**XA))
    (told,) = caplog.messages
    assert "turned or mirrored" in told
    assert "patient_orientation" in told


def test_frames_of_a_rotation_run_have_their_own_angles():
    frames = [tags(PositionerPositionSequence=Sequence([tags(PositionerPrimaryAngle=angle)])) for angle in (12, 40)]
    run = tags(PerFrameFunctionalGroupsSequence=Sequence(frames))
    assert [carm_entries(run, frame)["primary_angle_deg"].value for frame in (0, 1)] == [12, 40]
    run.SharedFunctionalGroupsSequence = Sequence([tags(DistanceSourceToDetector=1000)])
    assert carm_entries(run, 1)["source_to_detector_mm"].value == 1000  # what is said of all holds for each


@pytest.mark.parametrize(("length", "fitting"), [(180, "1800 mm"), (1.02, "1020 mm"), (9, "")])
def test_a_distance_that_no_device_has_is_not_used_and_told(length, fitting, caplog):
    assert carm_entries(tags(DistanceSourceToDetector=length)) == {}
    (told,) = caplog.messages
    assert "DICOM (0018,1110)" in told
    assert fitting in told
    assert "not used" in told
