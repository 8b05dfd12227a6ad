"""The feature discriminator: small trainable heads on a frozen trunk's feature maps.

After Sauer et al., "Projected GANs Converge Faster" (2021), with two changes made for drawn faces:
the trunk was fine-tuned to tell their tags, and one more head looks at the pixels themselves,
where a frozen trunk is blind to fine texture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from kaogen.nets.config import NetConfig
from kaogen.nets.discriminator import minibatch_stddev
from kaogen.nets.trunks import Trunk

HEAD_WIDTH = 64
GROUP = 4  # pictures whose variation is measured together


def sn_conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    """Spectrally normalised convolution (Miyato et al. 2018), padded to keep the size."""
    padding = (kernel - 1) // 2
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, stride, padding))


class Head(nn.Module):
    """One feature map -> patch scores and a label score.

    Args:
        in_channels: channels of the map.
        size: its shorter side in pixels; halved until 8 or less.
        num_tags: length of the label vector.
        mix: a fixed random 1x1 projection first, so that no channel can be ignored.
        width: channels inside.

    """

    def __init__(
        self, in_channels: int, size: int, num_tags: int, mix: bool, width: int = HEAD_WIDTH
    ) -> None:
        super().__init__()
        self.mix: Tensor | None
        if mix:  # orthogonal-ish at random, fixed for good
            self.register_buffer("mix", torch.randn(width, in_channels, 1, 1) / in_channels**0.5)
        else:
            self.mix = None
        # Large maps are halved at once: a 3x3 convolution at full size would cost more than the
        # generator does.
        inner = width if mix else in_channels
        first = sn_conv(inner, width, 3) if size <= 16 or not mix else None
        layers = [] if first is None else [first]
        while size > 8:
            layers.append(sn_conv(width if layers else inner, width, 4, stride=2))
            size //= 2
        self.layers = nn.ModuleList(layers)
        # One more channel says how much the batch varies: without it G settled on one face in
        # many colours (docs/LOG.md).
        self.vary = sn_conv(width + 1, width, 3)
        self.patch = sn_conv(width, 1, 1)
        self.project = spectral_norm(nn.Linear(num_tags, width)) if num_tags else None
        self.width = width

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """[N, C, H, W], [N, num_tags] -> scores [N, patches], fp32."""
        if self.mix is not None:
            x = F.conv2d(x, self.mix.to(x.dtype))
        for layer in self.layers:
            x = F.leaky_relu_(layer(x), 0.2)
        x = F.leaky_relu_(self.vary(minibatch_stddev(x, GROUP)), 0.2)
        scores = self.patch(x).flatten(1).float()
        if self.project is None:
            return scores
        pooled = x.float().mean(dim=(2, 3))
        match = (pooled * self.project(labels)).sum(dim=1, keepdim=True)
        return scores + match * (4.0 / math.sqrt(self.width))


def as_rgb(x: Tensor) -> Tensor:
    """Pictures of 1 to 4 channels as the trunk saw them: RGB, transparency laid onto white."""
    if x.shape[1] == 3:
        return x
    colours = x[:, :3] if x.shape[1] == 4 else x[:, :1].expand(-1, 3, -1, -1)
    if x.shape[1] == 1:
        return colours
    return torch.lerp(torch.ones_like(colours), colours, (x[:, -1:] + 1) / 2)


class FeatureCritic(nn.Module):
    """Heads on the pixels and on every map of the frozen trunk.

    Args:
        cfg: the networks' settings.
        trunk: is frozen and not part of the state that is saved.

    """

    def __init__(self, cfg: NetConfig, trunk: Trunk) -> None:
        super().__init__()
        self.cfg = cfg
        # Kept out of the module tree: checkpoints hold what is learnt, and the trunk is named
        # by its hash instead.
        self._trunk = [trunk]
        trunk.eval().requires_grad_(False)
        size = min(cfg.shape(cfg.resolution))
        heads = [Head(cfg.img_channels, size, cfg.num_tags, mix=False, width=32)]
        seen = self.trunk
        for width, at, spread in zip(seen.widths, seen.sizes(size), seen.spreads(), strict=True):
            head = Head(width, at, cfg.num_tags, mix=True)
            assert head.mix is not None
            head.mix /= spread
            heads.append(head)
        self.heads = nn.ModuleList(heads)

    @property
    def trunk(self) -> Trunk:
        """What it looks through."""
        return self._trunk[0]

    def features(self, images: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """[N, C, H, W] in [-1, 1] -> the picture and the trunk's maps, finest first."""
        x = images.contiguous(memory_format=torch.channels_last)
        return [x, *self.trunk.maps(as_rgb(x), dtype)]

    def score(
        self, features: list[Tensor], labels: Tensor, dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """One score tensor [N, patches] per head, fp32."""
        with torch.autocast(labels.device.type, dtype, enabled=dtype != torch.float32):
            pairs = zip(self.heads, features, strict=True)
            return [head(x, labels) for head, x in pairs]

    def tag_logits(self, features: list[Tensor]) -> Tensor:
        """The trunk's own verdict [N, outputs], fp32."""
        return self.trunk.tag_logits(features[1:])
