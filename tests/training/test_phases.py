"""Penalties, path length, schedules, tag dropout, Freeze-D: against answers known beforehand."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kaogen.errors import ConfigError
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.tagger import TaggerNet
from kaogen.training import losses
from kaogen.training.config import RECIPES, TrainConfig, with_loss
from kaogen.training.draws import Data, Draws
from kaogen.training.freeze import first_layers, layers_in_order
from kaogen.training.loop import Trainer
from kaogen.training.phases import PATH_DECAY, path, phases
from kaogen.training.schedule import label_share, lr_share
from training.conftest import CONFIG, NET

Make = Callable[..., Trainer]


def leaf(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_(True)


def test_r1_and_its_gradient_of_a_quadratic_score() -> None:
    # D(x) = a |x|^2 / 2: grad_x D = a x, R1 = a^2 E |x|^2, d R1 / d a = 2 a E |x|^2.
    images, a = leaf(5, 3, 4, 4), torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    penalty = losses.r1_penalty([a * images.square().sum(dim=(1, 2, 3)) / 2], images)
    power = images.detach().square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(penalty, 1.7**2 * power)
    (slope,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(slope, 2 * 1.7 * power)


def test_gradient_penalty_and_its_gradient_of_a_linear_score() -> None:
    # D(x) = a . x: (|a| - 1)^2, with the gradient 2 (|a| - 1) a / |a|.
    images, a = leaf(5, 3, 4, 4), leaf(3, 4, 4)
    penalty = losses.gradient_penalty([(images * a).sum(dim=(1, 2, 3))], images)
    norm = a.detach().norm()
    torch.testing.assert_close(penalty, (norm - 1) ** 2)
    (slope,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(slope, 2 * (norm - 1) * a.detach() / norm)


def test_a_flat_score_has_a_gradient_penalty_of_one_and_no_nan() -> None:
    images, a = leaf(2, 1, 2, 2), torch.zeros(1, dtype=torch.float64, requires_grad=True)
    penalty = losses.gradient_penalty([(images * a).sum(dim=(1, 2, 3))], images)
    (slope,) = torch.autograd.grad(penalty, a)
    assert float(penalty.detach()) == pytest.approx(1, abs=1e-5)
    assert bool(slope.isfinite().all())


def test_path_length_of_a_linear_generator() -> None:
    # G(w) = A sum of slots: J^T y = A^T y in every slot, whatever w is.
    ws, matrix = leaf(6, 3, 5), leaf(2 * 4 * 4, 5)
    noise = leaf(6, 2, 4, 4).detach()
    images = (ws.sum(dim=1) @ matrix.t()).reshape(6, 2, 4, 4)
    got = losses.path_lengths(images, ws, noise)
    want = (noise.reshape(6, -1) @ matrix.detach() / math.sqrt(16)).norm(dim=1)
    torch.testing.assert_close(got.detach(), want)
    # E |A^T y|^2 / (H W) = |A|_F^2 / (H W): the length that regularisation pulls all w towards.
    many = torch.randn(20000, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean = (many @ matrix.detach() / 4).square().sum(dim=1).mean()
    assert float(mean) == pytest.approx(float(matrix.detach().square().sum()) / 16, rel=0.05)


def test_path_phase_moves_its_running_mean(make_trainer: Make) -> None:
    trainer = make_trainer(config=replace(CONFIG, path_weight=2.0, path_interval=2))
    told = trainer.step()
    assert told["path"] > 0
    first = float(trainer.path_mean)
    # a <- a + 0.01 (mean length - a) from 0, and the penalty is the mean of (length - a)^2.
    assert 0 < first < math.sqrt(told["path"])
    assert math.sqrt(told["path"]) <= first / PATH_DECAY * 2
    assert "path" not in trainer.step()
    assert float(trainer.path_mean) == first
    assert trainer.draws.asked_for_path(0).z.shape == (CONFIG.batch // 2, NET.z_dim)
    step = trainer.draw()
    path(trainer, step).backward()
    moved = [n for n, p in trainer.g.named_parameters() if p.grad is not None]
    assert "synthesis.b16.conv1.weight" in moved
    assert "mapping.dense0.weight" in moved


def test_wasserstein_and_relativistic_known_values() -> None:
    real, fake = [torch.tensor([2.0, 0.0])], [torch.tensor([-2.0, 1.0])]
    assert float(losses.d_wasserstein(real, fake)) == -1.5
    want = (math.log1p(math.exp(-4)) + math.log1p(math.exp(1))) / 2
    assert float(losses.d_relativistic(real, fake)) == pytest.approx(want)
    want = (math.log1p(math.exp(4)) + math.log1p(math.exp(-1))) / 2
    assert float(losses.g_relativistic(real, fake)) == pytest.approx(want)
    shifted = ([real[0] + 5], [fake[0] + 5])
    for name, loss in losses.LOSSES.items():
        same = float(loss.d(real, fake)) == pytest.approx(float(loss.d(*shifted)))
        assert same == loss.relative, name


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("conditioning", ["paper", "embed"])
def test_every_loss_steps_with_its_penalties(
    make_trainer: Make, name: str, conditioning: str
) -> None:
    config = with_loss(replace(CONFIG, r1_gamma=0.0), name, 16)
    trainer = make_trainer(NET.with_(conditioning=conditioning), config)
    penalties = {"wgan-gp": {"gp"}, "relativistic": {"r1", "r2"}}.get(name, set())
    for _ in range(2):  # with a loss of choice they come every step
        assert set(trainer.step()) == {"d", "g", "real", "fake", "rt"} | penalties


class Bowl(nn.Module):
    """D(x) = a |x|^2 / 2, with the discriminators' two methods."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(2.0))

    def features(self, images: Tensor, dtype: object = None) -> list[Tensor]:
        return [images]

    def score(self, features: list[Tensor], labels: Tensor, dtype: object = None) -> list[Tensor]:
        return [self.a * features[0].square().sum(dim=(1, 2, 3)) / 2]


@pytest.mark.parametrize("name", ["r1", "r2", "gp"])
def test_phases_on_a_discriminator_whose_penalty_is_known(data: Data, name: str) -> None:
    weights = {"r1_gamma": 1.0, "r2_gamma": 1.0, "gp_weight": 1.0}
    config = replace(CONFIG, augment="none", **weights)
    trainer = Trainer(NET, config, data, Bowl())
    step = trainer.draw()
    (phase,) = (p for p in phases(config) if p.name == name)
    got = float(phase.term(trainer, step).detach())
    power = {
        "r1": step.real.square().sum(dim=(1, 2, 3)),
        "r2": step.fake.detach().square().sum(dim=(1, 2, 3)),
    }
    if name in power:
        assert got == pytest.approx(4 * float(power[name].mean()), rel=1e-5)
        return
    # Between real and fake the squared norm lies within that of the two ends' convex hull.
    ends = torch.stack(list(power.values())).amax(dim=0).sqrt()
    assert 0 < got < float((2 * ends - 1).square().max())


def test_r1_looks_through_the_augmentation(data: Data) -> None:
    cut = replace(CONFIG, augment="ada", ada_ops="cutout", ada_p=0.8, ada_target=0.0)
    step, values = None, []
    for config in (replace(cut, augment="none"), cut):
        trainer = Trainer(NET, config, data, Bowl())
        step = trainer.draw()
        (phase,) = phases(config)
        values.append(float(phase.term(trainer, step).detach()))
    assert 0 < values[1] < values[0]  # what is cut out has no slope


def test_lazy_phases_are_due_by_images_seen() -> None:
    (phase,) = phases(TrainConfig(batch=8, r1_gamma=1.0, r1_interval=3))
    assert [s for s in range(0, 80, 8) if phase.due(s, 8)] == [0, 24, 48, 72]


def test_the_rate_is_whole_and_then_falls() -> None:
    config = TrainConfig(kimg=100, lr_decay="cosine", lr_hold=0.4, lr_final=0.1)
    shares = [lr_share(config, k * 1000) for k in range(0, 121, 10)]
    assert shares[:5] == [1.0] * 5
    assert shares[7] == pytest.approx(0.55)
    assert shares[10:] == pytest.approx([0.1] * 3)
    assert all(a >= b for a, b in itertools.pairwise(shares))
    longer = replace(config, kimg=200)  # going on: what a run of that length has there
    assert lr_share(longer, 100_000) == pytest.approx(lr_share(config, 50_000))
    steps = replace(config, lr_decay="steps", lr_final=0.25)
    assert [lr_share(steps, k * 1000) for k in (39, 41, 69, 71, 100)] == [1, 0.5, 0.5, 0.25, 0.25]
    assert lr_share(TrainConfig(kimg=1), 999_999) == 1
    assert {RECIPES[n].lr_decay for n in ("tiny64", "base128")} == {"cosine"}


def test_the_trainer_uses_the_falling_rate(make_trainer: Make) -> None:
    config = replace(CONFIG, kimg=0.04, lr_decay="cosine", lr_hold=0.0, lr_g=1e-3, lr_d=2e-3)
    trainer = make_trainer(config=config)
    for seen in (0, 8, 16):
        trainer.step()
        share = lr_share(config, seen)
        assert trainer.opt_g.param_groups[0]["lr"] == 1e-3 * share
        assert trainer.opt_d.param_groups[0]["lr"] == 2e-3 * share


def test_freeze_d_leaves_the_first_layers_alone(make_trainer: Make) -> None:
    trainer = make_trainer(config=replace(CONFIG, freeze_d=3))
    before = {n: p.detach().clone() for n, p in trainer.d.named_parameters()}
    for _ in range(2):
        trainer.step()
    still = {n for n, p in trainer.d.named_parameters() if torch.equal(p, before[n])}
    assert {n.rsplit(".", 1)[0] for n in still} == {"from_rgb", "b16.conv0", "b16.conv1_down"}


def test_freeze_d_of_the_feature_critic_and_too_many_layers() -> None:
    critic = FeatureCritic(NET.with_(critic="features"), TaggerNet(4, (4, 6, 8), folded=True))
    assert len(layers_in_order(critic)[0]) == len(critic.heads)
    first_layers(critic, len(layers_in_order(critic)))
    with pytest.raises(ConfigError, match="has 7 layers"):
        first_layers(Discriminator(NET), 8)


def test_tag_dropout_forgets_evenly_and_says_what_is_known(data: Data) -> None:
    data.labels[:] = 1
    config = replace(CONFIG, batch=4000, tag_dropout=0.5, balance=0.0)
    draws = Draws(NET, config, data, torch.device("cpu"))
    labels, known = draws.labels(np.zeros(4000, np.int64), 0, 0)
    assert known is not None
    kept = np.bincount(labels.sum(dim=1).long().numpy(), minlength=5) / 4000
    # Half of the rows are whole; the other half keeps 0, 1, 2, 3 or 4 of 4, evenly.
    np.testing.assert_allclose(kept, [0.1, 0.1, 0.1, 0.1, 0.6], atol=0.02)
    assert torch.equal(known, labels > 0.5)
    whole = draws.labels(np.zeros(4000, np.int64), 8, 0)[0]
    assert not torch.equal(labels, whole)  # another step, other rows


def test_a_forgotten_tag_costs_nothing_in_the_taggers_verdict() -> None:
    layout = losses.layout_of(["hat", "bow"], {}, ["hat", "bow"])
    labels, known = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
    asked = [losses.tag_loss(torch.tensor([[3.0, s]]), labels, layout, known) for s in (-9.0, 9.0)]
    assert asked[0] == asked[1]


def test_labels_come_in_slowly(make_trainer: Make) -> None:
    config = replace(CONFIG, uncond_kimg=0.016, blend_kimg=0.032)
    assert [label_share(config, s) for s in (0, 16, 24, 48, 99)] == [0, 0, 0.25, 1, 1]
    assert label_share(CONFIG, 0) == 1
    for conditioning in ("paper", "embed"):
        trainer = make_trainer(NET.with_(conditioning=conditioning), config)
        step = trainer.draw()
        z, other = step.asked.z, torch.zeros_like(step.asked.labels)
        assert torch.equal(
            trainer.g.mapping(z, step.asked.labels, 0.0), trainer.g.mapping(z, other, 0.0)
        )
        assert (step.fake_labels == step.fake_labels[:1]).all()  # D is told nothing either
        scores = trainer.d.score(step.fake_features, step.fake_labels)[0]
        assert float(scores.detach().abs().min()) > 0
        while trainer.seen < 48:
            trainer.step()
        step = trainer.draw()
        assert torch.equal(step.fake_labels, step.asked.labels)


def test_mixed_styles_come_from_two_latents(make_trainer: Make) -> None:
    trainer = make_trainer(config=replace(CONFIG, mixing=1.0))
    asked = trainer.draws.asked(0)
    w, ws = asked.styles(trainer.g)
    assert asked.late is not None
    z, since = asked.late
    other = trainer.g.mapping(z, asked.labels)
    for i in range(len(w)):
        cut = int(since[i])
        assert 1 <= cut < NET.num_ws
        assert (ws[i, :cut] == w[i]).all()
        assert (ws[i, cut:] == other[i]).all()
    never = replace(asked, late=(z, torch.full_like(since, NET.num_ws)))
    assert torch.equal(never.styles(trainer.g)[1], w[:, None].expand_as(ws))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "magic"}, "Unknown loss 'magic'"),
        ({"augment": "much"}, "Unknown augment"),
        ({"ada_ops": "blit+magic"}, "'magic'"),
        ({"mixing": 1.5}, "mixing is 1.5"),
        ({"r1_interval": 0}, "r1_interval is 0"),
        ({"path_weight": -1.0}, "path_weight is -1.0"),
        ({"r1_gamma": math.nan}, "r1_gamma is nan"),
        ({"ada_p": 0.9}, "more than ada_max"),
        ({"lr_decay": "steps", "lr_final": 0.0}, "never reaches 0"),
    ],
)
def test_settings_that_cannot_be_are_one_line(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrainConfig(**changes)


def test_tag_dropout_needs_the_better_conditioning(make_trainer: Make) -> None:
    with pytest.raises(ConfigError, match="conditioning"):
        make_trainer(NET.with_(conditioning="paper"), replace(CONFIG, tag_dropout=0.1))
