"""Smoothness along w, and what truncation costs and brings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.metrics.distances import frechet, kernel, precision_recall
from kaogen.metrics.estimates import Estimate, bootstrap
from kaogen.metrics.features import cores
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.rates import Rate, plain
from kaogen.metrics.subject import Floats, Subject, Tell, drawn, look_through
from kaogen.metrics.switches import pick_rows

STEPS = 16
"""Of a walk. Finer steps drown in the 256 grey levels of a picture's colours."""


@dataclass(frozen=True)
class Smoothness:
    """Walks in w between two seeds, tags fixed, seen through a judge's features.

    Attributes:
        judge: whose features.
        psi: truncation of both ends.
        walks, steps: how many, and steps of each.
        path_length: perceptual path length (Karras et al. 2019, in w), at a finite step:
            mean of |f(t + 1/steps) - f(t)|^2 * steps^2, over the mean of |f_a - f_b|^2 of the ends
            of all walks; 1 is a straight line at even pace.
        detour: length of the walk over the straight distance of its ends; 1 is straight.
        jump: its largest step over its mean step; 1 is even.
    """

    judge: str
    psi: float
    walks: int
    steps: int
    path_length: Estimate
    detour: Estimate
    jump: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            key: value.to_dict() if isinstance(value, Estimate) else value
            for key, value in vars(self).items()
        }


@dataclass(frozen=True)
class AtPsi:
    """Pictures at one truncation.

    Attributes:
        psi: the truncation.
        frechet, kernel: distance to as many real faces, in a judge's features.
        precision, recall: share of pictures among the real ones, and the other way round.
        variety: mean distance of two pictures over that of two real faces.
        obedience: of all the tags asked for (and judged), those shown.
    """

    psi: float
    frechet: float
    kernel: float
    precision: float
    recall: float
    variety: float
    obedience: Rate

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return plain(vars(self))


def smoothness(
    subject: Subject, judge: Judge, *, walks: int, seed: int, psi: float, tell: Tell
) -> Smoothness:
    """Walk between seeds 2 i and 2 i + 1 (from `seed` on) with one real face's tags each."""
    rows = pick_rows(subject.real_rows, walks, seed, "walks")

    def look(start: int) -> Floats:
        ends = (seed + 2 * start, seed + 2 * start + 1)
        return judge(subject.interpolate(rows[start], ends, STEPS, psi))[2]

    paths = []
    with ThreadPoolExecutor(cores()) as pool:
        for path in pool.map(look, range(walks)):
            paths.append(path.astype(np.float64))
            tell("smoothness", len(paths), walks)
    steps = np.stack([np.linalg.norm(np.diff(path, axis=0), axis=1) for path in paths])
    ends = np.array([np.linalg.norm(path[-1] - path[0]) for path in paths])
    whole = max(float((ends**2).mean()), 1e-12)
    lengths = steps.sum(axis=1)
    return Smoothness(
        judge=judge.name,
        psi=psi,
        walks=walks,
        steps=STEPS,
        path_length=bootstrap((steps**2).mean(axis=1) * STEPS**2 / whole, seed=seed),
        detour=bootstrap(lengths / np.maximum(ends, 1e-12), seed=seed),
        jump=bootstrap(steps.max(axis=1) / np.maximum(steps.mean(axis=1), 1e-12), seed=seed),
    )


def truncation_sweep(
    subject: Subject,
    judge: Judge,
    real: Floats,
    *,
    count: int,
    psis: Sequence[float],
    seed: int,
    tell: Tell,
) -> tuple[AtPsi, ...]:
    """The same `count` characters at several truncations, against as many real faces.

    Args:
        subject: the model.
        judge: who judges; the distances are in its features.
        real: features [N, F] of real faces, of which `count` are taken by seed.
        count: characters.
        psis: truncations.
        seed: of rows, characters and real faces.
        tell: progress.
    """
    rows = pick_rows(subject.real_rows, count, seed, "sweep")
    seeds = range(seed, seed + count)
    source = np.random.default_rng([seed, len(real)])
    chosen = real[np.sort(source.choice(len(real), min(count, len(real)), replace=False))]
    spread = _spread(chosen)
    known = [tag for tag in subject.tags if judge.knows(tag)]
    columns = [subject.vocabulary.index(tag) for tag in known]
    places = [judge.column(tag) for tag in known]
    asked = rows[:, columns] > 0.5
    found = []
    for psi in psis:
        pictures = drawn(subject, rows, seeds, psi)
        told = partial(tell, f"truncation {psi:g}")
        seen = Seen(*look_through(pictures, count, [judge], told)[0])
        precision, recall = precision_recall(chosen, seen.features)
        found.append(
            AtPsi(
                psi=psi,
                frechet=frechet(chosen, seen.features),
                kernel=kernel(chosen, seen.features),
                precision=precision,
                recall=recall,
                variety=_spread(seen.features) / max(spread, 1e-12),
                obedience=Rate.among(seen.shown[:, places][asked]),
            )
        )
    return tuple(found)


def _spread(features: Floats) -> float:
    """Mean distance of each picture to the next one in the list."""
    wide: npt.NDArray[np.float64] = features.astype(np.float64)
    return float(np.linalg.norm(wide - np.roll(wide, 1, axis=0), axis=1).mean())
