"""The fast operations against the slow ones: values, gradients, second gradients."""

import math
import platform
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from kaogen.nets import filters, ops
from kaogen.nets.config import NetConfig
from kaogen.nets.generator import StyledConv
from nets import reference

torch.set_default_dtype(torch.float32)


def doubles(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def layer_of_equations(
    x: Tensor, w: Tensor, s: Tensor, bias: Tensor, noise: Tensor | None, up: bool
) -> Tensor:
    y = reference.modulated_conv(x, w, s, up, demodulate=True) + bias[None, :, None, None]
    y = y if noise is None else y + noise
    return nn.functional.leaky_relu(y, 0.2) * math.sqrt(2)


def leaves_of_layer(up: bool, noisy: bool, count: int = 3) -> list[Tensor | None]:
    """x, weight, styles (of both signs), bias, noise of a small layer."""
    size = (8, 10) if up else (4, 5)
    parts = [doubles(count, 3, 4, 5), doubles(4, 3, 3, 3, seed=1), doubles(count, 3, seed=2)]
    noise = doubles(count, 1, *size, seed=4) if noisy else None
    return [*parts, doubles(4, seed=3), noise]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("up", [False, True])
def test_styled_conv_is_the_equations(up: bool, noisy: bool) -> None:
    x, w, s, bias, noise = leaves_of_layer(up, noisy)
    fast = ops.styled_conv(x, ops.Kernel.of(w, x.dtype, up), s, bias, noise)
    torch.testing.assert_close(fast, layer_of_equations(x, w, s, bias, noise, up))


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("up", [False, True])
def test_a_picture_drawn_alone_has_its_own_kernel_and_the_same_values(
    up: bool, noisy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = leaves_of_layer(up, noisy, count=1)
    x = doubles(1, 3, 20, 20)
    noise = doubles(1, 1, 40, 40) if up else doubles(1, 1, 20, 20)
    x, w, s, bias, noise = (x, *parts[1:4], noise if noisy else None)
    kernel = ops.Kernel.of(w, x.dtype, up)
    with torch.no_grad():
        assert ops.alone(x, kernel)
        own = ops.styled_conv(x, kernel, s, bias, noise)
        monkeypatch.setattr(ops, "alone", lambda *_: False)
        torch.testing.assert_close(own, ops.styled_conv(x, kernel, s, bias, noise))


@pytest.mark.parametrize("up", [False, True])
def test_styled_conv_first_and_second_gradients(up: bool) -> None:
    parts = leaves_of_layer(up, noisy=True, count=2)
    leaves = [t.requires_grad_() for t in parts if t is not None]

    def fast(x: Tensor, w: Tensor, s: Tensor, bias: Tensor, noise: Tensor) -> Tensor:
        return ops.styled_conv(x, ops.Kernel.of(w, x.dtype, up), s, bias, noise)

    assert torch.autograd.gradcheck(fast, leaves)
    assert torch.autograd.gradgradcheck(fast, leaves)


def test_modulated_rgb_is_a_modulated_convolution_without_demodulation() -> None:
    x, w, s = doubles(3, 5, 6, 7), doubles(4, 5, 1, 1, seed=1), doubles(3, 5, seed=2)
    slow = reference.modulated_conv(x, w, s, up=False, demodulate=False)
    torch.testing.assert_close(ops.modulated_rgb(x, w, s), slow)
    leaves = [t.requires_grad_() for t in (x[:1, :, :2, :2], w, s[:1])]
    assert torch.autograd.gradcheck(ops.modulated_rgb, leaves)
    assert torch.autograd.gradgradcheck(ops.modulated_rgb, leaves)


def test_upsample_is_zero_stuffing_and_filter() -> None:
    x = doubles(2, 3, 5, 4)
    slow = reference.upfirdn(x, up=2, pad=(2, 1), gain=4.0)
    torch.testing.assert_close(filters.upsample2(x), slow)


def test_blur_pads_and_keeps_the_mean() -> None:
    x = doubles(1, 2, 6, 6)
    torch.testing.assert_close(filters.blur(x, (2, 1)), reference.upfirdn(x, up=1, pad=(2, 1)))
    flat = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(
        filters.blur(flat, (0, 0)), torch.ones(1, 1, 6, 6, dtype=torch.float64)
    )


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


def test_blur_computes_only_the_pixels_that_are_kept() -> None:
    x = doubles(2, 3, 8, 8)
    torch.testing.assert_close(
        filters.blur(x, (1, 1), stride=2), filters.blur(x, (1, 1))[:, :, ::2, ::2]
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 1, 2, 0)])
def test_depthwise_is_a_grouped_convolution(pads: filters.Pads, stride: int) -> None:
    x, w, b = doubles(2, 3, 7, 6), doubles(3, 1, 3, 3, seed=1), doubles(3, seed=2)
    slow = nn.functional.conv2d(nn.functional.pad(x, pads), w, b, stride, groups=3)
    torch.testing.assert_close(filters.depthwise(x, w, b, pads, stride), slow)

    def fast(x: Tensor) -> Tensor:
        return filters.depthwise(x, w, b, pads, stride)

    assert torch.autograd.gradcheck(fast, [x.requires_grad_()])
    assert torch.autograd.gradgradcheck(fast, [x])


def test_prepared_kernels_follow_their_parameter() -> None:
    layer = StyledConv(3, 4, (8, 8), NetConfig(8, {4: 4, 8: 4}, w_dim=5, z_dim=5))
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    with torch.no_grad():
        first = layer(x, w, "none")
        prepared = layer.kernel(torch.float32)
        assert layer.kernel(torch.float32) is prepared
        layer.weight.mul_(-1)
        assert layer.kernel(torch.float32) is not prepared
        assert not torch.equal(layer(x, w, "none"), first)
    layer(x, w, "none").sum().backward()
    assert layer.weight.grad is not None


def test_freed_memory_is_kept_where_glibc_is() -> None:
    code = "from kaogen.nets.memory import keep_freed_memory as k; print(k())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


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
