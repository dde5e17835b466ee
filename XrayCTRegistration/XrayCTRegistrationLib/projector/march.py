"""The ray march, written once: plain functions that Numba compiles for the CPU and numba-cuda for the GPU.

A sample at distance t from the source is a trilinear mean of eight voxels, each weighted by a product of (1 - f) or f
over the axes i, j, k, where f is the sample's offset from the lower voxel. Every march clips its ray exactly to the
padded volume, visits the samples (n + 1/2) step inside, and keeps positions as first + n step, without accumulation.

With x = source + t d, the derivative of a DRR to a world twist about `center` follows from two moments of the gradient
along the ray, G0 = sum grad V and G1 = sum t grad V: to the translation -G0, to the rotation
-sum (x - center) x grad V = -(source - center) x G0 - d x G1.

`RAY_ROWS` says what the (11, 3) float64 array `rays` of a pose and view holds; `rays.ray_arrays` makes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from numpy import int32

# Rows of `rays`. In voxels: the source, and the vectors of which column * _COLUMN + row * _ROW + _FIRST leads from it
# to a pixel; the same three in world mm; the linear part of world to voxels; source - center in world mm.
_SOURCE, _COLUMN, _ROW, _FIRST = 0, 1, 2, 3
_WORLD_COLUMN, _WORLD_ROW, _WORLD_FIRST = 4, 5, 6
_LINEAR, _LEVER = 7, 10
RAY_ROWS = 11


class March(NamedTuple):
    """Compiled functions of one pixel.

    In all of them: values is one channel, flat and padded by a voxel of zeros; size_i, size_j, size_k its padded size;
    rays (11, 3) as above; column and row the pixel; real the type to compute in, numpy.float32 or numpy.float64.

    integral(values, size_i, size_j, size_k, rays, column, row, step_mm, real) -> line integral
    derivatives(the same) -> line integral and its derivatives to the six components of a world twist
    fetch_ahead(the same): asks the cache for what the ray will meet; computes nothing
    spread(the same but real, amount, first_plane, end_plane, real): adds to values, amount times the derivative of the
        line integral to each of them, in the planes first_plane <= k < end_plane alone
    spread_slopes(the same but real, field, amount, first_plane, end_plane, real): adds, likewise, the derivative of the
        line integral's own derivative to a motion of the samples with velocity (x, y, z) @ field[:3] + field[3], voxels
    """

    integral: Callable
    derivatives: Callable
    fetch_ahead: Callable
    spread: Callable
    spread_slopes: Callable


def compiled_march(
    compiled: Callable[[Callable], Callable], corners: Callable, add: Callable, prefetch: Callable
) -> March:
    """The march's functions, each passed through `compiled`, a decorator.

    corners(values, i, j, k, stride_j, stride_k, real) -> as `real`, the voxels (i, j, k), (i + 1, j, k), (i, j + 1, k),
        (i + 1, j + 1, k) and the same four at k + 1. All indices and strides are int32.
    add(values, at, amount): values[at] += amount. prefetch(values, at): values[at] will be needed soon.
    """

    @compiled
    def clipped(enter, leave, start, stride, low, high):
        """The part of enter to leave in which start + t stride is between low and high."""
        if abs(stride) < 1e-12:
            return (enter, -1.0) if start <= low or start >= high else (enter, leave)
        near, far = (low - start) / stride, (high - start) / stride
        return max(enter, min(near, far)), min(leave, max(near, far))

    @compiled
    def ray(rays, column, row, end_i, end_j, begin_k, end_k, step_mm, real):
        """The first sample's voxel (3), the voxels per step (3), its number, the count, and the mm to the pixel.

        Samples are those strictly between voxel 0 and end_i, 0 and end_j, begin_k and end_k.
        """
        length = 0.0
        for axis in range(3):
            offset = column * rays[_WORLD_COLUMN, axis] + row * rays[_WORLD_ROW, axis] + rays[_WORLD_FIRST, axis]
            length += offset * offset
        length = math.sqrt(length)
        per_step = step_mm / length
        di = (column * rays[_COLUMN, 0] + row * rays[_ROW, 0] + rays[_FIRST, 0]) * per_step
        dj = (column * rays[_COLUMN, 1] + row * rays[_ROW, 1] + rays[_FIRST, 1]) * per_step
        dk = (column * rays[_COLUMN, 2] + row * rays[_ROW, 2] + rays[_FIRST, 2]) * per_step
        enter, leave = 0.0, 1e9  # in steps from the source: nothing before it is seen
        enter, leave = clipped(enter, leave, rays[_SOURCE, 0], di, 0.0, end_i)
        enter, leave = clipped(enter, leave, rays[_SOURCE, 1], dj, 0.0, end_j)
        enter, leave = clipped(enter, leave, rays[_SOURCE, 2], dk, begin_k, end_k)
        first = math.ceil(enter - 0.5)
        count = max(int(math.floor(leave - 0.5) - first) + 1, 0)
        at = first + 0.5
        return (
            real(rays[_SOURCE, 0] + at * di),
            real(rays[_SOURCE, 1] + at * dj),
            real(rays[_SOURCE, 2] + at * dk),
            real(di),
            real(dj),
            real(dk),
            first,
            count,
            length,
        )

    @compiled
    def slab(rays, column, row, size_i, size_j, size_k, step_mm, first_plane, end_plane, real):
        """The ray's samples of which a voxel lies in the planes, and some beside them by rounding."""
        begin_k, end_k = max(0.0, first_plane - 1.001), min(size_k - 1.0, end_plane + 0.001)
        return ray(rays, column, row, size_i - 1.0, size_j - 1.0, begin_k, end_k, step_mm, real)

    @compiled
    def cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real):
        """Sample n: the lower voxel (i, j, k), held within the volume, and the offsets from it."""
        t = real(int32(n))
        x, y, z = x0 + t * dx, y0 + t * dy, z0 + t * dz
        i = min(max(int32(x), int32(0)), int32(size_i - 2))
        j = min(max(int32(y), int32(0)), int32(size_j - 2))
        k = min(max(int32(z), int32(0)), int32(size_k - 2))
        return i, j, k, x - real(i), y - real(j), z - real(k)

    @compiled
    def to_world(rays, gi, gj, gk):
        """A gradient in voxels carried to world axes."""
        return (
            rays[_LINEAR, 0] * gi + rays[_LINEAR + 1, 0] * gj + rays[_LINEAR + 2, 0] * gk,
            rays[_LINEAR, 1] * gi + rays[_LINEAR + 1, 1] * gj + rays[_LINEAR + 2, 1] * gk,
            rays[_LINEAR, 2] * gi + rays[_LINEAR + 1, 2] * gj + rays[_LINEAR + 2, 2] * gk,
        )

    @compiled
    def integral(values, size_i, size_j, size_k, rays, column, row, step_mm, real):
        x0, y0, z0, dx, dy, dz, _, count, _ = ray(
            rays, column, row, size_i - 1.0, size_j - 1.0, 0.0, size_k - 1.0, step_mm, real
        )
        stride_j, stride_k = int32(size_i), int32(size_i * size_j)
        total = real(0)
        for n in range(count):
            i, j, k, fi, fj, fk = cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real)
            v000, v100, v010, v110, v001, v101, v011, v111 = corners(values, i, j, k, stride_j, stride_k, real)
            v00, v10 = v000 + fi * (v100 - v000), v010 + fi * (v110 - v010)
            v01, v11 = v001 + fi * (v101 - v001), v011 + fi * (v111 - v011)
            v0, v1 = v00 + fj * (v10 - v00), v01 + fj * (v11 - v01)
            total += v0 + fk * (v1 - v0)
        return total * real(step_mm)

    @compiled
    def derivatives(values, size_i, size_j, size_k, rays, column, row, step_mm, real):
        x0, y0, z0, dx, dy, dz, first, count, length = ray(
            rays, column, row, size_i - 1.0, size_j - 1.0, 0.0, size_k - 1.0, step_mm, real
        )
        stride_j, stride_k = int32(size_i), int32(size_i * size_j)
        total = real(0)
        gi0, gj0, gk0 = real(0), real(0), real(0)
        gi1, gj1, gk1 = real(0), real(0), real(0)
        for n in range(count):
            i, j, k, fi, fj, fk = cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real)
            v000, v100, v010, v110, v001, v101, v011, v111 = corners(values, i, j, k, stride_j, stride_k, real)
            i00, i10, i01, i11 = v100 - v000, v110 - v010, v101 - v001, v111 - v011
            v00, v10, v01, v11 = v000 + fi * i00, v010 + fi * i10, v001 + fi * i01, v011 + fi * i11
            j0, j1 = v10 - v00, v11 - v01
            v0, v1 = v00 + fj * j0, v01 + fj * j1
            i0, i1 = i00 + fj * (i10 - i00), i01 + fj * (i11 - i01)
            gi, gj, gk = i0 + fk * (i1 - i0), j0 + fk * (j1 - j0), v1 - v0
            total += v0 + fk * gk
            t = real(int32(n))
            gi0 += gi
            gj0 += gj
            gk0 += gk
            gi1 += t * gi
            gj1 += t * gj
            gk1 += t * gk
        # To world axes, and to moments over distances from the first sample, in mm: 64 bits, once a pixel.
        x0w, y0w, z0w = to_world(rays, gi0, gj0, gk0)
        x1w, y1w, z1w = to_world(rays, gi1, gj1, gk1)
        u = (column * rays[_WORLD_COLUMN, 0] + row * rays[_WORLD_ROW, 0] + rays[_WORLD_FIRST, 0]) / length
        v = (column * rays[_WORLD_COLUMN, 1] + row * rays[_WORLD_ROW, 1] + rays[_WORLD_FIRST, 1]) / length
        w = (column * rays[_WORLD_COLUMN, 2] + row * rays[_WORLD_ROW, 2] + rays[_WORLD_FIRST, 2]) / length
        start_mm = (first + 0.5) * step_mm
        a, b, c = rays[_LEVER, 0] + start_mm * u, rays[_LEVER, 1] + start_mm * v, rays[_LEVER, 2] + start_mm * w
        u, v, w = step_mm * u, step_mm * v, step_mm * w
        return (
            total * real(step_mm),
            real(-step_mm * (b * z0w - c * y0w + v * z1w - w * y1w)),
            real(-step_mm * (c * x0w - a * z0w + w * x1w - u * z1w)),
            real(-step_mm * (a * y0w - b * x0w + u * y1w - v * x1w)),
            real(-step_mm * x0w),
            real(-step_mm * y0w),
            real(-step_mm * z0w),
        )

    @compiled
    def fetch_ahead(values, size_i, size_j, size_k, rays, column, row, step_mm, real):
        x0, y0, z0, dx, dy, dz, _, count, _ = ray(
            rays, column, row, size_i - 1.0, size_j - 1.0, 0.0, size_k - 1.0, step_mm, real
        )
        for n in range(count):
            i, j, k, _, _, _ = cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real)
            at = i + j * size_i + k * size_i * size_j
            prefetch(values, at)  # two opposite rows of the cell; the others are those of samples beside it
            prefetch(values, at + size_i + size_i * size_j)

    @compiled
    def spread(values, size_i, size_j, size_k, rays, column, row, step_mm, amount, first_plane, end_plane, real):
        x0, y0, z0, dx, dy, dz, _, count, _ = slab(
            rays, column, row, size_i, size_j, size_k, step_mm, first_plane, end_plane, real
        )
        stride_j, stride_k = int32(size_i), int32(size_i * size_j)
        share, one = real(amount * step_mm), real(1)
        for n in range(count):
            i, j, k, fi, fj, fk = cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real)
            at = int32(i + j * stride_j + k * stride_k)
            for upper in range(2):
                if first_plane <= k + upper < end_plane:
                    here = share * (fk if upper else one - fk)
                    corner = int32(at + upper * stride_k)
                    add(values, corner, here * (one - fj) * (one - fi))
                    add(values, int32(corner + 1), here * (one - fj) * fi)
                    add(values, int32(corner + stride_j), here * fj * (one - fi))
                    add(values, int32(corner + stride_j + 1), here * fj * fi)

    @compiled
    def spread_slopes(
        values, size_i, size_j, size_k, rays, column, row, step_mm, field, amount, first_plane, end_plane, real
    ):
        x0, y0, z0, dx, dy, dz, _, count, _ = slab(
            rays, column, row, size_i, size_j, size_k, step_mm, first_plane, end_plane, real
        )
        stride_j, stride_k = int32(size_i), int32(size_i * size_j)
        share, one = amount * step_mm, real(1)
        for n in range(count):
            i, j, k, fi, fj, fk = cell(n, x0, y0, z0, dx, dy, dz, size_i, size_j, size_k, real)
            x, y, z = real(i) + fi, real(j) + fj, real(k) + fk
            qi = real(share * (x * field[0, 0] + y * field[1, 0] + z * field[2, 0] + field[3, 0]))
            qj = real(share * (x * field[0, 1] + y * field[1, 1] + z * field[2, 1] + field[3, 1]))
            qk = real(share * (x * field[0, 2] + y * field[1, 2] + z * field[2, 2] + field[3, 2]))
            at = int32(i + j * stride_j + k * stride_k)
            for upper in range(2):
                if first_plane <= k + upper < end_plane:
                    wk, sk = (fk, qk) if upper else (one - fk, -qk)
                    corner = int32(at + upper * stride_k)
                    # Product rule of the weights (1 - fi or fi) (1 - fj or fj) wk, moved by q.
                    add(values, corner, (one - fj) * (one - fi) * sk - ((one - fj) * qi + (one - fi) * qj) * wk)
                    add(values, int32(corner + 1), (one - fj) * fi * sk + ((one - fj) * qi - fi * qj) * wk)
                    add(values, int32(corner + stride_j), fj * (one - fi) * sk + ((one - fi) * qj - fj * qi) * wk)
                    add(values, int32(corner + stride_j + 1), fj * fi * sk + (fj * qi + fi * qj) * wk)

    return March(integral, derivatives, fetch_ahead, spread, spread_slopes)
