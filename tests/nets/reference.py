"""The slow forms, written like the equations; what `kaogen.nets.ops` is compared with."""

import torch
from torch import Tensor
from torch.nn import functional


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, up: bool, demodulate: bool) -> Tensor:
    """Eqs. 1 and 3 of StyleGAN2, one picture at a time with its own kernel."""
    out = []
    for picture, style in zip(x, styles, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        pad = weight.shape[2] // 2
        if up:
            # Zero-stuff, filter by the kernel, then by [1,3,3,1] with gain 4: upfirdn of the
            # paper's code has the convolution first, as a transposed one.
            stuffed = zero_stuff(picture[None])
            full = functional.conv2d(functional.pad(stuffed, (2, 2, 2, 2)), kernel)
            out.append(upfirdn(full, up=1, pad=(1, 1), gain=4.0)[0])
        else:
            out.append(functional.conv2d(picture[None], kernel, padding=pad)[0])
    return torch.stack(out)


def zero_stuff(x: Tensor) -> Tensor:
    """A zero behind every pixel but the last: [.., H, W] -> [.., 2H - 1, 2W - 1]."""
    n, c, h, w = x.shape
    out = x.new_zeros(n, c, 2 * h - 1, 2 * w - 1)
    out[:, :, ::2, ::2] = x
    return out


def upfirdn(x: Tensor, up: int, pad: tuple[int, int], gain: float = 1.0) -> Tensor:
    """Zero-stuff (a zero behind the last pixel too), pad, filter by [1,3,3,1] x [1,3,3,1] / 64."""
    n, c, h, w = x.shape
    if up == 2:
        stuffed = x.new_zeros(n, c, 2 * h, 2 * w)
        stuffed[:, :, ::2, ::2] = x
        x = stuffed
    x = functional.pad(x, (*pad, *pad))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8
    kernel = torch.outer(taps, taps)[None, None] * gain
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = functional.conv2d(flat, kernel)
    return y.reshape(n, c, *y.shape[2:])
