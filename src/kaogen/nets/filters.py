"""Filters of one channel each: StyleGAN2's [1,3,3,1], and the depthwise layers of a frozen network.

oneDNN's gradient of a depthwise convolution takes five times as long as the convolution, forty
times where that has a stride (docs/LOG.md). It is a depthwise convolution again, by the kernel
turned round, and so it is written here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor

Pads = tuple[int, int, int, int]
"""Zeros on the left, right, top and bottom, each less than the kernel's size."""


class _Depthwise(torch.autograd.Function):
    """See `depthwise`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, pads: Pads, stride: int
    ) -> Tensor:
        ctx.save_for_backward(kernel)
        left, right, top, bottom = ctx.pads = pads
        height, width = x.shape[2:]
        high, wide = kernel.shape[2:]
        ctx.stride = stride
        ctx.size = (height + top + bottom - high + 1, width + left + right - wide + 1)
        same = 0
        if left == right == top == bottom:
            same = left
        else:
            x = F.pad(x, pads)
        return F.conv2d(x, kernel, bias, stride=stride, padding=same, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kernel,) = ctx.saved_tensors
        if ctx.stride > 1:
            shape, last = (*grad.shape[:2], *ctx.size), torch.channels_last
            stuffed = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=last)
            stuffed.zero_()
            stuffed[:, :, :: ctx.stride, :: ctx.stride] = grad
            grad = stuffed
        left, right, top, bottom = ctx.pads
        high, wide = kernel.shape[2] - 1, kernel.shape[3] - 1
        pads = (wide - left, wide - right, high - top, high - bottom)
        return depthwise(grad, kernel.flip((2, 3)), None, pads), None, None, None, None


def depthwise(
    x: Tensor, kernel: Tensor, bias: Tensor | None, pads: Pads, stride: int = 1
) -> Tensor:
    """Each channel by a kernel of its own, which is fixed: only `x` gets a gradient.

    Args:
        x: [N, C, H, W].
        kernel: [C, 1, k, k], in the type of `x`.
        bias: [C] or None.
        pads: zeros around `x`.
        stride: keeps every so many pixels; the others are not computed.

    Returns:
        [N, C, (H + top + bottom - k) // stride + 1, (W + left + right - k) // stride + 1].

    """
    filtered: Tensor = _Depthwise.apply(x, kernel, bias, pads, stride)  # type: ignore[no-untyped-call]
    return filtered


def blur(x: Tensor, pad: tuple[int, int], gain: float = 1.0, stride: int = 1) -> Tensor:
    """[1,3,3,1] / 8 along both axes, zero-padded by `pad` (0 to 3) before and after.

    [N, C, H, W] -> [N, C, H + pad[0] + pad[1] - 3, W + pad[0] + pad[1] - 3], of which `stride`
    keeps every so many pixels.
    """
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8.0
    kernel = (torch.outer(taps, taps) * gain).expand(x.shape[1], 1, 4, 4)
    return depthwise(x, kernel, None, (*pad, *pad), stride)


def upsample2(x: Tensor) -> Tensor:
    """Twice the size by the [1,3,3,1] filter. [N, C, H, W] -> [N, C, 2H, 2W].

    Each output pixel is a weighted mean of its two nearest pixels along each axis, 3/4 and 1/4,
    with zeros beyond the edge: the polyphase form of zero-stuffing and filtering.
    """
    for axis in (2, 3):
        before = F.pad(x, (1, 0, 0, 0) if axis == 3 else (0, 0, 1, 0)).narrow(
            axis, 0, x.shape[axis]
        )
        after = F.pad(x, (0, 1, 0, 0) if axis == 3 else (0, 0, 0, 1)).narrow(axis, 1, x.shape[axis])
        even = torch.lerp(x, before, 0.25)
        odd = torch.lerp(x, after, 0.25)
        x = torch.stack([even, odd], dim=axis + 1).flatten(axis, axis + 1)
    return x
