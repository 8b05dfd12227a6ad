"""The fast operations against the slow ones: values, gradients, second gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from kaogen.nets import ops
from nets import reference

torch.set_default_dtype(torch.float32)


def doubles(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


@pytest.mark.parametrize(("up", "kernel"), [(False, 1), (False, 3), (True, 3)])
def test_modulated_conv_is_the_equation(up: bool, kernel: int) -> None:
    x, w, s = doubles(3, 5, 6, 7), doubles(4, 5, kernel, kernel, seed=1), doubles(3, 5, seed=2)
    plain = ops.modulated_conv(x, w, s, up)
    torch.testing.assert_close(plain, reference.modulated_conv(x, w, s, up, demodulate=False))
    scaled = plain * ops.demodulation(w, s).double()[:, :, None, None]
    slow = reference.modulated_conv(x, w, s, up, demodulate=True)
    torch.testing.assert_close(scaled, slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_modulated_conv_first_and_second_gradients(up: bool) -> None:
    x, w, s = doubles(2, 3, 4, 4), doubles(2, 3, 3, 3, seed=1), doubles(2, 3, seed=2)
    leaves = [t.requires_grad_() for t in (x, w, s)]

    def fast(x: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return ops.modulated_conv(x, w, s, up)

    assert torch.autograd.gradcheck(fast, leaves)
    assert torch.autograd.gradgradcheck(fast, leaves)


def test_upsample_is_zero_stuffing_and_filter() -> None:
    x = doubles(2, 3, 5, 4)
    slow = reference.upfirdn(x, up=2, pad=(2, 1), gain=4.0)
    torch.testing.assert_close(ops.upsample2(x), slow)


def test_blur_pads_and_keeps_the_mean() -> None:
    x = doubles(1, 2, 6, 6)
    torch.testing.assert_close(ops.blur(x, (2, 1)), reference.upfirdn(x, up=1, pad=(2, 1)))
    flat = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(ops.blur(flat, (0, 0)), torch.ones(1, 1, 6, 6, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [1, 3])
def test_down_convolution_blurs_then_takes_every_second_pixel(kernel: int) -> None:
    layer = ops.Conv(3, 5, kernel, down=2, activate=False).double()
    x = doubles(2, 3, 8, 8)
    pad = (1, 1) if kernel == 1 else (2, 2)
    blurred = reference.upfirdn(x, up=1, pad=pad)
    weight = layer.weight / math.sqrt(3 * kernel**2)
    slow = nn.functional.conv2d(blurred, weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(x), slow)
    assert layer(x).shape == (2, 5, 4, 4)


def test_scale_bias_lrelu_folds_the_gain() -> None:
    x, scale, bias = doubles(2, 3, 4, 4), doubles(2, 3, seed=1).abs(), doubles(3, seed=2)
    slow = x * scale[:, :, None, None] + bias[None, :, None, None]
    slow = nn.functional.leaky_relu(slow, 0.2) * math.sqrt(2)
    torch.testing.assert_close(ops.scale_bias_lrelu(x, scale, bias), slow)
    without = nn.functional.leaky_relu(x + bias[None, :, None, None], 0.2) * math.sqrt(2)
    torch.testing.assert_close(ops.scale_bias_lrelu(x, None, bias), without)


def test_discriminator_convolution_double_gradient() -> None:
    layer = ops.Conv(2, 3, 3, down=2).double()
    x = doubles(1, 2, 6, 6).requires_grad_()
    assert torch.autograd.gradgradcheck(layer, [x])


def test_dense_learning_rate_multiplier_cancels_at_the_start() -> None:
    torch.manual_seed(0)
    slow, usual = ops.Dense(64, 64, lr_mult=0.01), ops.Dense(64, 64)
    x = torch.randn(512, 64)
    spread = float(usual(x).detach().std())
    assert float(slow(x).detach().std()) == pytest.approx(spread, rel=0.1)
    assert float(slow.weight.detach().std()) == pytest.approx(100, rel=0.05)
