"""The built-in tagger: plain 3x3 convolutions, because those are what a CPU does fastest.

Its scores label a data set (`kaogen prepare --tagger builtin`). Its frozen feature maps can be what
the feature discriminator looks through (`nets/trunks.py` has the better one).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS: tuple[int, ...] = (32, 64, 128, 192, 256)
NARROW: tuple[int, ...] = (24, 48, 96, 160, 224)


class ConvUnit(nn.Module):
    """3x3 convolution, batch normalisation, ReLU; `stride` 2 halves the picture.

    Folded, the convolution has a bias and there is no normalisation left.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, folded: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=folded)
        self.norm = nn.Identity() if folded else nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H / stride, W / stride]."""
        return torch.relu_(self.norm(self.conv(x)))


class TaggerNet(nn.Module):
    """Five stages at 1, 1/2, 1/4, 1/8 and 1/16 of the picture, mean pooling, one linear layer.

    Args:
        num_outputs: length of the score vector (logits).
        widths: channels of each stage.
        folded: the form for inference, without normalisations (see `fold_norms`).

    """

    def __init__(
        self, num_outputs: int, widths: tuple[int, ...] = WIDTHS, folded: bool = False
    ) -> None:
        super().__init__()
        self.widths = widths
        stages = []
        previous = 3
        for i, width in enumerate(widths):
            stride = 1 if i == 0 else 2
            pair = (
                ConvUnit(previous, width, stride, folded),
                ConvUnit(width, width, folded=folded),
            )
            stages.append(nn.Sequential(*pair))
            previous = width
        self.stages = nn.ModuleList(stages)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(previous, num_outputs)

    def features(self, x: Tensor) -> list[Tensor]:
        """RGB [N, 3, H, W] in [-1, 1] -> one map per stage, finest first."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def maps(self, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """The same as a discriminator's trunk; the activations in `dtype`."""
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            return self.features(x)

    def sizes(self, size: int) -> list[int]:
        """The shorter side of each map, for pictures whose shorter side is `size`."""
        return [max(1, size >> i) for i in range(len(self.widths))]

    def spreads(self) -> list[float]:
        """What the heads see maps divided by: behind normalisation and ReLU they vary alike."""
        return [1.0] * len(self.widths)

    def tag_logits(self, maps: Sequence[Tensor]) -> Tensor:
        """The verdict [N, num_outputs] from the last map, fp32."""
        logits: Tensor = self.head(maps[-1].float().mean(dim=(2, 3)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """RGB [N, 3, H, W] in [-1, 1] -> logits [N, num_outputs]."""
        pooled = self.features(x)[-1].mean(dim=(2, 3))
        return self.head(self.drop(pooled))


def fold_norms(net: TaggerNet) -> TaggerNet:
    """A copy for inference whose batch normalisations are folded into the convolutions.

    w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps).
    """
    folded = TaggerNet(net.head.out_features, net.widths, folded=True)
    source, target = units(net), units(folded)
    for old, new in zip(source, target, strict=True):
        norm = old.norm
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        assert new.conv.bias is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        new.conv.weight.data = (old.conv.weight * scale[:, None, None, None]).detach()
        new.conv.bias.data = (norm.bias - norm.running_mean * scale).detach()
    folded.head.load_state_dict(net.head.state_dict())
    return folded.eval().requires_grad_(False)


def units(net: TaggerNet) -> list[ConvUnit]:
    """The convolution units in order."""
    return [m for m in net.modules() if isinstance(m, ConvUnit)]
