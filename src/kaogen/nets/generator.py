"""StyleGAN2's generator: mapping z and labels to w, and w to a picture.

Layers are named by resolution, so that the state dict reads like the paper's table and weights
carry over between sizes: `b64.conv0_up`, `b64.conv1`, `b64.to_rgb`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from kaogen.nets.config import NetConfig
from kaogen.nets.filters import upsample2
from kaogen.nets.ops import (
    Dense,
    Kernel,
    modulated_rgb,
    pixel_norm,
    random_kernel,
    styled_conv,
)

Noise = Literal["const", "random", "none"]


class Mapping(nn.Module):
    """z and labels -> w.

    "paper": y = labels @ W, [z, y] normalised as one (STYLEGAN2's own conditioning).
    "embed": the label embedding is normalised apart from z, so that k tags do not shrink z.
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        width = cfg.z_dim
        if cfg.num_tags and cfg.conditioning == "paper":
            self.label_concat = nn.Parameter(torch.randn(cfg.num_tags, cfg.w_dim))
            width += cfg.w_dim
        elif cfg.num_tags:
            self.embed = Dense(cfg.num_tags, cfg.z_dim)
            width += cfg.z_dim
        for i in range(cfg.mapping_layers):
            layer = Dense(width, cfg.w_dim, lr_mult=0.01, activate=True)
            self.add_module(f"dense{i}", layer)
            width = cfg.w_dim
        self.w_avg: Tensor
        self.register_buffer("w_avg", torch.zeros(cfg.w_dim))

    def forward(self, z: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """[N, z_dim], [N, num_tags] -> [N, w_dim].

        Args:
            z: latents.
            labels: 0 or 1.
            share: how much labels count, from 0, as if there were none, to 1; below 1 only
                while training goes over from unconditional to conditional.

        """
        cfg = self.cfg
        assert z.shape[1] == cfg.z_dim, f"z has {z.shape[1]} values, not {cfg.z_dim}"
        assert labels.shape[1] == cfg.num_tags, f"{labels.shape[1]} labels, not {cfg.num_tags}"
        x = z
        if not cfg.num_tags:
            x = pixel_norm(z)
        elif cfg.conditioning == "paper":
            x = pixel_norm(torch.cat([z, labels @ self.label_concat * share], dim=1))
        else:
            x = torch.cat([pixel_norm(z), pixel_norm(self.embed(labels)) * share], dim=1)
        for i in range(cfg.mapping_layers):
            x = self.get_submodule(f"dense{i}")(x)
        return x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution with noise, bias and leaky ReLU.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        shape: height and width of the result in pixels.
        cfg: the network's settings.
        up: doubles the size.

    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        shape: tuple[int, int],
        cfg: NetConfig,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.weight = random_kernel(out_channels, in_channels, 3)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = Dense(cfg.w_dim, in_channels, bias_init=1.0)
        self.weight_gain = 1.0 / math.sqrt(9 * in_channels)
        self.up, self.shape = up, shape
        self.use_noise = cfg.noise
        if cfg.noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.noise_const: Tensor
            self.register_buffer("noise_const", torch.randn(shape))

        self._kernel: tuple[tuple[object, ...], Kernel] | None = None

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """[N, I, H, W], [N, w_dim] -> [N, O, *shape]."""
        plane = self.noise_map(x, noise) if self.use_noise and noise != "none" else None
        # The learning-rate gain goes into the styles: they are smaller than the kernel.
        styles = self.affine(w) * self.weight_gain
        return styled_conv(x, self.kernel(x.dtype), styles, self.bias, plane)

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The weights, prepared for one type; kept from one picture to the next.

        Preparing takes as long as drawing a small picture, so while nothing learns it is done
        once, and again whenever the parameter has changed.
        """
        if torch.is_grad_enabled() or self.weight.is_inference():
            return Kernel.of(self.weight, dtype, self.up)
        key = (dtype, self.weight.device, self.weight.data_ptr(), self.weight._version)
        if self._kernel is None or self._kernel[0] != key:
            self._kernel = key, Kernel.of(self.weight, dtype, self.up)
        return self._kernel[1]

    def noise_map(self, x: Tensor, noise: Noise) -> Tensor:
        """[1 or N, 1, *shape] times the learnt strength."""
        if noise == "const":
            return self.noise_const[None, None] * self.noise_strength
        fresh = torch.randn(x.shape[0], 1, *self.shape, device=x.device)
        return fresh * self.noise_strength


class ToRGB(nn.Module):
    """1x1 modulated convolution without demodulation; summed in fp32."""

    def __init__(self, in_channels: int, cfg: NetConfig) -> None:
        super().__init__()
        self.weight = random_kernel(cfg.img_channels, in_channels, 1)
        self.bias = nn.Parameter(torch.zeros(cfg.img_channels))
        self.affine = Dense(cfg.w_dim, in_channels, bias_init=1.0)
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, I, H, W], [N, w_dim] -> [N, img_channels, H, W], fp32."""
        rgb = modulated_rgb(x, self.weight * self.weight_gain, self.affine(w))
        return rgb + self.bias[None, :, None, None]


class SynthesisBlock(nn.Module):
    """One row group of the paper's table: 8x8/Conv0_up, 8x8/Conv1, 8x8/Upsample, 8x8/ToRGB."""

    def __init__(self, size: int, cfg: NetConfig) -> None:
        super().__init__()
        out, shape = cfg.channels[size], cfg.shape(size)
        self.first = size == cfg.base
        if self.first:
            self.const = nn.Parameter(torch.randn(out, *shape))
            self.conv = StyledConv(out, out, shape, cfg)
        else:
            self.conv0_up = StyledConv(cfg.channels[size // 2], out, shape, cfg, up=True)
            self.conv1 = StyledConv(out, out, shape, cfg)
        self.to_rgb = ToRGB(out, cfg)

    def forward(
        self, x: Tensor, rgb: Tensor | None, ws: Tensor, slot: int, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Features and picture so far -> features and picture at this size."""
        if self.first:
            x = self.conv(x, ws[:, slot], noise)
            return x, self.to_rgb(x, ws[:, slot + 1])
        x = self.conv0_up(x, ws[:, slot], noise)
        x = self.conv1(x, ws[:, slot + 1], noise)
        assert rgb is not None
        return x, upsample2(rgb) + self.to_rgb(x, ws[:, slot + 2])


class Synthesis(nn.Module):
    """ws -> picture, a skip generator: RGB of all sizes is upsampled and summed."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.num_ws = cfg.num_ws
        for size in cfg.sizes:
            self.add_module(f"b{size}", SynthesisBlock(size, cfg))

    def forward(
        self, ws: Tensor, noise: Noise = "const", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """[N, num_ws, w_dim] -> [N, img_channels, H, W] in about [-1, 1], fp32.

        ToRGB at 2^r px takes slot 2r - 3, which the next block's Conv0_up shares.

        Args:
            ws: one w per slot.
            noise: "const" fixed maps, "random" fresh ones (training), "none".
            dtype: type of the activations; bf16 is the fast one on recent CPUs and GPUs.

        """
        assert ws.shape[1:] == (self.num_ws, self.cfg.w_dim), f"ws is {tuple(ws.shape)}"
        first = self.get_submodule(f"b{self.cfg.base}")
        const = first.get_parameter("const").to(dtype)
        x = const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        rgb, slot = None, 0
        for size in self.cfg.sizes:
            x, rgb = self.get_submodule(f"b{size}")(x, rgb, ws, slot, noise)
            slot += 1 if size == self.cfg.base else 2
        assert rgb is not None
        return rgb


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.mapping = Mapping(cfg)
        self.synthesis = Synthesis(cfg)
        self.num_ws = cfg.num_ws

    def forward(
        self,
        z: Tensor,
        labels: Tensor,
        noise: Noise = "const",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """[N, z_dim], [N, num_tags] -> [N, img_channels, H, W] in about [-1, 1]."""
        w = self.mapping(z, labels)
        return self.synthesis(w[:, None].expand(-1, self.num_ws, -1), noise, dtype)
