"""The body beyond a CT's ends: where it is taken to go on, and that rays which leave the CT see it go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.beyond import continued, continuing_faces
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler, view_from_carm
from XrayCTRegistrationLib.projector import projector_for
from XrayCTRegistrationLib.volume import WATER_ATTENUATION_PER_MM, Volume, attenuation
from XrayCTRegistrationLib.weights import Extent, ray_weights

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [4, 4],
    "image_size_px": [60, 60],
}
PA, LATERAL = (view_from_carm(CARM | {"view": name}) for name in ("PA", "LAT"))
ENDS = [[False, False], [False, False], [True, True]]
TILTED = Pose.from_parts(rotation_from_euler(np.radians([25.0, 0.0, 10.0])), np.zeros(3))


def trunk(slices: int, margin: int = 5) -> Volume:
    """An elliptic cylinder of soft tissue, 160 x 120 mm, along k, with air about it, its slices 4 mm apart."""
    columns, rows = 40 + 2 * margin, 30 + 2 * margin
    i, j = (np.arange(size) - (size - 1) / 2 for size in (columns, rows))
    inside = (i / 20) ** 2 + (j[:, None] / 15) ** 2 < 1
    array = np.repeat(np.where(inside, 0.0, -1000.0)[None], slices, axis=0).astype(np.float32)
    to_world = np.diag([4.0, 4.0, 4.0, 1.0])
    to_world[:3, 3] = [-2.0 * (columns - 1), -2.0 * (rows - 1), -2.0 * (slices - 1)]
    return Volume(array, to_world)


def drawn(volume: Volume) -> np.ndarray:
    return projector_for(volume, "cpu").images(torch.from_numpy(TILTED.matrix.copy())[None], PA)[0].numpy()


def test_rays_that_leave_a_cut_trunk_see_the_trunk_go_on():
    whole, cut = attenuation(trunk(120)), attenuation(trunk(40))
    truth, longer, bare = (drawn(one) for one in (whole, continued(cut, np.array(ENDS)), cut))
    weights = ray_weights(Extent.of(cut), torch.from_numpy(TILTED.matrix.copy())[None], PA)[0].numpy()
    leaving = (weights > 0.02) & (weights < 0.98) & (truth > 1)
    assert leaving.sum() > 100
    np.testing.assert_allclose(longer[leaving], truth[leaving], rtol=1e-3)
    assert (truth - bare)[leaving].mean() > 0.3


def test_the_body_goes_on_beyond_the_faces_that_go_through_it():
    extent = Extent.of(attenuation(trunk(40)))
    np.testing.assert_array_equal(continuing_faces(extent, [PA], Pose.identity()), ENDS)
    np.testing.assert_array_equal(continuing_faces(extent, [PA, LATERAL], TILTED), ENDS)


def test_a_flank_that_is_grazed_is_cut_but_nothing_goes_on_there():
    extent = Extent.of(attenuation(trunk(40, margin=0)))
    np.testing.assert_array_equal(extent.cut, np.ones((3, 2), bool))
    np.testing.assert_array_equal(extent.through, ENDS)


@pytest.mark.parametrize(
    ("views", "passed"),
    [([PA], [1]), ([LATERAL], [0]), ([PA, LATERAL], [0, 1])],
    ids=["from behind", "from the side", "both"],
)
def test_faces_that_every_ray_of_a_view_passes_stay_the_end(views, passed):
    crop = Volume(np.zeros((20, 20, 20), np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    faces = continuing_faces(Extent.of(attenuation(crop)), views, TILTED)
    np.testing.assert_array_equal(faces, [[axis not in passed] * 2 for axis in range(3)])


def test_a_bone_alone_ends_where_it_ends():
    bone = Volume(np.full((20, 20, 20), 800, np.float32), np.eye(4))
    assert not continuing_faces(Extent.of(attenuation(bone)), [PA], Pose.identity()).any()


def test_the_ct_stays_as_it_is_and_where_it_is():
    rng = np.random.default_rng(0)
    to_world = Pose.from_parts(rotation_from_euler(np.radians([20.0, -30.0, 70.0])), np.array([5.0, -9.0, 40.0])).matrix
    to_world = to_world @ np.diag([3.0, 2.0, 7.0, 1.0])
    array = rng.uniform(0, 3 * WATER_ATTENUATION_PER_MM, (4, 5, 6)).astype(np.float32)
    longer = continued(Volume(array, to_world), np.array([[True, False], [False, False], [True, True]]))
    assert longer.size == (6 + 20, 5, 4 + 2 * 9)  # 60 mm, in whole voxels
    np.testing.assert_array_equal(longer.array[9:13, :, 20:], array)
    np.testing.assert_allclose(longer.points(np.array([20.0, 0, 9])), to_world[:3, 3])
    beyond = longer.array[:9, :, 20:]
    np.testing.assert_array_equal(beyond, np.minimum(array[:1], np.float32(WATER_ATTENUATION_PER_MM)).repeat(9, axis=0))


def test_a_ct_that_nothing_goes_on_beyond_is_the_same_one():
    whole = attenuation(trunk(10))
    assert continued(whole, np.zeros((3, 2), bool)) is whole
