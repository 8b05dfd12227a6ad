"""The feature discriminator's frozen trunk: EfficientNet-Lite0, fine-tuned on faces.

Sauer et al., "Projected GANs Converge Faster" (2021) found an EfficientNet-Lite the best of many
trunks. ImageNet taught it what pictures are made of, labelled anime faces what matters in them.
A tagger of plain convolutions was tried first: it sees little but tags, and characters drawn to its
liking lacked variety (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from safetensors.torch import load_file
from torch import Tensor, nn

from kaogen.nets.efficientnet import ROWS, Block, EfficientNetLite, Unit, same_padding
from kaogen.nets.filters import depthwise
from kaogen.nets.tagger import TaggerNet

SIZE = 128  # pixels of the shorter side that it sees; smaller pictures are enlarged
TAPS = (2, 4, 10, 15)  # blocks behind which a map is taken: at 1/4, 1/8, 1/16 and 1/32


class FrozenUnit(nn.Module):
    """A unit of EfficientNet-Lite with its normalisation folded into the convolution."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        conv, norm = unit.conv, unit.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = (conv.weight * scale[:, None, None, None]).detach()
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", (norm.bias - norm.running_mean * scale).detach())
        self.act = unit.act
        self.stride, self.apart = conv.stride[0], conv.groups > 1

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, ceil(H / stride), ceil(W / stride)], in the type of `x`."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        top, bottom = same_padding(x.shape[2], weight.shape[2], self.stride)
        left, right = same_padding(x.shape[3], weight.shape[3], self.stride)
        if self.apart:
            y = depthwise(x, weight, bias, (left, right, top, bottom), self.stride)
        else:
            x = F.pad(x, (left, right, top, bottom)) if left + right + top + bottom else x
            y = F.conv2d(x, weight, bias, stride=self.stride)
        return F.hardtanh_(y, 0.0, 6.0) if self.act else y


class LiteTrunk(nn.Module):
    """EfficientNet-Lite0 for looking through, never for learning.

    Args:
        net: as trained, with its normalisations.
        spreads: of its maps, see `spreads`.

    Attributes:
        widths: channels of each map.

    """

    def __init__(self, net: EfficientNetLite, spreads: Sequence[float] = (1, 1, 1, 1)) -> None:
        super().__init__()
        self.stem = FrozenUnit(net.stem)
        stacks, self.skips = [], []
        for block in net.blocks:
            assert isinstance(block, Block)
            stacks.append(
                nn.Sequential(*(FrozenUnit(u) for u in block.units if isinstance(u, Unit)))
            )
            self.skips.append(block.skip)
        self.blocks = nn.ModuleList(stacks)
        self.top = FrozenUnit(net.top)
        self.head = nn.Linear(net.head.in_features, net.head.out_features)
        self.head.load_state_dict(net.head.state_dict())
        self.spread: Tensor
        self.register_buffer("spread", torch.tensor(spreads, dtype=torch.float32))
        every = [width for row in ROWS for width in [row.width] * row.repeats]
        self.widths = tuple(every[i] for i in TAPS)

    @classmethod
    def load(cls, path: Path) -> LiteTrunk:
        """From a file that `state_dict` was written to, in any precision."""
        tensors = {k: v.float() for k, v in load_file(path).items()}
        trunk = cls(EfficientNetLite(len(tensors["head.bias"])))
        trunk.load_state_dict(tensors)
        return trunk.eval().requires_grad_(False)

    def sizes(self, size: int) -> list[int]:
        """The shorter side of each map, for pictures whose shorter side is `size`."""
        seen = max(SIZE, size)
        return [-(-seen // 2**i) for i in (2, 3, 4, 5)]

    def spreads(self) -> list[float]:
        """Standard deviation of each map over real faces: the heads see maps divided by it."""
        return [float(s) for s in self.spread]

    def maps(self, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """RGB [N, 3, H, W] in [-1, 1] -> four maps, finest first."""
        if min(x.shape[2:]) < SIZE:
            factor = SIZE / min(x.shape[2:])
            size = [round(factor * x.shape[2]), round(factor * x.shape[3])]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        x = self.stem(x.to(dtype).contiguous(memory_format=torch.channels_last))
        out = []
        for i, block in enumerate(self.blocks):
            x = x + block(x) if self.skips[i] else block(x)
            if i in TAPS:
                out.append(x)
        return out

    def tag_logits(self, maps: Sequence[Tensor]) -> Tensor:
        """The verdict [N, outputs] from the last map, fp32."""
        pooled = self.top(maps[-1]).float().mean(dim=(2, 3))
        logits: Tensor = self.head(pooled)
        return logits


Trunk = LiteTrunk | TaggerNet
"""What the feature discriminator can look through."""
