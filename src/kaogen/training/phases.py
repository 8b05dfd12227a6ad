"""Regularisation phases: what is added to a network's loss, and how often.

A term with interval 1 joins its network's main update. A lazier one has an update of its own every
`interval` steps and is weighted by the interval (lazy regularisation, StyleGAN2, section 3.1). All
are computed in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from kaogen.training.batches import torch_rng
from kaogen.training.config import TrainConfig
from kaogen.training.draws import Asked
from kaogen.training.losses import gradient_penalty, path_lengths, r1_penalty

if TYPE_CHECKING:
    from kaogen.training.loop import Trainer

PATH_DECAY = 0.01  # of the running mean of path lengths, a step (StyleGAN2, appendix B)


@dataclass
class Step:
    """What one step has drawn; labels are as D sees them.

    Attributes:
        seen: images before this step.
        real: pictures before augmentation, [N, C, H, W].
        real_labels: [N, num_tags].
        real_features: D's view of the augmented reals, without a graph.
        asked: what the fakes were asked for.
        fake: fakes before augmentation, with their graph.
        fake_labels: [N, num_tags].
        fake_features: D's view of the augmented fakes, with their graph.

    """

    seen: int
    real: Tensor
    real_labels: Tensor
    real_features: list[Tensor]
    asked: Asked
    fake: Tensor
    fake_labels: Tensor
    fake_features: list[Tensor]


@dataclass(frozen=True)
class Phase:
    """One regulariser.

    Attributes:
        name: as it is told in `progress.jsonl`.
        network: whose loss it joins.
        weight: of the term.
        interval: steps between two times.
        term: the equation.

    """

    name: str
    network: Literal["d", "g"]
    weight: float
    interval: int
    term: Callable[[Trainer, Step], Tensor]

    def due(self, seen: int, batch: int) -> bool:
        """Whether it is this step's turn: every `interval * batch` images."""
        return seen % (self.interval * batch) == 0


def phases(config: TrainConfig) -> list[Phase]:
    """Those of a run, in the order in which they take their turns."""
    table = [
        Phase("r1", "d", config.r1_gamma / 2, config.r1_interval, r1),
        Phase("r2", "d", config.r2_gamma / 2, config.r2_interval, r2),
        Phase("gp", "d", config.gp_weight, config.gp_interval, gp),
        Phase("path", "g", config.path_weight, config.path_interval, path),
    ]
    return [phase for phase in table if phase.weight]


def scored(
    trainer: Trainer, step: Step, images: Tensor, labels: Tensor, which: int
) -> list[Tensor]:
    """D's scores of pictures under augmentation, in fp32."""
    seen = trainer.draws.augmented(images, step.seen, which, trainer.p)
    return trainer.d.score(trainer.d.features(seen), labels)


def r1(trainer: Trainer, step: Step) -> Tensor:
    """E |grad D|^2 on reals, by the pictures before augmentation."""
    images = step.real.detach().requires_grad_(True)
    return r1_penalty(scored(trainer, step, images, step.real_labels, 0), images)


def r2(trainer: Trainer, step: Step) -> Tensor:
    """E |grad D|^2 on fakes."""
    images = step.fake.detach().requires_grad_(True)
    return r1_penalty(scored(trainer, step, images, step.fake_labels, 1), images)


def gp(trainer: Trainer, step: Step) -> Tensor:
    """E (|grad D| - 1)^2 between each real and its fake, pictures and labels alike."""
    source = torch_rng("between", trainer.config.seed, step.seen)
    share = trainer.workers.share(torch.rand(trainer.config.batch, generator=source))
    share = share.to(step.real.device)
    images = torch.lerp(step.fake.detach(), step.real, share[:, None, None, None])
    labels = torch.lerp(step.fake_labels, step.real_labels, share[:, None])
    images.requires_grad_(True)
    return gradient_penalty(scored(trainer, step, images, labels, 0), images)


def path(trainer: Trainer, step: Step) -> Tensor:
    """E (|J^T y| - a)^2, a being the running mean of the lengths (StyleGAN2, eq. 4)."""
    asked = trainer.draws.asked_for_path(step.seen)
    ws = asked.styles(trainer.g, trainer.label_share)[1]
    images = trainer.synthesise(ws, asked.noise_seed, torch.float32)
    source = torch_rng("path", trainer.config.seed, step.seen, 1)
    noise = trainer.workers.normal(images.shape, source).to(images.device)
    lengths = path_lengths(images, ws, noise)
    length = trainer.workers.mean(lengths.detach().mean())
    mean = torch.lerp(trainer.path_mean, length, PATH_DECAY)
    trainer.path_mean.copy_(mean)
    return (lengths - mean).square().mean()
