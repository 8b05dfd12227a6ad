"""Small networks and a small labelled set, made of shapes and colours that a net can learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kaogen.data.archives.archive import Item, write_archive
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.tagger import TaggerNet
from kaogen.tags import Vocabulary
from kaogen.training.config import TrainConfig
from kaogen.training.loop import Data, Trainer

NET = NetConfig(
    resolution=16,
    channels={4: 8, 8: 8, 16: 8},
    z_dim=8,
    w_dim=8,
    mapping_layers=2,
    num_tags=4,
    conditioning="embed",
)
CONFIG = TrainConfig(
    batch=8, r1_gamma=0.1, r1_interval=4, precision="fp32", augment="shift+cut", balance=0.5
)


@pytest.fixture
def data() -> Data:
    source = np.random.default_rng(0)
    images = source.integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    labels = (source.random((40, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.float32)
    return Data(images, labels)


@pytest.fixture
def make_trainer(data: Data) -> Callable[..., Trainer]:
    def make(net: NetConfig = NET, config: TrainConfig = CONFIG) -> Trainer:
        torch.manual_seed(config.seed)
        if net.critic == "features":
            trunk = TaggerNet(4, (4, 6, 8), folded=True)
            return Trainer(net, config, data, FeatureCritic(net, trunk))
        return Trainer(net, config, data, Discriminator(net))

    return make


def write_faces(path: Path, size: int, count: int) -> Path:
    """A data set of noise with four tags, two of them worn."""
    source = np.random.default_rng(0)
    names = Vocabulary(["pink hair", "blue hair", "smile", "glasses"])
    items = [
        Item(
            image=source.integers(0, 255, (size, size, 3), dtype=np.uint8),
            tags=(names.names[i % 2], "smile"),
            source=f"{i}.png",
        )
        for i in range(count)
    ]
    write_archive(path, items, names, {})
    return path
