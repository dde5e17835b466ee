"""The projector's march compiled for the CPU by Numba, on volumes quantised to 16 bits.

Numba keeps the compiled code beside this file, or in the user's cache folder where that is read-only. Where neither can
be written, the code is compiled again in every process (seconds).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numba
import numpy as np
import torch

from ..errors import InputError
from ..geometry import XrayView
from ..volume import Volume
from .rays import RayFrames, ray_frames

log = logging.getLogger(__name__)

_FLOAT = np.float32


def _compiled(parallel: bool) -> Callable[[Callable], Callable]:
    """A decorator that compiles a function at its first call, and keeps the code on disk where a folder allows it."""
    compiled = partial(numba.njit, parallel=parallel, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")

    def decorate(function: Callable) -> Callable:
        try:
            return compiled(nogil=True, cache=True)(function)
        except RuntimeError:  # Numba's answer when it finds no folder that it may write to
            return compiled(nogil=True)(function)

    return decorate


class CpuProjector:
    """DRRs on all CPU cores. The volume is kept as 16-bit integers: an error of 8e-6 of its highest attenuation.

    Raises InputError when a value is negative or not finite.
    """

    device = torch.device("cpu")

    def __init__(self, volume: Volume, step_mm: float) -> None:
        self.step_mm = step_mm
        highest = float(volume.array.max())
        if not (volume.array.min() >= 0 and np.isfinite(highest)):  # 16 bits would wrap around to something bright
            raise InputError("The volume holds negative or non-finite values: convert the CT to attenuation first.")
        self._scale = highest / 65535 if highest > 0 else 1.0
        padded = np.zeros(np.add(volume.array.shape, 2), np.uint16)  # zero one voxel outside the border
        for k, image in enumerate(volume.array):
            padded[k + 1, 1:-1, 1:-1] = np.rint(image / self._scale)
        self._values = padded
        shift = np.eye(4)
        shift[:3, 3] = -1
        self._ijk_to_world = volume.ijk_to_world @ shift

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        frames, poses = self._frames(poses, view)
        images = np.empty((len(poses), view.size_px[1], view.size_px[0]), _FLOAT)
        _march_images(self._values, *_arguments(frames, view), self.step_mm, self._scale, images)
        return torch.from_numpy(images)

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames, poses = self._frames(poses, view)
        columns, rows = view.size_px
        images = np.empty((len(poses), rows, columns), _FLOAT)
        jacobian = np.empty((len(poses), 6, rows, columns), _FLOAT)
        lever = view.source - np.asarray(center, dtype=np.float64)
        _march_jacobian(
            self._values,
            *_arguments(frames, view),
            self.step_mm,
            self._scale,
            frames.world_to_ijk,
            lever,
            images,
            jacobian,
        )
        return torch.from_numpy(images), torch.from_numpy(jacobian)

    def _frames(self, poses: torch.Tensor, view: XrayView) -> tuple[RayFrames, np.ndarray]:
        poses = np.asarray(poses, dtype=np.float64)
        return ray_frames(poses, view, self._ijk_to_world), poses


def _arguments(frames: RayFrames, view: XrayView) -> tuple[np.ndarray, ...]:
    offsets = view.pixel_to_world[:3, [0, 1, 3]].T.copy()
    offsets[2] -= view.source
    steps = np.stack([frames.column_steps, frames.row_steps, frames.first], axis=1)
    return np.ascontiguousarray(frames.origins), np.ascontiguousarray(steps), offsets


@_compiled(parallel=False)
def _ray(origin, steps, offsets, column, row, size_i, size_j, size_k, step_mm):
    """First sample in the volume (position, stride in voxels per step), its index from the source, and the count."""
    length = 0.0
    for axis in range(3):
        offset = column * offsets[0, axis] + row * offsets[1, axis] + offsets[2, axis]
        length += offset * offset
    length = math.sqrt(length)
    per_step = step_mm / length
    di = (column * steps[0, 0] + row * steps[1, 0] + steps[2, 0]) * per_step
    dj = (column * steps[0, 1] + row * steps[1, 1] + steps[2, 1]) * per_step
    dk = (column * steps[0, 2] + row * steps[1, 2] + steps[2, 2]) * per_step
    enter, leave = 0.0, 1e9  # in steps from the source: nothing before it is seen
    for start, stride, size in ((origin[0], di, size_i), (origin[1], dj, size_j), (origin[2], dk, size_k)):
        if abs(stride) < 1e-12:
            if start <= 0.0 or start >= size - 1.0:
                leave = -1.0
            continue
        near, far = -start / stride, (size - 1.0 - start) / stride
        enter = max(enter, min(near, far))
        leave = min(leave, max(near, far))
    first = math.ceil(enter - 0.5)
    count = int(math.floor(leave - 0.5) - first) + 1
    at = first + 0.5
    return (
        _FLOAT(origin[0] + at * di),
        _FLOAT(origin[1] + at * dj),
        _FLOAT(origin[2] + at * dk),
        _FLOAT(di),
        _FLOAT(dj),
        _FLOAT(dk),
        at * step_mm,
        length,
        max(count, 0),
    )


@_compiled(parallel=True)
def _march_images(values, origins, steps, offsets, step_mm, scale, images):
    batch, rows, columns = images.shape
    size_k, size_j, size_i = values.shape
    flat = values.ravel()
    stride_j, stride_k = size_i, size_i * size_j
    for task in numba.prange(batch * rows):
        b, row = task // rows, task % rows
        for column in range(columns):
            pi, pj, pk, di, dj, dk, _, _, count = _ray(
                origins[b], steps[b], offsets, column, row, size_i, size_j, size_k, step_mm
            )
            total = _FLOAT(0)
            for n in range(count):
                t = _FLOAT(n)
                x, y, z = pi + t * di, pj + t * dj, pk + t * dk
                i = min(max(int(x), 0), size_i - 2)
                j = min(max(int(y), 0), size_j - 2)
                k = min(max(int(z), 0), size_k - 2)
                fi, fj, fk = x - _FLOAT(i), y - _FLOAT(j), z - _FLOAT(k)
                at = np.uint64(i + j * stride_j + k * stride_k)
                a, b_, c, d = (
                    at,
                    at + np.uint64(stride_j),
                    at + np.uint64(stride_k),
                    at + np.uint64(stride_j + stride_k),
                )
                one = np.uint64(1)
                v000, v100 = _FLOAT(flat[a]), _FLOAT(flat[a + one])
                v010, v110 = _FLOAT(flat[b_]), _FLOAT(flat[b_ + one])
                v001, v101 = _FLOAT(flat[c]), _FLOAT(flat[c + one])
                v011, v111 = _FLOAT(flat[d]), _FLOAT(flat[d + one])
                v00, v10 = v000 + fi * (v100 - v000), v010 + fi * (v110 - v010)
                v01, v11 = v001 + fi * (v101 - v001), v011 + fi * (v111 - v011)
                v0, v1 = v00 + fj * (v10 - v00), v01 + fj * (v11 - v01)
                total += v0 + fk * (v1 - v0)
            images[b, row, column] = total * _FLOAT(step_mm * scale)


@_compiled(parallel=True)
def _march_jacobian(values, origins, steps, offsets, step_mm, scale, world_to_ijk, lever, images, jacobian):
    """As _march_images, and the derivative to a twist from two moments of the gradient along the ray.

    With x = source + t d, the derivative to a translation is -sum grad V, to a rotation about the center
    -sum (x - center) x grad V = -(source - center) x G0 - d x G1, where G0 = sum grad V and G1 = sum t grad V.
    """
    batch, rows, columns = images.shape
    size_k, size_j, size_i = values.shape
    flat = values.ravel()
    stride_j, stride_k = size_i, size_i * size_j
    for task in numba.prange(batch * rows):
        b, row = task // rows, task % rows
        linear = world_to_ijk[b]
        for column in range(columns):
            pi, pj, pk, di, dj, dk, start_mm, length, count = _ray(
                origins[b], steps[b], offsets, column, row, size_i, size_j, size_k, step_mm
            )
            total = _FLOAT(0)
            gi0, gj0, gk0 = _FLOAT(0), _FLOAT(0), _FLOAT(0)
            gi1, gj1, gk1 = _FLOAT(0), _FLOAT(0), _FLOAT(0)
            for n in range(count):
                t = _FLOAT(n)
                x, y, z = pi + t * di, pj + t * dj, pk + t * dk
                i = min(max(int(x), 0), size_i - 2)
                j = min(max(int(y), 0), size_j - 2)
                k = min(max(int(z), 0), size_k - 2)
                fi, fj, fk = x - _FLOAT(i), y - _FLOAT(j), z - _FLOAT(k)
                at = np.uint64(i + j * stride_j + k * stride_k)
                a, b_, c, d = (
                    at,
                    at + np.uint64(stride_j),
                    at + np.uint64(stride_k),
                    at + np.uint64(stride_j + stride_k),
                )
                one = np.uint64(1)
                v000, v010, v001, v011 = _FLOAT(flat[a]), _FLOAT(flat[b_]), _FLOAT(flat[c]), _FLOAT(flat[d])
                e00, e10 = _FLOAT(flat[a + one]) - v000, _FLOAT(flat[b_ + one]) - v010
                e01, e11 = _FLOAT(flat[c + one]) - v001, _FLOAT(flat[d + one]) - v011
                v00, v10 = v000 + fi * e00, v010 + fi * e10
                v01, v11 = v001 + fi * e01, v011 + fi * e11
                s0, s1 = v10 - v00, v11 - v01
                v0, v1 = v00 + fj * s0, v01 + fj * s1
                e0, e1 = e00 + fj * (e10 - e00), e01 + fj * (e11 - e01)
                gi, gj, gk = e0 + fk * (e1 - e0), s0 + fk * (s1 - s0), v1 - v0
                total += v0 + fk * gk
                gi0 += gi
                gj0 += gj
                gk0 += gk
                gi1 += t * gi
                gj1 += t * gj
                gk1 += t * gk
            factor = step_mm * scale
            images[b, row, column] = total * factor
            for axis in range(3):  # translation
                g0 = linear[0, axis] * gi0 + linear[1, axis] * gj0 + linear[2, axis] * gk0
                jacobian[b, 3 + axis, row, column] = -factor * g0
            for axis in range(3):  # rotation: (source - center) x G0 + d x G1
                p, q = (axis + 1) % 3, (axis + 2) % 3
                g0p = linear[0, p] * gi0 + linear[1, p] * gj0 + linear[2, p] * gk0
                g0q = linear[0, q] * gi0 + linear[1, q] * gj0 + linear[2, q] * gk0
                g1p = linear[0, p] * gi1 + linear[1, p] * gj1 + linear[2, p] * gk1
                g1q = linear[0, q] * gi1 + linear[1, q] * gj1 + linear[2, q] * gk1
                dp = (column * offsets[0, p] + row * offsets[1, p] + offsets[2, p]) / length
                dq = (column * offsets[0, q] + row * offsets[1, q] + offsets[2, q]) / length
                # x at the first sample is source + start_mm d, and t grows from there in steps
                xp, xq = lever[p] + start_mm * dp, lever[q] + start_mm * dq
                torque = xp * g0q - xq * g0p + step_mm * (dp * g1q - dq * g1p)
                jacobian[b, axis, row, column] = -factor * torque


def is_compiled() -> bool:
    """Whether this process has compiled or loaded the marches, or Numba's cache on disk holds them newer than this
    file."""
    if _march_images.signatures:
        return True
    source = Path(__file__)
    kept = Path(_march_images.stats.cache_path or source.parent).glob(f"{source.stem}.{_march_images.__name__}-*.nbi")
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in kept)
