"""StyleGAN2's residual discriminator, with the paper's label score or a projection head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kaogen.nets.config import NetConfig
from kaogen.nets.ops import Conv, Dense


class DiscriminatorBlock(nn.Module):
    """128x128/Conv0, Conv1_down and Skip; the two branches' sum times 1/sqrt(2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = Conv(in_channels, in_channels, 3)
        self.conv1_down = Conv(in_channels, out_channels, 3, down=2, gain=math.sqrt(0.5))
        self.skip = Conv(
            in_channels, out_channels, 1, down=2, bias=False, activate=False, gain=math.sqrt(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H/2, W/2]."""
        return self.conv1_down(self.conv0(x)) + self.skip(x)


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Adds one channel: the mean standard deviation over each group of pictures, in fp32.

    [N, C, H, W] -> [N, C + 1, H, W]. Picture i is in group i mod (N / group), as in StyleGAN2.
    """
    n, c, h, w = x.shape
    group = min(group, n)
    assert n % group == 0, f"a batch of {n} does not divide into groups of {group}"
    y = x.float().reshape(group, n // group, c, h, w)
    y = y - y.mean(dim=0)
    y = (y.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N / group]
    channel = y.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, h, w)
    return torch.cat([x, channel.to(x.dtype)], dim=1)


class Discriminator(nn.Module):
    """Picture and labels -> score."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        sizes = cfg.sizes[::-1]
        self.from_rgb = Conv(cfg.img_channels, cfg.channels[cfg.resolution], 1)
        for size in sizes[:-1]:
            block = DiscriminatorBlock(cfg.channels[size], cfg.channels[size // 2])
            self.add_module(f"b{size}", block)
        last = cfg.channels[cfg.base]
        self.conv = Conv(last + 1, last, 3)
        self.dense0 = Dense(last * math.prod(cfg.shape(cfg.base)), last, activate=True)
        if not cfg.num_tags:
            self.output = Dense(last, 1)
        elif cfg.conditioning == "paper":
            self.output = Dense(last, cfg.num_tags)
        else:
            self.output = Dense(last, 1)
            self.project = Dense(cfg.num_tags, last)

    def features(self, images: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """What `score` reads: here the picture itself (`dtype` is for the interface's sake)."""
        del dtype
        return [images]

    def score(
        self, features: list[Tensor], labels: Tensor, dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """One head's scores [N]; see `forward`."""
        return [self.forward(features[0], labels, dtype)]

    def forward(self, images: Tensor, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, H, W] in [-1, 1], [N, num_tags] -> score [N], fp32.

        "paper": score = sum_i label_i * out_i. "embed": out + <x, project(labels)> / sqrt(C).
        """
        cfg = self.cfg
        assert images.shape[2:] == cfg.shape(cfg.resolution), f"pictures are {tuple(images.shape)}"
        x = self.from_rgb(images.to(dtype).contiguous(memory_format=torch.channels_last))
        for size in cfg.sizes[:0:-1]:
            x = self.get_submodule(f"b{size}")(x)
        x = self.conv(minibatch_stddev(x, cfg.mbstd_group))
        x = self.dense0(x.float().flatten(1))  # [N, C]
        out = self.output(x)
        if not cfg.num_tags:
            return out[:, 0]
        if cfg.conditioning == "paper":
            return (out * labels).sum(dim=1)
        return out[:, 0] + (x * self.project(labels)).sum(dim=1) / math.sqrt(x.shape[1])
