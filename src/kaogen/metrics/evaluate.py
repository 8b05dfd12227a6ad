"""One evaluation: everything that is measured of a model, from one seed.

The same plan, model, data and networks give the same figures: nothing here knows the time. What
was drawn at which truncation, on how many pictures and by whose judgement stands in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.errors import ConfigError
from kaogen.metrics.coverage import Coverage, coverage
from kaogen.metrics.distances import Estimate, halves, measure
from kaogen.metrics.features import Features
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.memorised import Originality, originality
from kaogen.metrics.obedience import Obedience, obedience
from kaogen.metrics.reals import Reals
from kaogen.metrics.smoothness import AtPsi, Smoothness, smoothness, truncation_sweep
from kaogen.metrics.subject import (
    Array,
    Floats,
    Look,
    Pixels,
    Subject,
    Tell,
    drawn,
    look_through,
    thumbs,
)
from kaogen.metrics.switches import Shots, pick_rows

__all__ = ["Evaluation", "Plan", "Realism", "Subject", "evaluate"]

FEWEST = 50


@dataclass(frozen=True)
class Plan:
    """How much is drawn, and from which seed.

    Attributes:
        count: characters for realism, variety, originality and coverage.
        seed: the first seed; the others follow.
        psi: truncation of these: 1, as the model was trained, is the field's custom. Obedience and
            smoothness are measured at the psi that the model recommends: what a visitor gets.
        rounds: resamples behind each interval.
        psis: truncations of the sweep.
    """

    count: int = 10_000
    seed: int = 0
    psi: float = 1.0
    rounds: int = 100
    psis: tuple[float, ...] = (0.3, 0.5, 0.7, 0.85, 1.0)

    def __post_init__(self) -> None:
        if self.count < FEWEST:
            raise ConfigError(f"{self.count} pictures say nothing; evaluate at least {FEWEST}.")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"the seed must be 0 to {2**31 - 1}, not {self.seed}.")

    @property
    def each(self) -> int:
        """Characters per tag and experiment of obedience."""
        return max(16, self.count // 64)

    @property
    def sweep(self) -> int:
        """Characters per truncation of the sweep."""
        return max(100, self.count // 10)

    @property
    def walks(self) -> int:
        """Walks through w."""
        return max(8, self.count // 100)

    @property
    def compared(self) -> int:
        """Pictures, and half as many real faces, that are compared pixel by pixel."""
        return min(self.count, 4000)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, with what follows from the fields."""
        follows = {name: getattr(self, name) for name in ("each", "sweep", "walks", "compared")}
        return {**vars(self), "psis": list(self.psis), **follows}


@dataclass(frozen=True)
class Realism:
    """Distances in one network's features.

    Attributes:
        features: the network's name.
        dim: values a picture.
        independent: whether it had no part in training the model.
        note: what a reader must know of this network.
        count: pictures, and real faces, that were compared.
        model: figure -> estimate, of pictures against real faces.
        floor: the same of other real faces against the same ones.
    """

    features: str
    dim: int
    independent: bool
    note: str
    count: int
    model: dict[str, Estimate]
    floor: dict[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        out = dict(vars(self))
        for key in ("model", "floor"):
            out[key] = {name: value.to_dict() for name, value in out[key].items()}
        return out


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured of one model.

    Attributes:
        model: its name.
        resolution: its pictures' edge in pixels.
        psi: the truncation that it recommends.
        tags: those it has learnt.
        plan: how much was drawn.
        realism: per network.
        obedience: per judge; the first is the one that counts.
        originality: in the first judge's features, then in pixels.
        smoothness, truncation, coverage: by the first judge.
        rows: label rows [n, L] of the n characters of the plan, whose seeds follow the plan's.
        shots: the characters that obedience was measured on.
    """

    model: str
    resolution: int
    psi: float
    tags: tuple[str, ...]
    plan: Plan
    realism: tuple[Realism, ...]
    obedience: tuple[Obedience, ...]
    originality: tuple[Originality, ...]
    smoothness: Smoothness
    truncation: tuple[AtPsi, ...]
    coverage: Coverage
    rows: Floats
    shots: Shots

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, without the rows: the same evaluation, the same text."""
        return {
            "model": self.model,
            "resolution": self.resolution,
            "psi": self.psi,
            "tags": list(self.tags),
            "plan": self.plan.to_dict(),
            "realism": [part.to_dict() for part in self.realism],
            "obedience": [part.to_dict() for part in self.obedience],
            "originality": [part.to_dict() for part in self.originality],
            "smoothness": self.smoothness.to_dict(),
            "truncation": [part.to_dict() for part in self.truncation],
            "coverage": self.coverage.to_dict(),
        }


def evaluate(
    subject: Subject,
    reals: Reals,
    judges: Sequence[Judge],
    others: Sequence[Features],
    plan: Plan,
    tell: Tell = lambda what, done, total: None,
) -> Evaluation:
    """Measure a model.

    Args:
        subject: the model.
        reals: the faces that it was trained on.
        judges: at least one; the first gives the figures of which there is only one kind.
        others: further networks for realism and variety.
        plan: how much, from which seed.
        tell: progress.
    """
    rows = pick_rows(subject.real_rows, plan.count, plan.seed)
    seeds = range(plan.seed, plan.seed + plan.count)
    looks: list[Look] = [*judges, *(_as_look(network) for network in others), thumbs]
    source = drawn(subject, rows, seeds, plan.psi)
    looked = look_through(source, plan.count, looks, partial(tell, "pictures"))
    seen = [Seen(*parts) for parts in looked[: len(judges)]]
    small: Pixels = looked[-1][0]
    features = [s.features for s in seen] + [parts[0] for parts in looked[len(judges) : -1]]
    networks = [judge.features for judge in judges] + list(others)
    obeyed, shots = obedience(
        subject, judges, reals.seen, each=plan.each, seed=plan.seed, psi=subject.psi, tell=tell
    )
    first = judges[0]
    return Evaluation(
        model=subject.name,
        resolution=subject.resolution,
        psi=subject.psi,
        tags=subject.tags,
        plan=plan,
        realism=_realism(networks, features, reals, judges, plan, tell),
        obedience=tuple(obeyed),
        originality=_originality(first, seen[0], small, reals, plan, tell),
        smoothness=smoothness(
            subject, first, walks=plan.walks, seed=plan.seed, psi=subject.psi, tell=tell
        ),
        truncation=truncation_sweep(
            subject,
            first,
            reals.features[first.name],
            count=plan.sweep,
            psis=plan.psis,
            seed=plan.seed,
            tell=tell,
        ),
        coverage=coverage(subject, first, seen[0], reals.seen[0], seed=plan.seed),
        rows=rows,
        shots=shots,
    )


def _as_look(network: Features) -> Look:
    def look(images: Pixels) -> tuple[Array, ...]:
        return (network(images),)

    return look


def _realism(
    networks: Sequence[Features],
    features: Sequence[Floats],
    reals: Reals,
    judges: Sequence[Judge],
    plan: Plan,
    tell: Tell,
) -> tuple[Realism, ...]:
    """Pictures against one half of the real faces, and the other half against the same."""
    ours, theirs = halves(len(reals), plan.count, plan.seed)
    partial_to = {judge.name for judge in judges if not judge.independent}
    found = []
    for i, (network, fake) in enumerate(zip(networks, features, strict=True)):
        real = reals.features[network.name]
        tell("distances", i, len(networks))
        compare = partial(measure, real[ours], rounds=plan.rounds, seed=plan.seed)
        found.append(
            Realism(
                features=network.name,
                dim=network.dim,
                independent=network.name not in partial_to,
                note=network.note,
                count=len(ours),
                model=compare(fake[: len(ours)]),
                floor=compare(real[theirs]),
            )
        )
    tell("distances", len(networks), len(networks))
    return tuple(found)


def _originality(
    judge: Judge, seen: Seen, small: Pixels, reals: Reals, plan: Plan, tell: Tell
) -> tuple[Originality, ...]:
    tell("originality", 0, 2)
    by_features = originality(
        judge.name,
        seen.features,
        reals.features[judge.name],
        reals.mirrored,
        sample=plan.count,
        seed=plan.seed,
    )
    tell("originality", 1, 2)
    faces = reals.thumbs
    by_pixels = originality(
        "pixels",
        _flat(small[: plan.compared]),
        _flat(faces),
        _flat(faces[:, :, ::-1]),
        sample=plan.compared // 2,
        seed=plan.seed,
    )
    tell("originality", 2, 2)
    return by_features, by_pixels


def _flat(pictures: Pixels) -> npt.NDArray[np.uint8]:
    """[n, H, W, 3] -> [n, H * W * 3]."""
    return np.ascontiguousarray(pictures).reshape(len(pictures), -1)
