"""The loop: exact resume, one clock, learning something, refusing what cannot be."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.config import NetConfig
from kaogen.training.config import ADA_GROUPS
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


EVERYTHING = replace(
    CONFIG,
    **{"kimg": 0.1, "lr_decay": "cosine", "lr_hold": 0.3, "mixing": 0.9, "tag_dropout": 0.4},
    **{"r2_gamma": 0.1, "r2_interval": 3, "gp_weight": 1.0, "gp_interval": 2},
    **{"path_weight": 2.0, "path_interval": 2, "uncond_kimg": 0.01, "blend_kimg": 0.04},
    **{"augment": "ada", "ada_ops": "+".join(ADA_GROUPS), "ada_p": 0.3, "ada_interval": 2},
    **{"ada_kimg": 0.1, "freeze_d": 1},
)


@pytest.mark.parametrize(("critic", "stops"), [("stylegan2", (1, 3)), ("features", (3,))])
def test_with_everything_on_a_resumed_run_ends_the_same(
    make_trainer: Make, critic: str, stops: tuple[int, ...]
) -> None:
    loss = "relativistic" if critic == "features" else "nonsaturating"
    net, config = NET.with_(critic=critic), replace(EVERYTHING, loss=loss)
    straight, kept, told = make_trainer(net, config), {}, []
    for i in range(5):
        if i in stops:
            kept[i] = {k: v.clone() for k, v in straight.tensors().items()}
            assert {"state.path_mean", "state.adaptive"} <= set(kept[i])
        told.append(straight.step())
    assert {"r1", "r2", "gp", "path", "p"} <= set().union(*told)
    for stop in stops:
        again = make_trainer(net, config)
        again.restore(kept[stop], stop * config.batch)
        assert [again.step() for _ in range(5 - stop)] == told[stop:]
        assert digest(again) == digest(straight)
        assert torch.equal(again.path_mean, straight.path_mean)
        assert again.p == straight.p != config.ada_p


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
    assert set(losses) == {"d", "g", "r1", "real", "fake", "rt"}
    assert trainer.seen == CONFIG.batch
    assert "r1" not in trainer.step()  # R1 is lazy
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
