"""Which rays of a CT count: those that stay in it, in the shadow of a bone alone, and not what shows something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.geometry import Pose, view_from_carm
from XrayCTRegistrationLib.volume import Volume, attenuation
from XrayCTRegistrationLib.weights import Extent, ray_weights, shadow, welsch

VIEW = view_from_carm(
    {
        "source_to_detector_mm": 1000,
        "source_to_isocenter_mm": 700,
        "pixel_spacing_mm": [4, 4],
        "image_size_px": [80, 80],
        "view": "PA",
    }
)
SIDE_MM = 160.0


def trunk(slices: int = 40, bone: float = 40.0) -> Volume:
    """A box of soft tissue of 160 x 120 mm, its slices 4 mm apart, with air at the sides but not at the ends."""
    array = np.full((slices, 40, 50), -1000, np.float32)
    array[:, 5:35, 5:45] = bone
    to_world = np.diag([4.0, 4.0, 4.0, 1.0])
    to_world[:3, 3] = [-98, -78, -2.0 * (slices - 1)]
    return Volume(array, to_world)


def weights_at(extent: Extent, pose: Pose) -> np.ndarray:
    return ray_weights(extent, torch.from_numpy(pose.matrix.copy())[None], VIEW)[0].numpy()


def test_a_face_is_cut_where_the_body_reaches_it():
    np.testing.assert_array_equal(Extent.of(attenuation(trunk())).cut, [[False, False], [False, False], [True, True]])


def test_a_whole_body_loses_no_ray():
    whole = trunk()
    array = whole.array.copy()
    array[[0, -1]] = -1000
    assert not Extent.of(attenuation(Volume(array, whole.ijk_to_world))).cut.any()


def test_rays_within_the_ends_count_and_rays_beyond_them_do_not():
    weights = weights_at(Extent.of(attenuation(trunk())), Pose.identity())
    middle, end = weights[40, 40], weights[2, 40]
    assert middle == 1
    assert end == 0


def test_the_border_of_what_counts_is_where_rays_leave_through_the_ends():
    weights = weights_at(Extent.of(attenuation(trunk())), Pose.identity())
    half_mm = 80.0  # of the slices along the rows; rays leave the CT at its face nearer to the detector
    for depth_mm, weight in ((700 + 80, 1.0), (700 - 80, None)):
        row = (half_mm * 1000 / depth_mm) / 4
        if weight == 1.0:
            assert weights[int(40 - row) + 1 : int(40 + row) - 1, 40].min() > 0.99
        else:
            assert weights[: int(39 - row), 40].max() == 0


def test_rays_beside_the_body_count_whatever_the_height():
    far = Pose.from_parts(np.eye(3), np.array([-120.0, 0, 0]))
    weights = weights_at(Extent.of(attenuation(trunk())), far)
    assert min(weights[:, 0].min(), weights[:, -1].min()) == 0  # one side sees the trunk's ends ...
    assert max(weights[:, 0].min(), weights[:, -1].min()) == 1  # ... the other nothing but air


def test_a_tight_crop_is_compared_where_it_is_passed_from_face_to_face():
    array = np.full((30, 30, 30), 40, np.float32)
    to_world = np.diag([4.0, 4.0, 4.0, 1.0])
    to_world[:3, 3] = -58
    extent = Extent.of(attenuation(Volume(array, to_world)))
    assert extent.cut_everywhere
    weights = weights_at(extent, Pose.identity())
    assert weights[40, 40] == 1
    assert weights[2, 2] == 0


def test_a_bone_alone_counts_in_its_shadow_and_a_rim():
    assert Extent.of(attenuation(trunk(bone=600))).bone_alone
    image = torch.zeros(1, 20, 20)
    image[0, 8:12, 8:12] = 1
    seen = shadow(image, 2)[0]
    assert seen.sum() == 8 * 8
    assert seen[6, 6] == 1


def test_an_outlier_counts_nothing_and_a_fit_counts_all():
    weights = welsch(torch.tensor([0.0, 0.3, 3.0]), 0.3)
    assert weights.tolist() == pytest.approx([1.0, np.exp(-0.5), 0.0], abs=1e-6)
