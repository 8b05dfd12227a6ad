"""The operations that StyleGAN2 is made of.

Each is written in the form that is fast on a CPU: one convolution shared by the whole batch,
with the activations scaled before and after it, instead of one grouped convolution per picture.
The slow forms that read like the equations stand in `tests/nets/reference.py`; values, gradients
and second gradients are compared there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn

from kaogen.nets.filters import blur

LRELU_SLOPE = 0.2
SQRT2 = math.sqrt(2.0)


class Dense(nn.Module):
    """Fully connected layer with equalised learning rate.

    Args:
        in_features: length of the input.
        out_features: length of the output.
        lr_mult: learning-rate multiplier on weight and bias.
        bias_init: what the bias starts at.
        activate: leaky ReLU 0.2 with gain sqrt(2) behind it.

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lr_mult: float = 1.0,
        bias_init: float = 0.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mult)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_mult))
        self.weight_gain = lr_mult / math.sqrt(in_features)
        self.lr_mult = lr_mult
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        y = F.linear(x, weight, (self.bias * self.lr_mult).to(x.dtype))
        return F.leaky_relu(y, LRELU_SLOPE) * SQRT2 if self.activate else y


def random_kernel(out_channels: int, in_channels: int, size: int) -> nn.Parameter:
    """N(0, 1), [O, I, k, k], with channels last: as the convolution wants it, without a copy."""
    weight = torch.randn(out_channels, in_channels, size, size)
    return nn.Parameter(weight.contiguous(memory_format=torch.channels_last))


class Conv(nn.Module):
    """Plain convolution of the discriminator, with equalised learning rate.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: 1 or 3.
        down: 2 blurs with [1,3,3,1] and takes every second pixel.
        bias: whether it has a bias.
        activate: leaky ReLU 0.2 behind it.
        gain: what the result is multiplied by, beside the activation's sqrt(2).

    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        down: int = 1,
        bias: bool = True,
        activate: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = random_kernel(out_channels, in_channels, kernel)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1.0 / math.sqrt(in_channels * kernel**2)
        self.gain = gain * (SQRT2 if activate else 1.0)
        self.down, self.kernel, self.activate = down, kernel, activate

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H / down, W / down]."""
        # Leaky ReLU is positively homogeneous, so its gain goes into weight and bias.
        weight = self.weight * (self.weight_gain * self.gain)
        weight = weight.to(x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        if self.down == 2 and self.kernel == 1:
            y = F.conv2d(blur(x, (1, 1), stride=2), weight, bias)
        elif self.down == 2:
            y = F.conv2d(blur(x, (2, 2)), weight, bias, stride=2)
        else:
            y = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        return F.leaky_relu_(y, LRELU_SLOPE) if self.activate else y


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean(x^2)) along the last axis."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


class _Scale(torch.autograd.Function):
    """A factor for each picture's channel; the gradients are one pass each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale[:, :, None, None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return per_channel(grad, scale), (grad * x).sum(dim=(2, 3))


def per_channel(x: Tensor, scale: Tensor) -> Tensor:
    """[N, C, H, W] times [N, C]."""
    scaled: Tensor = _Scale.apply(x, scale.to(x.dtype))  # type: ignore[no-untyped-call]
    return scaled


@dataclass(frozen=True)
class Kernel:
    """The weights of a modulated convolution as the machine wants them.

    Attributes:
        weight: [O, I, k, k]; [I, O, k, k], turned round, where it doubles the size. Channels
            last, in the activations' type.
        energy: [O, I], sums over the kernel of squared weights, at least fp32.
        up: double the size: transposed convolution, then the [1,3,3,1] filter with gain 4.

    """

    weight: Tensor
    energy: Tensor
    up: bool

    @classmethod
    def of(cls, weight: Tensor, dtype: torch.dtype, up: bool = False) -> Kernel:
        """From [O, I, k, k]."""
        energy = at_least_float(weight).square().sum(dim=(2, 3))
        if up:
            # Transposed convolution adds the kernel's mirror image; the correlation that
            # StyleGAN2 means is got by turning the kernel round.
            weight = weight.flip((2, 3)).transpose(0, 1)
        return cls(weight.to(dtype, memory_format=torch.channels_last), energy, up)

    def demodulation(self, styles: Tensor, eps: float = 1e-8) -> Tensor:
        """1 / sqrt(sum over inputs and kernel of (w s)^2): s^2 times the sums of w^2.

        Eq. 3 of StyleGAN2. styles [N, I] -> [N, O], at least fp32.
        """
        return torch.rsqrt(at_least_float(styles).square() @ self.energy.t() + eps)

    def modulated(self, styles: Tensor, scale: Tensor) -> Kernel:
        """The kernel of one picture: its inputs times styles [1, I], its outputs times [1, O]."""
        inputs, outputs = (scale, styles) if self.up else (styles, scale)
        factor = inputs.reshape(1, -1, 1, 1) * outputs.reshape(-1, 1, 1, 1)
        return Kernel((self.weight * factor).to(self.weight.dtype), self.energy, self.up)

    def convolve(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H, W] or [N, O, 2H, 2W]."""
        if not self.up:
            return F.conv2d(x, self.weight, padding=self.weight.shape[2] // 2)
        return blur(F.conv_transpose2d(x, self.weight, stride=2), (1, 1), gain=4.0)


def at_least_float(x: Tensor) -> Tensor:
    """Half precision as fp32; what is more precise stays so."""
    return x if x.dtype == torch.float64 else x.float()


def styled_conv(
    x: Tensor, kernel: Kernel, styles: Tensor, bias: Tensor, noise: Tensor | None = None
) -> Tensor:
    """sqrt(2) * leaky_relu(demodulated convolution + noise + bias): a layer of the synthesis.

    Eqs. 1 and 3 of StyleGAN2. Modulation is a scale on the inputs and demodulation one on the
    result, so that the whole batch shares one convolution. A picture drawn alone, where nothing
    learns, has its own kernel instead if that is smaller than the activations.

    Args:
        x: [N, I, H, W], any float type.
        kernel: the weights, in the type of `x`.
        styles: [N, I].
        bias: [C].
        noise: [N or 1, 1, H, W] or None.

    Returns:
        [N, O, H, W] or [N, O, 2H, 2W].

    """
    # The activation's gain goes into everything that it multiplies: leaky ReLU is homogeneous.
    scale = kernel.demodulation(styles) * SQRT2
    bias = (bias * SQRT2).to(x.dtype)[None, :, None, None]
    if noise is not None:
        noise = (noise * SQRT2).to(x.dtype)
    if alone(x, kernel):
        y = kernel.modulated(styles, scale).convolve(x)
    else:
        y = per_channel(kernel.convolve(per_channel(x, styles)), scale)
    y = y.add_(bias) if noise is None else y.add_(noise).add_(bias)
    return F.leaky_relu_(y, LRELU_SLOPE)


def alone(x: Tensor, kernel: Kernel) -> bool:
    """Whether a picture is drawn by itself, and its activations are more than the kernel."""
    activations = (
        x.shape[2] * x.shape[3] * (x.shape[1] + (4 if kernel.up else 1) * len(kernel.energy))
    )
    return x.shape[0] == 1 and not torch.is_grad_enabled() and activations > kernel.weight.numel()


def modulated_rgb(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """ToRGB: a 1x1 modulated convolution, not demodulated, as one small matrix per picture.

    Args:
        x: [N, I, H, W], any float type.
        weight: [C, I, 1, 1], already times its learning-rate gain.
        styles: [N, I].

    Returns:
        [N, C, H, W], at least fp32.

    """
    n, _, h, w = x.shape
    matrix = (weight[None, :, :, 0, 0] * styles[:, None]).transpose(1, 2)  # [N, I, C]
    rows = x.permute(0, 2, 3, 1).reshape(n, h * w, -1)  # no copy where channels are last
    rgb = torch.bmm(rows, matrix.to(x.dtype))
    return at_least_float(rgb).reshape(n, h, w, -1).permute(0, 3, 1, 2)
