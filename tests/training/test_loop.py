"""The loop: exact resume, one clock, learning something, refusing what cannot be."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.config import NetConfig
from kaogen.training.loop import Data, Trainer
from training.conftest import CONFIG, NET

Make = Callable[..., Trainer]


def digest(trainer: Trainer) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(trainer.tensors().items()):
        total.update(name.encode())
        total.update(tensor.detach().numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("critic", ["stylegan2", "features"])
def test_stop_and_resume_ends_at_the_same_weights(make_trainer: Make, critic: str) -> None:
    net = NET.with_(critic=critic)
    config = replace(CONFIG, r1_gamma=CONFIG.r1_gamma if critic == "stylegan2" else 0.0)
    straight = make_trainer(net, config)
    for _ in range(7):
        straight.step()
    first = make_trainer(net, config)
    for _ in range(3):
        first.step()
    kept = {k: v.clone() for k, v in first.tensors().items()}
    second = make_trainer(net, replace(config, seed=config.seed))
    second.step()  # it had gone elsewhere: restoring must undo that
    second.restore(kept, first.seen)
    assert digest(second) == digest(first)
    for _ in range(4):
        second.step()
    assert second.seen == straight.seen
    assert digest(second) == digest(straight)


def test_noise_networks_resume_exactly_too(make_trainer: Make) -> None:
    runs = []
    for split in (0, 2):
        trainer = make_trainer()
        for i in range(4):
            if i == split:
                torch.manual_seed(99)  # the process's own randomness must not matter
            trainer.step()
        runs.append(digest(trainer))
    assert runs[0] == runs[1]


def test_step_reports_losses_and_moves_both_networks(make_trainer: Make) -> None:
    trainer = make_trainer()
    before_g = [p.detach().clone() for p in trainer.g.parameters()]
    before_d = [p.detach().clone() for p in trainer.d.parameters()]
    losses = trainer.step()
    assert set(losses) == {"d", "g", "r1"}
    assert trainer.seen == CONFIG.batch
    assert set(trainer.step()) == {"d", "g"}  # R1 is lazy
    moved_g = [not torch.equal(a, b) for a, b in zip(before_g, trainer.g.parameters(), strict=True)]
    moved_d = [not torch.equal(a, b) for a, b in zip(before_d, trainer.d.parameters(), strict=True)]
    assert all(moved_d)
    # Noise strengths start at 0 and move; every other parameter of G gets a gradient as well.
    assert all(moved_g)


def test_ema_lags_behind_and_follows(make_trainer: Make) -> None:
    trainer = make_trainer(config=replace(CONFIG, ema_rampup=0.0, ema_kimg=0.008))
    start = trainer.ema.synthesis.get_parameter("b4.const").clone()
    trainer.step()
    now = trainer.g.synthesis.get_parameter("b4.const").detach()
    average = trainer.ema.synthesis.get_parameter("b4.const")
    torch.testing.assert_close(average, (start + now) / 2)  # one half-life of 8 images


def test_generator_learns_the_colour_of_a_tag() -> None:
    """Two tags, two colours: after a short training the colours are told apart."""
    torch.manual_seed(0)
    labels = np.eye(2, dtype=np.float32)[np.arange(64) % 2]
    images = np.zeros((64, 8, 8, 3), np.uint8)
    images[labels[:, 0] == 1] = (220, 30, 30)
    images[labels[:, 1] == 1] = (30, 30, 220)
    net = NetConfig(
        resolution=8,
        channels={4: 16, 8: 16},
        z_dim=4,
        w_dim=16,
        mapping_layers=1,
        num_tags=2,
        conditioning="embed",
        noise=False,
    )
    from kaogen.nets.discriminator import Discriminator

    config = replace(CONFIG, batch=16, r1_gamma=1.0, lr_g=1e-2, lr_d=1e-2, augment="none")
    trainer = Trainer(net, config, Data(images, labels), Discriminator(net))
    for _ in range(150):
        trainer.step()
    z = torch.randn(16, 4)
    with torch.no_grad():
        red = trainer.ema(z, torch.tensor([[1.0, 0.0]]).expand(16, 2)).mean(dim=(0, 2, 3))
        blue = trainer.ema(z, torch.tensor([[0.0, 1.0]]).expand(16, 2)).mean(dim=(0, 2, 3))
    assert red[0] - red[2] > 0.5
    assert blue[2] - blue[0] > 0.5


def test_nan_stops_with_one_line(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.g.synthesis.get_parameter("b4.const").data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="diverged at 8 images"):
        trainer.step()


@pytest.mark.parametrize(
    ("net", "config", "says"),
    [
        (NET.with_(resolution=8), CONFIG, "16 x 16"),
        (NET.with_(num_tags=3), CONFIG, "Labels are"),
        (NET, replace(CONFIG, batch=6), "groups of 4"),
        (NET, replace(CONFIG, tag_weight=1.0), "feature critic"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(
    make_trainer: Make, net: NetConfig, config: object, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        make_trainer(net, config)
