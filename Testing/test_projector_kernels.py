"""Projectors: what they take, the CPU kernel against the float64 reference and autograd, and which one is chosen."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import XrayCTRegistrationLib
from projector_scenes import (
    BONE_PER_MM,
    IDENTITY,
    SMALL_VIEW,
    both,
    carm_view,
    constant,
    grid,
    noise,
    quantised,
    random_poses,
    reference_float64,
    smooth,
    stacked,
)
from XrayCTRegistrationLib import projector
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector
from XrayCTRegistrationLib.projector import projector_for
from XrayCTRegistrationLib.projector.quantised import QuantisedProjector
from XrayCTRegistrationLib.projector.reference import ReferenceProjector
from XrayCTRegistrationLib.volume import Volume

# What a projector is given


@both
def test_arrays_that_are_views_of_others_are_read_as_they_are_indexed(make):
    array = np.random.default_rng(0).uniform(0, BONE_PER_MM, (18, 10, 12)).astype(np.float32)
    turned = array.transpose(2, 0, 1)[::-1, ::2]
    assert not turned.flags.c_contiguous
    poses, view = random_poses(2), SMALL_VIEW
    matrix = grid(turned.shape[::-1])
    images = make(Volume(turned, matrix), 0.7).images(poses, view)
    copied = make(Volume(np.ascontiguousarray(turned), matrix), 0.7).images(poses, view)
    assert torch.equal(images, copied)


@both
def test_a_pose_is_drawn_alike_alone_and_in_a_batch(make):
    projector = make(noise((14, 12, 10), grid((14, 12, 10))), 0.7)
    poses, view, center = random_poses(4), SMALL_VIEW, torch.tensor([1.0, 2, 3], dtype=torch.float64)
    images, jacobians = projector.images_with_jacobian(poses, view, center)
    assert (images[0] - images[1]).abs().max() > 0.01
    for n in range(4):
        image, jacobian = projector.images_with_jacobian(poses[n : n + 1], view, center)
        # The reference adds the same samples in other chunks: float64 rounding. The kernel does the very same.
        torch.testing.assert_close(image[0], images[n], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(jacobian[0], jacobians[n], rtol=1e-12, atol=1e-11)


@both
def test_the_image_is_the_same_with_and_without_its_jacobian(make):
    projector = make(noise((14, 12, 10), grid((14, 12, 10))), 0.7)
    poses, view = random_poses(2), SMALL_VIEW
    image = projector.images(poses, view)
    with_jacobian, _ = projector.images_with_jacobian(poses, view, torch.zeros(3))
    torch.testing.assert_close(with_jacobian, image, rtol=1e-6, atol=1e-7)  # float32 sums in another order


@both
@pytest.mark.parametrize("flip", [np.diag([-1.0, -1, 1, 1]), np.diag([1.0, 1, -1, 1])], ids=["ras_lps", "mirror"])
def test_the_image_is_the_same_when_everything_is_told_in_another_frame(make, flip):
    size, turn = (16, 12, 10), (0.4, -0.3, 0.2)
    volume = noise(size, grid(size, (1.0, 1.3, 2.0), turn))
    flipped_volume = Volume(volume.array, flip @ volume.ijk_to_world)
    pose = Pose.from_parts(rotation_from_vector(np.array([0.5, -0.2, 0.9])), np.array([4.0, -6, 8]))
    flipped_pose = Pose(flip @ pose.matrix @ flip)
    view = carm_view(primary_angle_deg=30, secondary_angle_deg=15, isocenter_mm=[3, 5, -7])
    flipped_view = XrayView(flip[:3, :3] @ view.source, flip @ view.pixel_to_world, view.size_px)
    image = make(volume, 0.7).images(stacked(pose), view)
    flipped = make(flipped_volume, 0.7).images(stacked(flipped_pose), flipped_view)
    assert float(image.std()) > 0.01
    torch.testing.assert_close(flipped, image, rtol=0, atol=2e-6 * float(image.max()))  # float32 positions


@pytest.mark.parametrize("value", [-0.01, np.nan])
def test_the_cpu_projector_refuses_values_that_are_no_attenuation(value):
    array = np.full((3, 3, 3), BONE_PER_MM, np.float32)
    array[1, 1, 1] = value
    with pytest.raises(InputError, match="attenuation"):
        quantised(Volume(array, np.eye(4)), 1.0)


# The CPU kernel and the reference

SCENES = {
    "straight": (grid((26, 22, 18)), {}),
    "anisotropic": (grid((26, 22, 18), (0.8, 0.9, 2.5)), {"pixel_spacing_mm": [3.0, 5.0]}),
    "oblique": (
        grid((26, 22, 18), (1.1, 0.7, 1.6), (0.5, -1.2, 0.8)),
        {"primary_angle_deg": 40, "secondary_angle_deg": -25, "principal_point_px": [8, 14.5]},
    ),
    "flipped_volume_mirrored_detector": (grid((26, 22, 18), (-1.0, 1.0, 1.5)), {"view": "AP", "primary_angle_deg": 10}),
    "source_inside": (grid((26, 22, 18)), {"source_to_isocenter_mm": 5, "source_to_detector_mm": 100}),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("content", [noise, smooth])
def test_the_cpu_kernel_draws_what_the_float64_reference_says(scene, content):
    matrix, carm = SCENES[scene]
    volume = content((26, 22, 18), matrix)
    poses, view = random_poses(3, seed=7), carm_view(**carm)
    center = torch.tensor([3.0, -4, 5], dtype=torch.float64)
    image, jacobian = reference_float64(volume, 0.8).images_with_jacobian(poses, view, center)
    fast_image, fast_jacobian = quantised(volume, 0.8).images_with_jacobian(poses, view, center)

    assert fast_image.dtype == fast_jacobian.dtype == torch.float32
    # 16 bits: 4e-6 of the highest attenuation in every sample, measured 5e-6 of the brightest pixel.
    assert (fast_image - image).abs().max() < 2e-5 * image.max()
    # The gradient of 16-bit values is off by up to 8e-6 of the highest attenuation a voxel, a few hundred times more in
    # comparison where the volume is smooth; rotations and translations have different units. Measured 8e-4 and 7e-5.
    error = fast_jacobian - jacobian
    assert (error.abs() / jacobian.abs().amax(dim=(0, 2, 3), keepdim=True)).max() < 2e-3
    assert error.norm() < 2e-4 * jacobian.norm()


def test_the_analytic_jacobian_is_that_of_autograd_through_the_pose():
    volume = noise((14, 12, 10), grid((14, 12, 10), (1.0, 0.8, 1.7), (0.3, 0.1, -0.4)))
    projector = reference_float64(volume, 0.7)
    view = carm_view(image_size_px=[6, 5], primary_angle_deg=20, view="AP")
    poses = random_poses(2, seed=2)
    center = torch.tensor([3.0, -4, 5], dtype=torch.float64)

    def image_of(twists: torch.Tensor) -> torch.Tensor:
        """The image after `Pose.moved`, written in torch."""
        x, y, z = twists[:, :3].unbind(dim=1)
        zero = torch.zeros_like(x)
        generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
        rotation = torch.linalg.matrix_exp(generator)
        shift = center - rotation @ center + twists[:, 3:]
        motion = torch.cat([rotation, shift[:, :, None]], dim=2)
        last = torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(len(twists), 1, 4)
        return projector.images(torch.cat([motion, last], dim=1) @ poses, view)

    twists = torch.zeros(2, 6, dtype=torch.float64)
    by_autograd = torch.autograd.functional.jacobian(image_of, twists)  # (2, rows, columns, 2, 6)
    image, jacobian = projector.images_with_jacobian(poses, view, center)
    torch.testing.assert_close(image, image_of(twists), rtol=1e-12, atol=0)
    for n in range(2):
        expected = by_autograd[n, :, :, n].permute(2, 0, 1)
        torch.testing.assert_close(jacobian[n], expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
        assert (by_autograd[n, :, :, 1 - n] == 0).all()


# Which projector, and where its compiled code goes


def test_the_cpu_gets_the_compiled_projector_with_the_smallest_voxel_as_step():
    volume = constant((4, 4, 4), (0.9, 0.7, 2.0))
    chosen = projector_for(volume, "cpu")
    assert isinstance(chosen, QuantisedProjector)
    assert chosen.step_mm == pytest.approx(0.7)
    assert projector_for(volume, "cpu", step_mm=0.3).step_mm == 0.3


def test_without_numba_the_reference_draws_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "XrayCTRegistrationLib.projector.cpu", None)  # importing it fails
    projector.kernels_for.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            drawn = [projector_for(constant((4, 4, 4)), "cpu").images(IDENTITY, carm_view()) for _ in range(2)]
    finally:
        projector.kernels_for.cache_clear()
    assert drawn[0].max() > 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Without Numba, cpu has the slower torch reference" in caplog.text


def test_a_gpu_without_its_kernels_is_left_to_those_who_ask_for_it(monkeypatch, caplog):
    """numba-cuda missing: the CPU's kernels are chosen over torch's reference on the GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "XrayCTRegistrationLib.projector.cuda", None)
    projector.kernels_for.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert projector.device_for("auto") == torch.device("cpu")
            assert projector.device_for("cuda") == torch.device("cuda")
    finally:
        projector.kernels_for.cache_clear()
    assert "Without numba-cuda, cuda has the slower torch reference" in caplog.text


def test_a_device_without_kernels_is_drawn_on_by_the_reference_and_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        chosen = projector_for(constant((4, 4, 4)), "meta")
    assert isinstance(chosen, ReferenceProjector)
    assert "no compiled projector runs there" in caplog.text


DRAW_ONE = """
import numpy as np, torch
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.projector import cpu, projector_for
from XrayCTRegistrationLib.volume import Volume
view = view_from_carm({"source_to_detector_mm": 1000, "source_to_isocenter_mm": 700, "pixel_spacing_mm": [1, 1],
                       "image_size_px": [1, 1]})
image = projector_for(Volume(np.ones((9, 9, 9), np.float32), np.eye(4)), "cpu", 0.5).images(torch.eye(4)[None], view)
print(cpu.__file__, float(image), sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows names the cache folder in the registry, not in HOME")
@pytest.mark.parametrize("user_cache", ["writable", "not writable"])
def test_the_kernel_works_where_the_library_is_installed_read_only(tmp_path, user_cache):
    """A file in the way of `__pycache__` keeps everyone from writing there, also root, whom no permission binds."""
    installed = tmp_path / "installed" / "XrayCTRegistrationLib"
    shutil.copytree(
        Path(XrayCTRegistrationLib.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__")
    )
    (installed / "projector" / "__pycache__").touch()
    home = tmp_path / "home"
    home.mkdir() if user_cache == "writable" else home.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    homes = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "XDG_CACHE_HOME"), str(home))
    run = subprocess.run(
        [sys.executable, "-c", DRAW_ONE],
        env={**environment, **homes, "PYTHONPATH": str(installed.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    file, value = run.stdout.splitlines()
    assert Path(file).is_relative_to(installed)
    assert float(value) == pytest.approx(9, abs=0.05)  # oblique by under 1 degree; the step's share, see the boxes
    kept = [path for path in home.rglob("*.nbc") if "_draw-" in path.name]
    assert len(kept) == (1 if user_cache == "writable" else 0)
