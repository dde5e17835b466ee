"""The ray march compiled for the CPU by Numba, on all cores: every kernel takes rows, or slabs, until none is left.

Volumes of 16-bit integers serve the registration: half the memory traffic of float32, and both voxels of a pair along i
in one load. Volumes of float32 and float64 serve training and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from .compiled_code import is_kept, kept_on_disk
from .cores import on_cores
from .kernels import StoredVolume, checked_size, quantised_values
from .march import compiled_march

_SLABS_A_CORE = 4
_SAMPLES_A_CORE = 100_000  # fewer are drawn before another thread has woken up

# Rays of a row enter new cache lines one after the other, at few samples each, so that the processor would wait for
# nearly every line by itself. Every so many rays, the lines of a ray so many columns ahead are asked for together.
_FETCH_EVERY, _FETCH_AHEAD = 6, 12
_NEAR_VOXELS = 1_000_000  # a volume as small as this lies in the caches anyway

# Sums may be reordered, which is what lets a march run in vector registers; the order is fixed by the compiled code.
_options = {"fastmath": {"contract", "nsz", "arcp", "reassoc"}, "error_model": "numpy", "nogil": True}


@intrinsic
def _corners(_, values, i, j, k, stride_j, stride_k, real):
    """The eight voxels of a cell, the two neighbours along i by one load, which need not be aligned.

    Written in LLVM since Numba computes in 64-bit integers, with which a vector register gathers half as many voxels.
    """
    result = real.instance_type
    signature = types.UniTuple(result, 8)(values, i, j, k, stride_j, stride_k, real)
    bits = values.dtype.bitwidth
    flags = ("nsw",)

    def generate(context, builder, signature, arguments):
        array, i, j, k, stride_j, stride_k, _ = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        row = builder.add(i, builder.mul(j, stride_j, flags=flags), flags=flags)
        at = builder.add(row, builder.mul(k, stride_k, flags=flags), flags=flags)
        kind = context.get_value_type(result)
        voxels = []
        for offset in (None, stride_j, stride_k, builder.add(stride_j, stride_k, flags=flags)):
            base = data if offset is None else builder.gep(data, [offset])  # the same for all samples of a ray
            place = builder.bitcast(builder.gep(base, [at]), ir.IntType(2 * bits).as_pointer())
            pair = builder.load(place, align=bits // 8)
            halves = pair, builder.lshr(pair, ir.Constant(pair.type, bits))
            halves = [builder.trunc(half, ir.IntType(bits)) for half in halves]
            voxels += [builder.uitofp(half, kind) if bits == 16 else builder.bitcast(half, kind) for half in halves]
        return context.make_tuple(builder, signature.return_type, voxels)

    return signature, generate


@intrinsic
def _prefetch(_, values, at):
    """Ask for the cache line of values[at]."""

    def generate(context, builder, signature, arguments):
        array, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(builder.gep(data, [at]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(prefetch, [place, flag(0), flag(2), flag(1)])  # to be read, into the second level, data
        return context.get_dummy_value()

    return types.void(values, types.int64), generate


@intrinsic
def _taken(_, counter):
    """counter[0], which becomes one more: no two threads are given the same."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


@numba.njit(**_options)
def _add(values, at, amount):
    values[at] += amount


# Inlined: a function that is called stands in memory twice, compiled by itself and with its kernel, and the two differ
# in the last digits. Which of them ran would depend on whether the kernel was just compiled or came from disk.
_march = compiled_march(numba.njit(forceinline=True, **_options), _corners, _add, _prefetch)
_integral, _derivatives, _fetch_ahead, _spread, _spread_slopes = _march


@kept_on_disk(numba.njit, config, **_options)
def _draw(counter, values, size, rays, step_mm, scale, images):
    batch, channels, rows, columns = images.shape
    size_k, size_j, size_i = size
    real = images.dtype.type
    far = size_i * size_j * size_k > _NEAR_VOXELS
    task = _taken(counter)
    while task < batch * channels * rows:
        b, c, row = task // (channels * rows), task // rows % channels, task % rows
        channel, ray = values[c], rays[b]
        for column in range(columns):
            if far and column % _FETCH_EVERY == 0:
                _fetch_ahead(channel, size_i, size_j, size_k, ray, column + _FETCH_AHEAD, row, step_mm, real)
            images[b, c, row, column] = scale * _integral(
                channel, size_i, size_j, size_k, ray, column, row, step_mm, real
            )
        task = _taken(counter)


@kept_on_disk(numba.njit, config, **_options)
def _draw_with_jacobian(counter, values, size, rays, step_mm, scale, images, jacobian):
    batch, channels, rows, columns = images.shape
    size_k, size_j, size_i = size
    real = images.dtype.type
    far = size_i * size_j * size_k > _NEAR_VOXELS
    task = _taken(counter)
    while task < batch * channels * rows:
        b, c, row = task // (channels * rows), task // rows % channels, task % rows
        channel, ray = values[c], rays[b]
        for column in range(columns):
            if far and column % _FETCH_EVERY == 0:
                _fetch_ahead(channel, size_i, size_j, size_k, ray, column + _FETCH_AHEAD, row, step_mm, real)
            value, rx, ry, rz, tx, ty, tz = _derivatives(
                channel, size_i, size_j, size_k, ray, column, row, step_mm, real
            )
            images[b, c, row, column] = scale * value
            jacobian[b, c, 0, row, column] = scale * rx
            jacobian[b, c, 1, row, column] = scale * ry
            jacobian[b, c, 2, row, column] = scale * rz
            jacobian[b, c, 3, row, column] = scale * tx
            jacobian[b, c, 4, row, column] = scale * ty
            jacobian[b, c, 5, row, column] = scale * tz
        task = _taken(counter)


@kept_on_disk(numba.njit, config, **_options)
def _gather_into_volume(counter, amounts, rays, step_mm, size, slabs, values):
    """Every slab of planes is filled by one thread, from all rays in order: no locks, and the same sums every time."""
    batch, channels, rows, columns = amounts.shape
    size_k, size_j, size_i = size
    real = values.dtype.type
    task = _taken(counter)
    while task < channels * slabs:
        c, slab = task // slabs, task % slabs
        first, end = slab * size_k // slabs, (slab + 1) * size_k // slabs
        for b in range(batch):
            for row in range(rows):
                for column in range(columns):
                    amount = amounts[b, c, row, column]
                    if amount != 0:
                        _spread(
                            values[c], size_i, size_j, size_k, rays[b], column, row, step_mm, amount, first, end, real
                        )
        task = _taken(counter)


@kept_on_disk(numba.njit, config, **_options)
def _gather_slopes_into_volume(counter, amounts, rays, fields, step_mm, size, slabs, values):
    batch, channels, rows, columns = amounts.shape
    size_k, size_j, size_i = size
    real = values.dtype.type
    task = _taken(counter)
    while task < channels * slabs:
        c, slab = task // slabs, task % slabs
        first, end = slab * size_k // slabs, (slab + 1) * size_k // slabs
        for b in range(batch):
            for row in range(rows):
                for column in range(columns):
                    amount = amounts[b, c, row, column]
                    if amount != 0:
                        _spread_slopes(
                            values[c], size_i, size_j, size_k, rays[b], column, row, step_mm,
                            fields[b], amount, first, end, real,
                        )  # fmt: skip
        task = _taken(counter)


class CpuKernels:
    """The marches on all CPU cores; see `kernels.Kernels`."""

    device = torch.device("cpu")

    def quantised_steps(self, array: np.ndarray) -> Generator[None, None, StoredVolume]:
        values, scale = yield from quantised_values(array, np.uint16)
        return StoredVolume(values.reshape(1, -1), values.shape, scale)

    def stored(self, values: torch.Tensor) -> StoredVolume:
        size = checked_size(values.shape)
        return StoredVolume(values.detach().contiguous().flatten(1).numpy(), size)

    def draw(self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]) -> torch.Tensor:
        images = _empty_images(volume, rays, size_px)
        arguments = volume.values, volume.size, rays.numpy(), step_mm, volume.scale, images
        _on_cores(images, volume.size, _draw, *arguments)
        return torch.from_numpy(images)

    def draw_with_jacobian(
        self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images = _empty_images(volume, rays, size_px)
        batch, channels, rows, columns = images.shape
        jacobian = np.empty((batch, channels, 6, rows, columns), images.dtype)
        arguments = volume.values, volume.size, rays.numpy(), step_mm, volume.scale, images, jacobian
        _on_cores(images, volume.size, _draw_with_jacobian, *arguments)
        return torch.from_numpy(images), torch.from_numpy(jacobian)

    def spread(
        self, amounts: torch.Tensor, rays: torch.Tensor, step_mm: float, size: tuple[int, int, int]
    ) -> torch.Tensor:
        amounts = amounts.detach().contiguous().numpy()
        values = np.zeros((amounts.shape[1], int(np.prod(size))), amounts.dtype)
        _on_cores(amounts, size, _gather_into_volume, amounts, rays.numpy(), step_mm, size, _slabs(size), values)
        return torch.from_numpy(values.reshape(-1, *size))

    def spread_slopes(
        self,
        amounts: torch.Tensor,
        rays: torch.Tensor,
        fields: torch.Tensor,
        step_mm: float,
        size: tuple[int, int, int],
    ) -> torch.Tensor:
        amounts = amounts.detach().contiguous().numpy()
        values = np.zeros((amounts.shape[1], int(np.prod(size))), amounts.dtype)
        arguments = amounts, rays.numpy(), fields.numpy(), step_mm, size, _slabs(size), values
        _on_cores(amounts, size, _gather_slopes_into_volume, *arguments)
        return torch.from_numpy(values.reshape(-1, *size))


def _empty_images(volume: StoredVolume, rays: torch.Tensor, size_px: tuple[int, int]) -> np.ndarray:
    dtype = np.float32 if volume.values.dtype == np.uint16 else volume.values.dtype
    return np.empty((len(rays), len(volume.values), size_px[1], size_px[0]), dtype)


def _on_cores(images: np.ndarray, size: tuple[int, int, int], kernel: Callable[..., None], *arguments: object) -> None:
    """Run a kernel on as many cores as its rays, one for each pixel of the images, keep busy."""
    samples = images.size * sum(size) / 3  # about: a mean side of the volume on every ray
    count = min(config.NUMBA_NUM_THREADS, 1 + int(samples / _SAMPLES_A_CORE))
    on_cores(count, kernel, np.zeros(1, np.int64), *arguments)


def _slabs(size: tuple[int, int, int]) -> int:
    return min(size[0], _SLABS_A_CORE * config.NUMBA_NUM_THREADS)


def is_compiled() -> bool:
    """Whether what a registration draws with is compiled already, in this process or on disk."""
    return is_kept(_draw, _draw_with_jacobian)
