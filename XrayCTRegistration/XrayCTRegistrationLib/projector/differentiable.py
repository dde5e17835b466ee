"""The projector as torch differentiates it: to the pose, to the volume, and twice where training needs it.

One trilinear form holds all of it. With y the gradient arriving at the images, V the volume, u a twist and J the
Jacobian of the images to a twist, linear in V,

    T(V, y, u) = sum over pixels p of y_p (u . J_p(V)).

Its three partial derivatives are the pose gradient (to u), the image of a motion (to y), and the volume's share in the
pose gradient (to V); each one's derivatives are the other two. Beside it stand the projection and its adjoint, linear
in V and in y. What is missing is the derivative of J to the pose, the Hessian, and asking for it raises an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.nn.functional import pad

from ..errors import InputError
from ..geometry import XrayView
from ..volume import Volume
from .kernels import Kernels, StoredVolume
from .quantised import QuantisedVolume, padded_placement
from .rays import checked_poses, common_size, motion_fields, ray_arrays
from .reference import project_by_torch
from .selection import kernels_for


@dataclass(frozen=True, eq=False)
class VolumeTensor:
    """A volume that torch may differentiate.

    values: (C, slices, rows, columns) floating point, attenuation per mm, or any other channels to be projected.
    ijk_to_world: 4x4 taking voxel indices (i, j, k, 1) to the CT's own world in mm.
    Raises InputError when the values are not floating point, not finite, or not of four dimensions.
    """

    values: torch.Tensor
    ijk_to_world: np.ndarray
    _padded: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or not self.values.numel() or not self.values.is_floating_point():
            raise InputError(
                "A volume to be projected must be a floating-point tensor (channels, slices, rows, columns), "
                f"not {self.values.dtype} {tuple(self.values.shape)}."
            )
        # A sum meets every value and is quick on any device; only a sum of finite ones can overflow instead.
        if not torch.isfinite(self.values.detach().sum()) and not torch.isfinite(self.values).all():
            raise InputError("The volume to be projected holds values that are not finite (NaN or infinite).")
        Volume(np.empty((1, 1, 1)), self.ijk_to_world)  # checks the placement
        object.__setattr__(self, "ijk_to_world", np.array(self.ijk_to_world, dtype=np.float64))

    @classmethod
    def of(cls, volume: Volume, device: torch.device | str = "cpu") -> VolumeTensor:
        """One channel, float32."""
        return cls(torch.as_tensor(np.asarray(volume.array, np.float32), device=device)[None], volume.ijk_to_world)

    @cached_property
    def center(self) -> np.ndarray:
        """(3,) the middle of the volume in its own world, mm."""
        last = np.array(self.values.shape[:0:-1]) - 1
        return self.ijk_to_world[:3, :3] @ (last / 2) + self.ijk_to_world[:3, 3]

    def padded(self) -> torch.Tensor:
        """The values with a border of one voxel of zeros. Kept while the values stay as they are, since for a large
        volume the copy takes longer than a DRR; made anew where a gradient is to flow into the values."""
        if self.values.requires_grad or self.values.is_inference():
            return pad(self.values, (1,) * 6)
        if self._padded.get("version") != self.values._version:
            self._padded.update(version=self.values._version, values=pad(self.values, (1,) * 6))
        return self._padded["values"]


def project(
    volume: VolumeTensor | QuantisedVolume,
    poses: torch.Tensor,
    views: XrayView | Sequence[XrayView],
    step_mm: float | None = None,
) -> torch.Tensor:
    """DRRs (B, C, rows, columns), of the volume's type and on its device, for poses (B, 4, 4) rigid ct_to_world.

    volume: a quantised one is faster, has one channel, and gives float32 images. views: one for all poses, or one for
    each, of one image size. step_mm: the smallest voxel spacing unless given.

    Differentiable to the poses, and to the values of a VolumeTensor. The gradient of a pose is the one along SE(3):
    right for every parameterisation that stays rigid (exponential map, angles), blind to scaling and shear. With
    create_graph=True the gradients can be differentiated again, to the values and to whatever the image gradient came
    from, but not to the pose: that raises RuntimeError. Leave the pose out, as in loss.backward(inputs=parameters).

    Raises InputError when the poses or views cannot be used.
    """
    views = [views] if isinstance(views, XrayView) else list(views)
    size_px = common_size(views, len(checked_poses(poses)))
    spacings_mm = np.linalg.norm(volume.ijk_to_world[:3, :3], axis=0)
    step_mm = float(spacings_mm.min()) if step_mm is None else float(step_mm)
    if not (np.isfinite(step_mm) and step_mm > 0):
        raise InputError(f"The step between samples must be a positive number of millimetres, not {step_mm:g}.")
    values, stored = None, None
    if isinstance(volume, QuantisedVolume):
        kernels, stored = volume.kernels, volume.stored
    elif volume.values.dtype not in (torch.float32, torch.float64):  # too coarse for the positions along a ray
        images = project(VolumeTensor(volume.values.float(), volume.ijk_to_world), poses, views, step_mm)
        return images.to(volume.values.dtype)
    elif (kernels := kernels_for(volume.values.device)) is None:
        return project_by_torch(volume.values, volume.ijk_to_world, poses, views, step_mm)
    else:
        values = volume.padded()
    center = torch.as_tensor(volume.center, device=poses.device)
    centers = (poses.detach().double() @ torch.cat([center, center.new_ones(1)]))[:, :3]
    rays = ray_arrays(poses, views, padded_placement(volume.ijk_to_world), centers).to(kernels.device)
    twists = _twists(poses, centers).to(kernels.device)
    return _Projection.apply(values, twists, _Scan(kernels, stored, rays, step_mm, size_px))


@dataclass(frozen=True, eq=False)
class _Scan:
    """Where the rays of a projection run, and who marches: through values that torch holds, or a stored volume."""

    kernels: Kernels
    volume: StoredVolume | None
    rays: torch.Tensor
    step_mm: float
    size_px: tuple[int, int]

    def draw(self, values: torch.Tensor | None) -> torch.Tensor:
        return self.kernels.draw(self._stored(values), self.rays, self.step_mm, self.size_px)

    def draw_with_jacobian(self, values: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.kernels.draw_with_jacobian(self._stored(values), self.rays, self.step_mm, self.size_px)

    def spread(self, amounts: torch.Tensor, size: torch.Size) -> torch.Tensor:
        return self.kernels.spread(amounts, self.rays, self.step_mm, tuple(size[-3:]))

    def spread_slopes(self, amounts: torch.Tensor, twists: torch.Tensor, size: torch.Size) -> torch.Tensor:
        fields = motion_fields(self.rays, twists)
        return self.kernels.spread_slopes(amounts, self.rays, fields, self.step_mm, tuple(size[-3:]))

    def _stored(self, values: torch.Tensor | None) -> StoredVolume:
        return self.volume if values is None else self.kernels.stored(values)


def _twists(poses: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Twists (B, 6) from the poses as they are to the poses: all zero, but their derivative is that of the poses."""
    still = poses.detach()
    change = poses - still
    spin = change[:, :3, :3] @ still[:, :3, :3].transpose(1, 2)
    skew = (spin - spin.transpose(1, 2)) / 2  # the part of a change that turns; the rest would scale or shear
    omega = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=1)
    lever = still[:, :3, 3] - centers.to(still)
    return torch.cat([omega, change[:, :3, 3] - torch.linalg.cross(omega, lever)], dim=1)


class _Projection(Function):
    """Images (B, C, rows, columns) under twists (B, 6) that are zero, of padded values (C, slices, rows, columns), or
    of the scan's own volume where values is None."""

    @staticmethod
    def forward(ctx, values, twists, scan):
        ctx.scan = scan
        if not ctx.needs_input_grad[1]:
            ctx.save_for_backward(values, twists)
            return scan.draw(values)
        images, jacobian = scan.draw_with_jacobian(values)
        ctx.save_for_backward(values, twists, jacobian)
        return images

    @staticmethod
    def backward(ctx, amounts):
        values, twists, *jacobian = ctx.saved_tensors
        to_values = _Adjoint.apply(amounts, twists, values.shape, ctx.scan) if ctx.needs_input_grad[0] else None
        to_twists = None
        if ctx.needs_input_grad[1]:
            to_twists = _PoseGradient.apply(values, amounts, _no_hessian(twists), ctx.scan, *jacobian)
        return to_values, to_twists, None


class _Adjoint(Function):
    """The volume (C, slices, rows, columns) that amounts (B, C, rows, columns) spread into."""

    @staticmethod
    def forward(ctx, amounts, twists, size, scan):
        ctx.scan = scan
        ctx.save_for_backward(amounts, twists)
        return scan.spread(amounts, size)

    @staticmethod
    def backward(ctx, values):
        amounts, twists = ctx.saved_tensors
        to_twists = None
        if ctx.needs_input_grad[1]:
            to_twists = _PoseGradient.apply(values, amounts, _no_hessian(twists), ctx.scan)
        return _Projection.apply(values, twists, ctx.scan), to_twists, None, None


class _PoseGradient(Function):
    """dT/du (B, 6): the gradient to the twists of images whose own gradient is `amounts`."""

    @staticmethod
    def forward(ctx, values, amounts, twists, scan, jacobian=None):
        jacobian = scan.draw_with_jacobian(values)[1] if jacobian is None else jacobian
        ctx.scan = scan
        ctx.save_for_backward(values, amounts, twists, jacobian)
        batch, channels, axes = jacobian.shape[:3]
        jacobian = jacobian.reshape(batch * channels, axes, -1)
        gradient = (jacobian @ amounts.reshape(batch * channels, -1, 1)).reshape(batch, channels, axes)
        return gradient.sum(dim=1, dtype=twists.dtype)

    @staticmethod
    def backward(ctx, motion):
        values, amounts, twists, jacobian = ctx.saved_tensors
        to_values = to_amounts = None
        if ctx.needs_input_grad[0]:
            to_values = _VolumeShare.apply(amounts, motion, twists, values.shape, ctx.scan)
        if ctx.needs_input_grad[1]:
            to_amounts = _MotionImage.apply(values, motion, twists, ctx.scan, jacobian)
        return to_values, to_amounts, torch.zeros_like(twists), None, None


class _MotionImage(Function):
    """dT/dy (B, C, rows, columns): how the images change under motions (B, 6)."""

    @staticmethod
    def forward(ctx, values, motion, twists, scan, jacobian):
        ctx.scan = scan
        ctx.save_for_backward(values, motion, twists, jacobian)
        return torch.einsum("bckhw,bk->bchw", jacobian, motion.to(jacobian.dtype))

    @staticmethod
    def backward(ctx, amounts):
        values, motion, twists, jacobian = ctx.saved_tensors
        to_values = to_motion = None
        if ctx.needs_input_grad[0]:
            to_values = _VolumeShare.apply(amounts, motion, twists, values.shape, ctx.scan)
        if ctx.needs_input_grad[1]:
            to_motion = _PoseGradient.apply(values, amounts, twists, ctx.scan, jacobian)
        return to_values, to_motion, torch.zeros_like(twists), None, None


class _VolumeShare(Function):
    """dT/dV (C, slices, rows, columns): what each voxel adds to amounts times the images of motions (B, 6)."""

    @staticmethod
    def forward(ctx, amounts, motion, twists, size, scan):
        ctx.scan = scan
        ctx.save_for_backward(amounts, motion, twists)
        return scan.spread_slopes(amounts, motion, size)

    @staticmethod
    def backward(ctx, values):
        amounts, motion, twists = ctx.saved_tensors
        jacobian = ctx.scan.draw_with_jacobian(values)[1]
        to_amounts = to_motion = None
        if ctx.needs_input_grad[0]:
            to_amounts = _MotionImage.apply(values, motion, twists, ctx.scan, jacobian)
        if ctx.needs_input_grad[1]:
            to_motion = _PoseGradient.apply(values, amounts, twists, ctx.scan, jacobian)
        return to_amounts, to_motion, torch.zeros_like(twists), None, None


class _NoHessian(Function):
    """Nothing on the way forward; an error for whoever comes back through it."""

    @staticmethod
    def forward(ctx, twists):
        return twists.view_as(twists)

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError(
            "The projector has no second derivative to the pose (no Hessian). Differentiate the pose gradient to the "
            "other inputs only, as in loss.backward(inputs=parameters), or detach the pose."
        )


def _no_hessian(twists: torch.Tensor) -> torch.Tensor:
    return _NoHessian.apply(twists) if torch.is_grad_enabled() else twists
