"""MayaCam calibrations: where their cameras stand and what their pixels see, by hand; and what is wrong with a file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.carm_files import read_carm

MAYACAM_2 = """image size
1000,800

camera matrix
6000,0,500
0,6100,400
0,0,1

rotation
1,0,0
0,0,-1
0,1,0

translation
10
20
900
"""
MAYACAM_1 = "0,0,900\n0,0,0\n0,0,0\n501,401,-6000\n1,1000,800\n"


@pytest.fixture
def carm(tmp_path):
    """Writes a text as a C-arm file and reads it."""

    def read(text: str, size_px=None):
        path = tmp_path / "cam1.txt"
        path.write_text(text)
        return read_carm(path, size_px)

    return read


def test_mayacam_2_is_camera_matrix_times_rotation_and_translation(carm):
    view = carm(MAYACAM_2)
    point = np.array([3.0, -7.0, 5.0])
    x, y, z = 3 + 10, -5 + 20, -7 + 900  # the rotation by hand, then the translation
    pixel, depth = view.project_points(point)
    np.testing.assert_allclose(pixel, [500 + 6000 * x / z, 400 + 6100 * y / z], rtol=1e-12)
    assert depth == pytest.approx(z)
    assert view.size_px == (1000, 800)
    np.testing.assert_allclose(view.source, [-10, -900, 20], atol=1e-9)  # minus the transposed rotation of it


def test_mayacam_1_looks_along_its_negative_z_with_rows_from_the_bottom_and_pixels_from_1(carm):
    view = carm(MAYACAM_1)
    pixel, depth = view.project_points(np.array([10.0, 20.0, 0.0]))
    np.testing.assert_allclose(pixel, [500 + 6000 * 10 / 900, 799 - (400 + 6000 * 20 / 900)], rtol=1e-12)
    assert depth == pytest.approx(900)


@pytest.mark.parametrize(
    ("angles", "right", "up"),
    [("0,90,0", (0, 0, -1), (0, 1, 0)), ("90,0,90", (0, 1, 0), (0, 0, 1))],  # the other order would look elsewhere
)
def test_mayacam_1_turns_about_its_own_z_then_y_then_x(carm, angles, right, up):
    view = carm(MAYACAM_1.replace("0,0,900\n0,0,0", f"900,0,0\n{angles}"))  # both look along -x
    origin, _ = view.project_points(np.zeros(3))
    np.testing.assert_allclose(origin, [500, 799 - 400], atol=1e-9)
    one_right, _ = view.project_points(np.array(right, float))
    one_up, _ = view.project_points(np.array(up, float))
    np.testing.assert_allclose(one_right - origin, [6000 / 900, 0], atol=1e-9)
    np.testing.assert_allclose(one_up - origin, [0, -6000 / 900], atol=1e-9)


def test_both_versions_of_one_camera_are_the_same_view(carm):
    rotation = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()  # world to camera, y down, z ahead
    source = np.array([-300.0, 500.0, 700.0])
    translation = -rotation @ source
    rows = "\n".join(",".join(f"{value:.15g}" for value in row) for row in rotation)
    second = carm(
        f"image size\n640,480\n\ncamera matrix\n5000,0,320.5\n0,5000,230.25\n0,0,1\n\nrotation\n{rows}\n\ntranslation\n"
        + "\n".join(f"{value:.15g}" for value in translation)
    )
    z, y, x = Rotation.from_matrix((np.diag([1, -1, -1]) @ rotation).T).as_euler("ZYX", degrees=True)
    numbers = ",".join(f"{value:.15g}" for value in source), f"{x:.15g},{y:.15g},{z:.15g}"
    first = carm(f"{numbers[0]}\n{numbers[1]}\n0,0,0\n321.5,{480 - 230.25},-5000\n0.1,640,480\n")
    np.testing.assert_allclose(first.world_to_pixel, second.world_to_pixel, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("text", [MAYACAM_1, MAYACAM_2])
def test_the_image_decides_whether_width_or_height_comes_first(carm, text):
    turned = text.replace("1000,800", "800,1000")
    assert carm(turned).size_px == (800, 1000)
    one, other = carm(turned, (1000, 800)), carm(text)
    assert one.size_px == (1000, 800)
    np.testing.assert_allclose(one.world_to_pixel, other.world_to_pixel)  # rows from the bottom count from its height


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MAYACAM_2.partition("rotation")[0], '"rotation".*takes 9 numbers.*missing'),
        (MAYACAM_2.replace("0,6100,400", "0,6100,cy"), '"camera matrix".*holds 6'),
        (MAYACAM_2.replace("1,0,0\n0,0,-1", "1,0,0\n0,0,-2"), "rotation"),
        (MAYACAM_2.replace("6000,0,500", "-6000,0,500"), "camera matrix"),
        (MAYACAM_2.replace("1000,800", "1000.5,800"), "image size"),
        (MAYACAM_2.replace("\n900", "\n90"), "centimetres"),
        (MAYACAM_1.replace("0,0,900", "0,0,90"), "centimetres"),
        (MAYACAM_1.replace("-6000", "6000"), "below 0"),
        (MAYACAM_1.rpartition("1,1000")[0], "five lines"),
    ],
)
def test_a_file_that_is_no_camera_is_told_with_its_name_and_the_remedy(carm, text, said):
    with pytest.raises(InputError, match=rf"(?s)^cam1\.txt: .*{said}"):
        carm(text)


def test_a_text_that_is_neither_mayacam_nor_json_is_told_as_before(carm):
    with pytest.raises(InputError, match=r"^cam1\.txt: line 1, column 1 is not valid JSON"):
        carm("distance 1000\n")
