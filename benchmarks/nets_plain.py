"""The same networks in the form that most code has: fp32, contiguous, grouped convolutions.

Each picture has its own modulated and demodulated kernel, and the batch is one convolution with as
many groups as pictures; upsampling stuffs zeros and filters; every step is an operation of its own.
Weights are the fast networks' own, so that the pictures can be compared.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn

from kaogen.nets import discriminator as fast_d
from kaogen.nets import generator as fast_g
from kaogen.nets.ops import Conv

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def upfirdn(
    x: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Stuff zeros, pad, filter by [1,3,3,1] x [1,3,3,1], keep every `down`-th pixel."""
    n, c, h, w = x.shape
    if up > 1:
        x = x.reshape(n, c, h, 1, w, 1)
        x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, (*pad, *pad))
    kernel = (torch.outer(TAPS, TAPS) * gain)[None, None].repeat(c, 1, 1, 1)
    return F.conv2d(x, kernel, groups=c)[:, :, ::down, ::down]


def modulated(x: Tensor, weight: Tensor, styles: Tensor, up: bool, demodulate: bool) -> Tensor:
    """Eqs. 1 and 3 of StyleGAN2 by one grouped convolution."""
    n, c, h, w = x.shape
    kernels = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * c, h, w)
    if not up:
        y = F.conv2d(x, kernels.flatten(0, 1), padding=weight.shape[2] // 2, groups=n)
        return y.reshape(n, -1, *y.shape[2:])
    turned = kernels.flip((3, 4)).transpose(1, 2).flatten(0, 1)
    y = F.conv_transpose2d(x, turned, stride=2, groups=n)
    return upfirdn(y.reshape(n, -1, *y.shape[2:]), pad=(1, 1), gain=4.0)


class Generator(nn.Module):
    """The fast generator's modules, called one operation at a time."""

    def __init__(self, fast: fast_g.Generator) -> None:
        super().__init__()
        self.fast = fast

    def layer(self, at: fast_g.StyledConv, x: Tensor, w: Tensor, noise: str) -> Tensor:
        x = modulated(x, at.weight * at.weight_gain, at.affine(w), at.up, demodulate=True)
        if at.use_noise:
            fresh = (
                torch.randn(x.shape[0], 1, *x.shape[2:]) if noise == "random" else at.noise_const
            )
            x = x + fresh * at.noise_strength
        return F.leaky_relu(x + at.bias[None, :, None, None], 0.2) * math.sqrt(2)

    def rgb(self, at: fast_g.ToRGB, x: Tensor, w: Tensor) -> Tensor:
        y = modulated(x, at.weight * at.weight_gain, at.affine(w), up=False, demodulate=False)
        return y + at.bias[None, :, None, None]

    def forward(self, z: Tensor, labels: Tensor, noise: str, dtype: torch.dtype) -> Tensor:
        assert dtype == torch.float32
        w, picture = self.fast.mapping(z, labels), None
        for size in self.fast.cfg.sizes:
            block = self.fast.synthesis.get_submodule(f"b{size}")
            if picture is None:
                x = self.layer(block.conv, block.const.expand(len(z), -1, -1, -1), w, noise)
                picture = self.rgb(block.to_rgb, x, w)
                continue
            x = self.layer(block.conv0_up, x, w, noise)
            x = self.layer(block.conv1, x, w, noise)
            picture = upfirdn(picture, up=2, pad=(2, 1), gain=4.0) + self.rgb(block.to_rgb, x, w)
        return picture


class Discriminator(nn.Module):
    """The fast residual discriminator's modules, called one operation at a time."""

    def __init__(self, fast: fast_d.Discriminator) -> None:
        super().__init__()
        self.fast = fast

    def conv(self, at: Conv, x: Tensor) -> Tensor:
        weight = at.weight * at.weight_gain
        if at.down == 2:
            x = upfirdn(
                x, pad=(1, 1) if at.kernel == 1 else (2, 2), down=2 if at.kernel == 1 else 1
            )
            y = F.conv2d(x, weight, stride=1 if at.kernel == 1 else 2)
        else:
            y = F.conv2d(x, weight, padding=at.kernel // 2)
        if at.bias is not None:
            y = y + at.bias[None, :, None, None]
        return (F.leaky_relu(y, 0.2) if at.activate else y) * at.gain

    def features(self, images: Tensor, dtype: torch.dtype) -> list[Tensor]:
        del dtype
        return [images]

    def score(self, features: list[Tensor], labels: Tensor, dtype: torch.dtype) -> list[Tensor]:
        assert dtype == torch.float32
        cfg, fast = self.fast.cfg, self.fast
        x = self.conv(fast.from_rgb, features[0])
        for size in cfg.sizes[:0:-1]:
            block = fast.get_submodule(f"b{size}")
            skip = self.conv(block.skip, x)
            x = self.conv(block.conv1_down, self.conv(block.conv0, x)) + skip
        x = self.conv(fast.conv, fast_d.minibatch_stddev(x, cfg.mbstd_group))
        return [(fast.output(fast.dense0(x.flatten(1))) * labels).sum(dim=1)]
