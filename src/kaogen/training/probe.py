"""What is measured at each tick beside the losses: how varied fakes are, and what D knows by heart.

Nothing here touches the run: no random stream of its own is used, and D's spectral norms (which
move with every look in training mode) rest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from numpy.typing import NDArray
from torch import Tensor

from kaogen.nets.critic import FeatureCritic
from kaogen.nets.generator import Generator
from kaogen.training.batches import rng

if TYPE_CHECKING:
    from kaogen.training.loop import Trainer

GROUPS, EACH = 8, 8  # sets of tags, and latents with each
_ONCE = 16  # pictures through a network at a time
_COARSE = 8  # pixels, to which pictures are reduced where there is no trunk to look through


@dataclass(frozen=True)
class Probe:
    """Fixed pictures and requests to measure a run by.

    Attributes:
        z: [GROUPS * EACH, z_dim]; each group has the same tags.
        labels: [GROUPS * EACH, num_tags].
        real: rows of real faces that are trained on.
        held: rows of real faces that are not; empty where none are held out.
        spread: of the real faces, see `spread`.

    """

    z: Tensor
    labels: Tensor
    real: NDArray[np.int64]
    held: NDArray[np.int64]
    spread: float

    @classmethod
    @torch.no_grad()
    def of(cls, trainer: Trainer) -> Probe:
        """The same for the same data, settings and networks."""
        source = rng("z", trainer.config.seed, 2**40, 2)
        count = GROUPS * EACH
        z = source.standard_normal((count, trainer.net.z_dim)).astype(np.float32)
        pool = np.unique(trainer.draws.rows.pool)
        real = source.choice(pool, count)
        labels = np.repeat(trainer.data.labels[real[:GROUPS]], EACH, axis=0)
        held = np.setdiff1d(np.arange(len(trainer.data.images)), pool)
        # Whole groups of the minibatch standard deviation.
        held = source.permutation(held)[: min(count, len(held) // _ONCE * _ONCE)]
        with resting(trainer):
            seen = torch.cat([look(trainer, x) for x in pictures(trainer, real)])
        return cls(torch.from_numpy(z), torch.from_numpy(labels), real, held, spread(seen))


@torch.no_grad()
def measure(trainer: Trainer, probe: Probe) -> dict[str, float]:
    """Figures of the networks as they are now.

    Returns:
        variety: spread of fakes over that of real faces; 1 is as varied, 0 all the same.
        z_variety: the part of it that the latent makes, tags being equal.
        rv, rv_error: where faces are held out, (E D(real) - E D(held out)) / (E D(real) -
            E D(fake)) (Karras et al. 2020, eq. 1), and its standard error: near 0 D rates faces
            it never saw like those it trains on, near 1 like fakes.
        real, held, fake: D's mean scores of faces it trains on, of faces held out and of fakes,
            nothing being augmented; where faces are held out.

    """
    with resting(trainer):
        fake = [
            faces(trainer, trainer.g, z, labels)
            for z, labels in zip(probe.z.split(_ONCE), probe.labels.split(_ONCE), strict=True)
        ]
        seen = torch.cat([look(trainer, x) for x in fake])
        groups = seen.reshape(GROUPS, EACH, -1)
        within = float((groups - groups.mean(dim=1, keepdim=True)).square().mean().sqrt())
        whole = max(probe.spread, 1e-12)  # a data set of one picture, say
        told = {"variety": spread(seen) / whole, "z_variety": within / whole}
        if len(probe.held):
            told |= by_heart(trainer, probe, fake)
    return told


def faces(trainer: Trainer, generator: Generator, z: Tensor, labels: Tensor) -> Tensor:
    """Fakes as training asks for them now: labels count as much as they count in it."""
    device = trainer.device
    w = generator.mapping(z.to(device), labels.to(device), trainer.label_share)
    drawn: Tensor = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
    return drawn


def by_heart(trainer: Trainer, probe: Probe, fake: list[Tensor]) -> dict[str, float]:
    """`rv` and what it is made of."""
    labels = torch.from_numpy(trainer.data.labels)
    seen = scores(trainer, list(pictures(trainer, probe.real)), labels[probe.real])
    held = scores(trainer, list(pictures(trainer, probe.held)), labels[probe.held])
    faked = scores(trainer, fake, probe.labels)
    gap = float(seen.mean() - faked.mean())
    told = {"real": float(seen.mean()), "held": float(held.mean()), "fake": float(faked.mean())}
    if gap <= 0:  # D tells nothing yet
        return told
    error = float((seen.var() / len(seen) + held.var() / len(held)).sqrt()) / gap
    return told | {"rv": float(seen.mean() - held.mean()) / gap, "rv_error": error}


def scores(trainer: Trainer, batches: list[Tensor], labels: Tensor) -> Tensor:
    """D's score of each picture [N], the mean over its heads and patches."""
    out = []
    for x, row in zip(batches, labels.split(_ONCE), strict=True):
        asked = trainer.labels_for_d(row.to(trainer.device))
        heads = trainer.d.score(trainer.d.features(x), asked)
        out.append(torch.stack([h.reshape(len(h), -1).mean(dim=1) for h in heads]).mean(dim=0))
    return torch.cat(out)


def look(trainer: Trainer, x: Tensor) -> Tensor:
    """Pictures as rows of features [N, F] to compare them by.

    With the feature discriminator, the trunk's last map, so that hair, eyes and pose count rather
    than the texture of the strokes; else the pictures themselves, reduced.
    """
    if isinstance(trainer.d, FeatureCritic):
        return trainer.d.features(x)[-1].float().mean(dim=(2, 3))
    return F.adaptive_avg_pool2d(x.float(), _COARSE).flatten(1)


def spread(rows: Tensor) -> float:
    """Root mean square distance from the mean, [N, F] -> a number."""
    return float((rows - rows.mean(dim=0)).square().mean().sqrt())


def pictures(trainer: Trainer, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """Real faces [<= _ONCE, C, H, W] in [-1, 1], a few at a time."""
    for start in range(0, len(rows), _ONCE):
        x = torch.from_numpy(trainer.data.images[rows[start : start + _ONCE]])
        yield x.to(trainer.device).permute(0, 3, 1, 2).float() / 127.5 - 1


@contextmanager
def resting(trainer: Trainer) -> Iterator[None]:
    """The networks in evaluation mode for a while."""
    learning = [module.training for module in (trainer.g, trainer.d)]
    trainer.g.eval()
    trainer.d.eval()
    try:
        yield
    finally:
        trainer.g.train(learning[0])
        trainer.d.train(learning[1])


def memory() -> float | None:
    """GiB of memory that this process holds now; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return peak_memory()
    return pages * 4096 / 2**30


def peak_memory() -> float | None:
    """GiB of memory that this process held at most; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
