"""Resampling for adaptive augmentation: warps and band filters, differentiable any number of times.

Filters are written as matrices that already hold the reflection at the picture's edge: filtering
a batch along both axes is then two matrix products, `M x M^T`, whatever the filter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

# Daubechies' least asymmetric wavelet with 6 vanishing moments: the low-pass filter.
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
BANDS = 4
MARGIN = 8  # pixels by which an enlarged picture reaches beyond the edge


def reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices beyond 0 .. size - 1 mirrored at the outermost pixels, as often as needed."""
    period = max(1, 2 * (size - 1))
    folded: NDArray[np.int64] = np.abs((index + size - 1) % period - (size - 1))
    return folded


@lru_cache(maxsize=16)
def enlarging(size: int) -> Floats:
    """[2 (size + 2 MARGIN), size]: y[u] = sum_k h[u - 2k] x[k], u from -2 MARGIN on."""
    taps, first = np.array(SYM6), -2 * MARGIN
    out = np.zeros((2 * (size + 2 * MARGIN), size))
    for row in range(len(out)):
        for tap in range(len(taps)):
            k, odd = divmod(row + first - tap, 2)
            if not odd:
                out[row, reflected(np.array(k), size)] += taps[tap]
    return out


@lru_cache(maxsize=16)
def halving(size: int) -> Floats:
    """[size, 2 size + 10], the transpose filter: x[k] = sum_u h[u - 2k] y[u], u from 0 on."""
    taps = np.array(SYM6)
    out = np.zeros((size, 2 * size + len(taps) - 2))
    for row in range(size):
        out[row, 2 * row : 2 * row + len(taps)] = taps
    return out


@lru_cache(maxsize=16)
def bands(size: int) -> Floats:
    """[BANDS, size, size]: filters that split a line into octaves, coarsest first; their sum is 1.

    With L(z) the half-band low-pass of SYM2's autocorrelation: 1 - L(z) is the finest octave,
    L(z) (1 - L(z^2)) the next, and so on; the coarsest keeps the rest.
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    rest, found = np.ones(1), []
    for level in range(BANDS - 1):
        stretched = np.zeros((len(low) - 1) * 2**level + 1)
        stretched[:: 2**level] = low
        kept = np.convolve(rest, stretched)
        before = np.pad(rest, (len(kept) - len(rest)) // 2)
        found.append(before - kept)
        rest = kept
    out = np.zeros((BANDS, size, size))
    for band, taps in enumerate([rest, *reversed(found)]):
        for tap, value in enumerate(taps):
            k = reflected(np.arange(size) + tap - len(taps) // 2, size)
            np.add.at(out[band], (np.arange(size), k), value)
    return out


def matrix(values: Floats, like: Tensor) -> Tensor:
    """A constant beside `like`, in its type."""
    return torch.from_numpy(values).to(like.device, like.dtype)


def amplify_bands(x: Tensor, gains: Tensor) -> Tensor:
    """Each picture's octaves times its gains, along both axes.

    Args:
        x: [N, C, H, W].
        gains: [N, BANDS], coarsest first.

    """
    gains = gains.to(x.device, x.dtype)
    rows = torch.einsum("nb,bij->nij", gains, matrix(bands(x.shape[2]), x))[:, None]
    columns = torch.einsum("nb,bij->nij", gains, matrix(bands(x.shape[3]), x))[:, None]
    return rows @ x @ columns.transpose(2, 3)


class _Sampled(torch.autograd.Function):
    """Bilinear `grid_sample`, which torch differentiates only once; linear in the picture."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, "bilinear", "zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        found: Tensor = _Spread.apply(gradients[0], grid, ctx.shape)  # type: ignore[no-untyped-call]
        return found, None


class _Spread(torch.autograd.Function):
    """The transpose of `_Sampled`: what each sampled pixel owes to which pixel of the picture."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        picture = y.new_empty(1).expand(shape)  # only its shape is read
        bilinear = zeros = 0
        found: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            y.contiguous(), picture, grid, bilinear, zeros, False, [True, False]
        )[0]
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        found: Tensor = _Sampled.apply(gradients[0], grid)  # type: ignore[no-untyped-call]
        return found, None, None


def fold(p: Tensor, size: int) -> Tensor:
    """Coordinates far beyond the edge mirrored at the outermost pixels.

    The enlarged picture's margin is a mirror already; near the edge it is read as it is, which
    keeps whole pixels on whole pixels.
    """
    top, near = float(max(size - 1, 1)), MARGIN / 2
    mirrored = top - (p.remainder(2 * top) - top).abs()
    return torch.where((p > -near) & (p < top + near), p, mirrored)


def warp(x: Tensor, back: Tensor) -> Tensor:
    """Each picture under its affine map, without aliasing; the edge is mirrored.

    Enlarged twice by SYM6, sampled bilinearly there, and halved by the same filter, as ADA does.
    The identity gives the very picture back.

    Args:
        x: [N, C, H, W].
        back: [N, 2, 3], from the result's coordinates (x, y, 1) in pixels, 0 at the centre, to
            the source's.

    """
    h, w = x.shape[2:]
    large = matrix(enlarging(h), x) @ x @ matrix(enlarging(w), x).t()
    # Where the filter's weight lies: pixel p of the picture is at 2 p + shift in the enlarged one.
    shift = float(np.dot(SYM6, np.arange(len(SYM6))) / np.sum(SYM6))

    def coordinates(size: int) -> Tensor:
        v = torch.arange(2 * size + len(SYM6) - 2, device=x.device, dtype=x.dtype)
        return (v - shift) / 2 - (size - 1) / 2

    ys, xs = torch.meshgrid(coordinates(h), coordinates(w), indexing="ij")
    points = torch.stack([xs, ys, torch.ones_like(xs)], dim=-1)  # [2h + 10, 2w + 10, 3]
    source = torch.einsum("nij,hwj->nhwi", back.to(x.device, x.dtype), points)
    grid = []
    for axis, size in ((0, w), (1, h)):
        u = 2 * fold(source[..., axis] + (size - 1) / 2, size) + shift + 2 * MARGIN
        grid.append((2 * u + 1) / (2 * (size + 2 * MARGIN)) - 1)
    sampled: Tensor = _Sampled.apply(large, torch.stack(grid, dim=-1))  # type: ignore[no-untyped-call]
    return matrix(halving(h), x) @ sampled @ matrix(halving(w), x).t()
