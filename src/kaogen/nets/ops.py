"""The operations that StyleGAN2 is made of.

Each is written in the form that is fast on a CPU: one convolution shared by the whole batch,
with the activations scaled before and after it, instead of one grouped convolution per picture.
The slow forms that read like the equations stand in `tests/nets/reference.py`; values, gradients
and second gradients are compared there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn

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
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1.0 / math.sqrt(in_channels * kernel**2)
        self.gain = gain * (SQRT2 if activate else 1.0)
        self.down, self.kernel, self.activate = down, kernel, activate

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H / down, W / down]."""
        # Leaky ReLU is positively homogeneous, so its gain goes into weight and bias.
        weight = (self.weight * (self.weight_gain * self.gain)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        if self.down == 2 and self.kernel == 1:
            x = blur(x, (1, 1))[:, :, ::2, ::2]
            y = F.conv2d(x, weight, bias)
        elif self.down == 2:
            y = F.conv2d(blur(x, (2, 2)), weight, bias, stride=2)
        else:
            y = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        return F.leaky_relu(y, LRELU_SLOPE) if self.activate else y


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean(x^2)) along the last axis."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


def blur(x: Tensor, pad: tuple[int, int], gain: float = 1.0) -> Tensor:
    """[1,3,3,1] / 8 along both axes, zero-padded by `pad` before and after.

    [N, C, H, W] -> [N, C, H + pad[0] + pad[1] - 3, W + pad[0] + pad[1] - 3].
    """
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8.0
    kernel = (torch.outer(taps, taps) * gain).expand(x.shape[1], 1, 4, 4)
    if pad[0] == pad[1]:
        return F.conv2d(x, kernel, padding=pad[0], groups=x.shape[1])
    return F.conv2d(F.pad(x, (pad[0], pad[1], pad[0], pad[1])), kernel, groups=x.shape[1])


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


def demodulation(weight: Tensor, styles: Tensor, eps: float = 1e-8) -> Tensor:
    """1 / sqrt(sum over inputs and kernel of (w s)^2): a matrix product of s^2 with sums of w^2.

    Eq. 3 of StyleGAN2. weight [O, I, k, k], styles [N, I] -> [N, O], fp32.
    """
    energy = weight.float().square().sum(dim=(2, 3))  # [O, I]
    return torch.rsqrt(styles.float().square() @ energy.t() + eps)


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, up: bool = False) -> Tensor:
    """Eq. 1 of StyleGAN2 without its demodulation, which is a scale on the result.

    Args:
        x: [N, I, H, W], any float type.
        weight: [O, I, k, k], already times its learning-rate gain.
        styles: [N, I].
        up: double the size: transposed convolution, then the [1,3,3,1] filter with gain 4.

    Returns:
        [N, O, H, W] or [N, O, 2H, 2W].

    """
    x = x * styles.to(x.dtype)[:, :, None, None]
    weight = weight.to(x.dtype)
    if not up:
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)
    # Transposed convolution adds the kernel's mirror image; the correlation that StyleGAN2 means
    # is got by turning the kernel round.
    kernel = weight.flip((2, 3)).transpose(0, 1)
    return blur(F.conv_transpose2d(x, kernel, stride=2), (1, 1), gain=4.0)


def scale_bias_lrelu(x: Tensor, scale: Tensor | None, bias: Tensor) -> Tensor:
    """sqrt(2) * leaky_relu(x * scale + bias), the gain folded into scale and bias.

    Args:
        x: [N, C, H, W].
        scale: [N, C] or None for 1.
        bias: [C], or [N or 1, C, H, W] where noise has been added to it.

    """
    shift = (bias * SQRT2).to(x.dtype)
    if shift.dim() == 1:
        shift = shift[None, :, None, None]
    if scale is None:
        y = x * SQRT2 + shift
    else:
        y = torch.addcmul(shift, x, (scale * SQRT2).to(x.dtype)[:, :, None, None])
    return F.leaky_relu(y, LRELU_SLOPE)
