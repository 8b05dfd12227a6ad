"""Overfitting, collapse and other trouble, noticed in a run's figures and said in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kaogen.training.config import TrainConfig

Ticks = Sequence[dict[str, Any]]

# D's loss when it knows nothing; with "wgan-gp" only differences of scores mean something.
NEUTRAL = {"nonsaturating": 2 * math.log(2), "hinge": 2.0, "relativistic": math.log(2)}
WINDOW = 3  # ticks that are looked at together, so that one odd tick raises no alarm
BEGINNING = 10_000  # images, during which D rightly tells all fakes from real faces

DULL = 50_000  # images, during which a new network's faces may be alike


@dataclass(frozen=True)
class Trouble:
    """Something wrong with a run.

    Attributes:
        name: a short word for `progress.jsonl`.
        what: what is seen, with its figures.
        advice: what to do about it.

    """

    name: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"


def judge(ticks: Ticks, config: TrainConfig, since: int = 0) -> list[Trouble]:
    """What is wrong with a run now; empty when nothing is.

    Args:
        ticks: of `progress.jsonl`, oldest first.
        config: the run's settings.
        since: images seen at the last start; speeds are compared from there on.

    """
    if not ticks:
        return []
    found = [check(ticks, config) for check in CHECKS]
    found.append(slow([tick for tick in ticks if tick["seen"] > since]))
    return [trouble for trouble in found if trouble]


def recent(ticks: Ticks, key: str, count: int = WINDOW) -> float | None:
    """Mean of a figure over the last ticks; None where one of them does not tell it."""
    values = [tick.get(key) for tick in ticks[-count:]]
    known = [float(v) for v in values if isinstance(v, int | float)]
    return statistics.fmean(known) if len(known) == count else None


def begins(ticks: Ticks) -> bool:
    """Whether the run has only begun."""
    return int(ticks[-1]["seen"]) < BEGINNING


def best(ticks: Ticks, key: str) -> float:
    """The highest that a figure has been; 0 where it was never told."""
    return max((float(tick[key]) for tick in ticks if key in tick), default=0.0)


def d_wins(ticks: Ticks, config: TrainConfig) -> Trouble | None:
    """D's loss at 0."""
    d, neutral = recent(ticks, "d"), NEUTRAL.get(config.loss)
    if d is None or neutral is None or d > 0.05 * neutral or begins(ticks):
        return None
    return Trouble(
        "d wins",
        f"D tells every fake from the real faces (its loss is {d:.3f}), so G learns nothing more.",
        "Stop, and start again with a lower --lr, with --r1 raised, or with --augment ada.",
    )


def g_explodes(ticks: Ticks, config: TrainConfig) -> Trouble | None:
    """G's loss out of all bounds, or the last ticks far above all before."""
    g = recent(ticks, "g", 1)
    if g is None or config.loss == "wgan-gp":
        return None
    before = [abs(float(tick["g"])) for tick in ticks[:-1] if "g" in tick]
    usual = statistics.median(before) if len(before) >= WINDOW else math.inf
    if g < 20 and not (g > 5 and g > 8 * usual):
        return None
    return Trouble(
        "g explodes",
        f"G's loss has grown to {g:.1f}: it no longer finds a way to please D.",
        "Stop if the grids have got worse, and start again with half the --lr.",
    )


def overfits(ticks: Ticks, config: TrainConfig) -> Trouble | None:
    """Signs of D's scores: nearly all reals on one side.

    With a loss of differences, rt counts pairs that D orders rightly, which are many even in
    good health. And where faces are held out, they know better (`by_heart`): a D that is ahead
    of G, as at the beginning, is as sure of them.
    """
    rt = recent(ticks, "rt")
    paired = config.loss in ("wgan-gp", "relativistic")
    if rt is None or rt < (0.97 if paired else 0.85) or begins(ticks):
        return None
    held = recent(ticks, "rv")
    if held is not None and held < 0.2:
        return None
    adapts = config.augment == "ada" and config.ada_target > 0
    p = recent(ticks, "p", 1)
    if adapts and p is not None and p < config.ada_max:
        return None  # p is still rising against it
    what = f"D is sure of nearly every real face (r_t {rt:.2f}): it learns them by heart."
    if adapts:
        return Trouble("overfitting", what, f"Augmentation is at its limit, p {p:.2f}: {_MORE}")
    return Trouble("overfitting", what, f"Start again with --augment ada, or {_MORE}")


_MORE = "train on more faces, or take the model of an earlier grid that looks better."


def by_heart(ticks: Ticks, _config: TrainConfig) -> Trouble | None:
    """Faces held out are rated like fakes."""
    rv, error = recent(ticks, "rv"), recent(ticks, "rv_error")
    if rv is None or error is None or rv - 2 * error / WINDOW**0.5 < 0.4:
        return None
    return Trouble(
        "overfitting",
        f"D rates faces it never saw {rv:.0%} of the way to fakes (r_v {rv:.2f}): it knows its "
        "own by heart.",
        f"Start again with --augment ada, or {_MORE}",
    )


def collapses(ticks: Ticks, _config: TrainConfig) -> Trouble | None:
    """Fakes that are all alike: after they were varied, or after long enough to be."""
    now = recent(ticks, "variety")
    if now is None or now > 0.45 or not _fell(ticks, "variety", now):
        return None
    return Trouble(
        "collapse",
        f"The faces are getting alike: they vary {now:.2f} times as much as real ones do, and "
        f"did {best(ticks, 'variety'):.2f} times.",
        "Look at the grid; if so, stop, and start again with a lower --lr or another --seed.",
    )


def forgets_z(ticks: Ticks, config: TrainConfig) -> Trouble | None:
    """The same tags give the same face, whatever the latent."""
    now = recent(ticks, "z_variety")
    if now is None or now > 0.2 or not _fell(ticks, "z_variety", now):
        return None
    early = config.uncond_kimg == config.blend_kimg == 0
    return Trouble(
        "one face a tag",
        f"The same tags give nearly the same face, whatever the latent (its share of the variety "
        f"is {now:.2f}).",
        "Start again with fewer tags"
        + (", or with --uncond-kimg and --blend-kimg, which let them in later." if early else "."),
    )


def _fell(ticks: Ticks, key: str, now: float) -> bool:
    """Whether a figure was twice as high before, or is that low although all is long begun."""
    return best(ticks, key) > 2 * now or int(ticks[-1]["seen"]) >= DULL


def slow(ticks: Ticks) -> Trouble | None:
    """Half the speed that was."""
    rate, usual = recent(ticks, "rate"), best(ticks, "rate")
    if rate is None or rate > 0.5 * usual:
        return None
    return Trouble(
        "slow",
        f"It has become slow: {rate:.1f} images a second, and was {usual:.1f}.",
        "Is something else running, is memory full, or is the machine too hot?",
    )


CHECKS: tuple[Callable[[Ticks, TrainConfig], Trouble | None], ...] = (
    d_wins,
    g_explodes,
    overfits,
    by_heart,
    collapses,
    forgets_z,
)
