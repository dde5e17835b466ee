"""The ray march compiled for NVIDIA GPUs by numba-cuda: from wheels and the driver, without a compiler or a toolkit.

One thread marches one ray. Kernels run on torch's current stream, on torch's own memory. 16-bit volumes are stored as
words of two neighbours along i, so that a sample takes four loads instead of eight.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from typing import Any

import numba_cuda  # noqa: F401  (what Numba itself brings along under the same name is too old)
import numpy as np
import torch
from numba import cuda, types
from numpy import uint32

from .compiled_code import kept_on_disk
from .kernels import StoredVolume, checked_size, quantised_values
from .march import compiled_march

SIMULATED = cuda.config.ENABLE_CUDASIM  # kernels run in Python, on memory of the CPU: slow, but anywhere
_BLOCK = (8, 16)  # pixels (columns, rows): a warp of 32 threads marches a tile of 8 x 4, whose rays share cache lines
_MOST_LAYERS = 65535  # of a grid


def _corners_of_words(values, i, j, k, stride_j, stride_k, real):
    at = uint32(i + j * stride_j + k * stride_k)  # unsigned: Numba would count a negative index from the end
    a, b = values[at], values[uint32(at + stride_j)]
    c, d = values[uint32(at + stride_k)], values[uint32(at + stride_j + stride_k)]
    low, half = uint32(0xFFFF), uint32(16)
    return (
        real(a & low),
        real(a >> half),
        real(b & low),
        real(b >> half),
        real(c & low),
        real(c >> half),
        real(d & low),
        real(d >> half),
    )


def _corners_of_floats(values, i, j, k, stride_j, stride_k, real):
    a = uint32(i + j * stride_j + k * stride_k)
    b, c, d = uint32(a + stride_j), uint32(a + stride_k), uint32(a + stride_j + stride_k)
    return (
        values[a],
        values[uint32(a + 1)],
        values[b],
        values[uint32(b + 1)],
        values[c],
        values[uint32(c + 1)],
        values[d],
        values[uint32(d + 1)],
    )


def _corners(values, i, j, k, stride_j, stride_k, real):
    """The eight voxels of a cell, as `march.compiled_march` asks for them."""
    of_type = _corners_of_words if values.dtype == uint32 else _corners_of_floats
    return of_type(values, i, j, k, stride_j, stride_k, real)


if not SIMULATED:
    from numba.cuda.extending import overload

    @overload(_corners, target="cuda")
    def _corners_by_type(values, i, j, k, stride_j, stride_k, real):
        return _corners_of_words if values.dtype == types.uint32 else _corners_of_floats


@cuda.jit(device=True)
def _add(values, at, amount):
    cuda.atomic.add(values, at, amount)


@cuda.jit(device=True)
def _leave_to_other_threads(values, at):
    """A GPU hides the wait for memory by marching other rays."""


_march = compiled_march(cuda.jit(device=True), _corners, _add, _leave_to_other_threads)
_integral, _derivatives, _, _spread, _spread_slopes = _march


# The kernels below draw channel c, whose values they are given, with a layer of the grid for every pose.


@kept_on_disk(cuda.jit, cuda.config)
def _draw(values, c, size, rays, step_mm, scale, images):
    batch, _, rows, columns = images.shape
    size_k, size_j, size_i = size
    real = images.dtype.type
    column, row = cuda.grid(2)
    if column >= columns or row >= rows:
        return
    for b in range(cuda.blockIdx.z, batch, cuda.gridDim.z):
        value = _integral(values, size_i, size_j, size_k, rays[b], column, row, step_mm, real)
        images[b, c, row, column] = real(scale) * value


@kept_on_disk(cuda.jit, cuda.config)
def _draw_with_jacobian(values, c, size, rays, step_mm, scale, images, jacobian):
    batch, _, rows, columns = images.shape
    size_k, size_j, size_i = size
    real = images.dtype.type
    column, row = cuda.grid(2)
    if column >= columns or row >= rows:
        return
    for b in range(cuda.blockIdx.z, batch, cuda.gridDim.z):
        value, rx, ry, rz, tx, ty, tz = _derivatives(
            values, size_i, size_j, size_k, rays[b], column, row, step_mm, real
        )
        unit = real(scale)
        images[b, c, row, column] = unit * value
        jacobian[b, c, 0, row, column] = unit * rx
        jacobian[b, c, 1, row, column] = unit * ry
        jacobian[b, c, 2, row, column] = unit * rz
        jacobian[b, c, 3, row, column] = unit * tx
        jacobian[b, c, 4, row, column] = unit * ty
        jacobian[b, c, 5, row, column] = unit * tz


@kept_on_disk(cuda.jit, cuda.config)
def _scatter_into_volume(values, c, size, rays, step_mm, amounts):
    batch, _, rows, columns = amounts.shape
    size_k, size_j, size_i = size
    real = values.dtype.type
    column, row = cuda.grid(2)
    if column >= columns or row >= rows:
        return
    for b in range(cuda.blockIdx.z, batch, cuda.gridDim.z):
        amount = amounts[b, c, row, column]
        if amount != 0:
            _spread(values, size_i, size_j, size_k, rays[b], column, row, step_mm, amount, 0, size_k, real)


@kept_on_disk(cuda.jit, cuda.config)
def _scatter_slopes_into_volume(values, c, size, rays, step_mm, fields, amounts):
    batch, _, rows, columns = amounts.shape
    size_k, size_j, size_i = size
    real = values.dtype.type
    column, row = cuda.grid(2)
    if column >= columns or row >= rows:
        return
    for b in range(cuda.blockIdx.z, batch, cuda.gridDim.z):
        amount = amounts[b, c, row, column]
        if amount != 0:
            _spread_slopes(
                values, size_i, size_j, size_k, rays[b], column, row, step_mm, fields[b], amount, 0, size_k, real
            )


class CudaKernels:
    """The marches on one NVIDIA GPU; see `kernels.Kernels`. Sums into a volume vary in their last digits from run to
    run, since atomic additions come in any order."""

    def __init__(self, device: torch.device) -> None:
        if not SIMULATED:
            index = torch.cuda.current_device() if device.index is None else device.index
            device = torch.device("cuda", index)
        self.device = device

    def quantised_steps(self, array: np.ndarray) -> Generator[None, None, StoredVolume]:
        words, scale = yield from quantised_values(array, uint32)
        size, words = words.shape, words.reshape(-1)
        words[:-1] |= words[1:] << np.uint32(16)  # the border's last voxel is zero, and has no neighbour
        tensor = torch.from_numpy(words.view(np.int32)).to(self.device)
        return StoredVolume((self._array(tensor).view(uint32),), size, scale)

    def stored(self, values: torch.Tensor) -> StoredVolume:
        size = checked_size(values.shape)
        return StoredVolume(self._channels(values.detach().contiguous()), size)

    def draw(self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]) -> torch.Tensor:
        images = self._empty_images(volume, rays, size_px)
        arguments = (volume.size, rays, step_mm, volume.scale, images)
        self._launch(_draw, images.shape, volume.values, *arguments)
        return images

    def draw_with_jacobian(
        self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images = self._empty_images(volume, rays, size_px)
        jacobian = images.new_empty(*images.shape[:2], 6, *images.shape[2:])
        arguments = (volume.size, rays, step_mm, volume.scale, images, jacobian)
        self._launch(_draw_with_jacobian, images.shape, volume.values, *arguments)
        return images, jacobian

    def spread(
        self, amounts: torch.Tensor, rays: torch.Tensor, step_mm: float, size: tuple[int, int, int]
    ) -> torch.Tensor:
        amounts = amounts.detach().contiguous()
        values = amounts.new_zeros(amounts.shape[1], *size)
        arguments = (size, rays, step_mm, amounts)
        self._launch(_scatter_into_volume, amounts.shape, self._channels(values), *arguments)
        return values

    def spread_slopes(
        self,
        amounts: torch.Tensor,
        rays: torch.Tensor,
        fields: torch.Tensor,
        step_mm: float,
        size: tuple[int, int, int],
    ) -> torch.Tensor:
        amounts = amounts.detach().contiguous()
        values = amounts.new_zeros(amounts.shape[1], *size)
        arguments = (size, rays, step_mm, fields, amounts)
        self._launch(_scatter_slopes_into_volume, amounts.shape, self._channels(values), *arguments)
        return values

    def _channels(self, values: torch.Tensor) -> tuple[Any, ...]:
        """The flat channels of a volume (C, slices, rows, columns), on the same memory."""
        return tuple(self._array(channel.reshape(-1)) for channel in values)

    def _empty_images(self, volume: StoredVolume, rays: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
        dtype = torch.float64 if volume.values[0].dtype == np.float64 else torch.float32
        shape = (len(rays), len(volume.values), size_px[1], size_px[0])
        return torch.empty(shape, dtype=dtype, device=self.device)

    def _launch(self, kernel: Any, shape: tuple[int, ...], channels: tuple[Any, ...], *arguments: Any) -> None:
        """Run a kernel on every channel, with a thread for every pixel of images of a shape (B, C, rows, columns)."""
        batch, _, rows, columns = shape
        if not math.prod(shape):
            return
        grid = (-(-columns // _BLOCK[0]), -(-rows // _BLOCK[1]), min(batch, _MOST_LAYERS))
        arguments = [self._array(one) if isinstance(one, torch.Tensor) else one for one in arguments]
        with self._torch_stream() as stream:
            for c, values in enumerate(channels):
                kernel[grid, (*_BLOCK, 1), stream](values, c, *arguments)

    @contextlib.contextmanager
    def _torch_stream(self) -> Iterator[Any]:
        """Numba on this device, and torch's current stream as Numba knows it."""
        if SIMULATED:
            yield 0
            return
        with cuda.gpus[self.device.index]:
            yield cuda.external_stream(torch.cuda.current_stream(self.device).cuda_stream)

    def _array(self, tensor: torch.Tensor) -> Any:
        """The tensor as Numba sees it, on the same memory."""
        return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor, sync=False)
