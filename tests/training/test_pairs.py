"""Real and fake in one pass of D: the scores of two passes."""

import pytest
import torch

from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.tagger import TaggerNet
from kaogen.training.pairs import alternate, score_pairs
from training.conftest import NET


def test_rows_alternate_and_maps_keep_channels_last() -> None:
    real, fake = torch.zeros(3, 2, 4, 4), torch.ones(3, 2, 4, 4)
    both = alternate(real, fake)
    assert both[:, 0, 0, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert both.is_contiguous(memory_format=torch.channels_last)
    assert alternate(torch.zeros(2, 0), torch.ones(2, 0)).shape == (4, 0)


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("kind", ["stylegan2", "features"])
def test_scores_are_those_of_two_passes(kind: str, count: int) -> None:
    torch.manual_seed(0)
    critic = Discriminator(NET)
    if kind == "features":
        net = NET.with_(critic="features")
        critic = FeatureCritic(net, TaggerNet(4, (4, 6, 8), folded=True)).eval()
    real, fake = (torch.randn(count, 3, 16, 16) * spread for spread in (0.5, 2))
    labels = torch.eye(4)[torch.arange(count) % 4], torch.eye(4)[torch.arange(count) % 3]
    with torch.no_grad():
        maps = critic.features(real), critic.features(fake)
        slow = [critic.score(m, row) for m, row in zip(maps, labels, strict=True)]
        fast = score_pairs(critic, *maps, labels, torch.float32)
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
