"""Obedience: does a picture show what was asked for, and does the rest stay when one tag changes.

Three experiments for every tag, on the label rows of real faces:

- asked: characters whose label row has the tag; how many show it;
- on: characters without it, drawn again with it and all else as it was (the same seed, the same
  other tags; of tags that exclude each other the new one replaces the old);
- off: the asked characters drawn again without it. Tags of which a face has one at most have no
  "off": they disappear by being replaced.

The faces that the labels are from, judged the same way, are the ceiling: labels and judge disagree
about real faces too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.metrics.judges import EditSpace, Judge, Seen
from kaogen.metrics.rates import Rate, plain, short
from kaogen.metrics.subject import Subject, Tell, drawn, look_through
from kaogen.metrics.switches import Shots, bound, plan_shots

IDENTITY = (
    "Identity: how far the judge's features move when the tag is switched, without the part along "
    "the directions it reads the switched tags from (ridge regression of their logits on the real "
    "faces), over the same distance between two random characters: 0 is the same character, 1 as "
    "far as a stranger."
)


@dataclass(frozen=True)
class TagResult:
    """One tag under one judge.

    Attributes:
        tag: its name.
        asked: of the pictures asked for it, those that show it.
        unasked: of the pictures that were not, those that show it.
        real: of the real faces labelled with it, those in which the judge sees it: the ceiling.
        real_unasked: of the real faces labelled without it, those in which the judge sees it.
        appears: of the characters that did not show it, those that do once it is switched on.
        disappears: of those that showed it, those that do not once it is switched off or replaced.
        others: share of all other tags' verdicts that change along with the switch.
        scores: mean absolute change of all other tags' scores, 0..1.
        identity: see `IDENTITY`.
    """

    tag: str
    asked: Rate
    unasked: Rate
    real: Rate
    real_unasked: Rate
    appears: Rate
    disappears: Rate
    others: float
    scores: float
    identity: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return plain(vars(self))


@dataclass(frozen=True)
class Obedience:
    """All tags under one judge.

    Attributes:
        judge: its name.
        independent: whether it had no part in training the model.
        psi: the truncation that all was drawn with.
        tags: one result per tag that model and judge both know, in the model's order.
        unknown: the model's tags that this judge cannot tell.
        row: share of all these tags that are as the label row says, over the base characters.
        real_row: the same of the real faces.
    """

    judge: str
    independent: bool
    psi: float
    tags: tuple[TagResult, ...]
    unknown: tuple[str, ...]
    row: float
    real_row: float

    @property
    def mean(self) -> float:
        """Mean over tags of the share that shows what was asked for."""
        shares = [t.asked.share for t in self.tags if t.asked.share is not None]
        return float(np.mean(shares)) if shares else math.nan

    @property
    def ceiling(self) -> float:
        """The same mean of the real faces."""
        shares = [t.real.share for t in self.tags if t.real.share is not None]
        return float(np.mean(shares)) if shares else math.nan

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "judge": self.judge,
            "independent": self.independent,
            "psi": self.psi,
            "mean": short(self.mean),
            "real_mean": short(self.ceiling),
            "row": short(self.row),
            "real_row": short(self.real_row),
            "identity_is": IDENTITY,
            "unknown": list(self.unknown),
            "tags": [tag.to_dict() for tag in self.tags],
        }


def obedience(
    subject: Subject,
    judges: Sequence[Judge],
    reals: Sequence[Seen],
    *,
    each: int,
    seed: int,
    psi: float,
    tell: Tell,
) -> tuple[list[Obedience], Shots]:
    """Draw what `plan_shots` plans and judge it.

    Args:
        subject: the model.
        judges: who judges, each on its own.
        reals: what each judge saw in the real faces, in the order of `subject.real_rows`.
        each: characters per tag and experiment.
        seed: of rows and characters.
        psi: truncation.
        tell: progress.
    """
    shots = plan_shots(subject, each, seed)
    rows = np.stack(shots.rows)
    source = drawn(subject, rows, shots.seeds, psi)
    looked = look_through(source, len(rows), judges, partial(tell, "obedience"))
    results = [
        _judge(subject, judge, Seen(*parts), real, shots, psi)
        for judge, parts, real in zip(judges, looked, reals, strict=True)
    ]
    return results, shots


def _agreement(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Share of equal places; NaN of none."""
    return float((a == b).mean()) if a.size else math.nan


def _judge(
    subject: Subject, judge: Judge, seen: Seen, real: Seen, shots: Shots, psi: float
) -> Obedience:
    known = [tag for tag in subject.tags if judge.knows(tag)]
    columns = [subject.vocabulary.index(tag) for tag in known]
    places = [judge.column(tag) for tag in known]
    asked = np.stack(shots.rows[: shots.base])[:, columns] > 0.5
    space = EditSpace(real.features, real.scores)
    base = seen.part(0, shots.base)
    return Obedience(
        judge=judge.name,
        independent=judge.independent,
        psi=psi,
        tags=tuple(_tag(subject, judge, seen, real, shots, space, tag) for tag in known),
        unknown=tuple(tag for tag in subject.tags if tag not in known),
        row=_agreement(base.shown[:, places], asked),
        real_row=_agreement(real.shown[:, places], subject.real_rows[:, columns]),
    )


def _tag(
    subject: Subject,
    judge: Judge,
    seen: Seen,
    real: Seen,
    shots: Shots,
    space: EditSpace,
    tag: str,
) -> TagResult:
    column, place = subject.vocabulary.index(tag), judge.column(tag)
    shown, labelled = seen.shown[:, place], subject.real_rows[:, column]
    free = np.array([not row[column] for row in shots.rows[: shots.base]])
    on, off = (
        np.array(pairs[tag], dtype=np.intp).reshape(-1, 2) for pairs in (shots.on, shots.off)
    )
    others, scores, identity = _elsewhere(subject, judge, seen, shots, space, tag)
    return TagResult(
        tag=tag,
        asked=Rate.among(shown[shots.asked[tag]]),
        unasked=Rate.among(shown[: shots.base][free]),
        real=Rate.among(real.shown[labelled, place]),
        real_unasked=Rate.among(real.shown[~labelled, place]),
        appears=Rate.among(shown[on[:, 1]][~shown[on[:, 0]]]),
        disappears=Rate.among(~shown[off[:, 1]][shown[off[:, 0]]]),
        others=others,
        scores=scores,
        identity=identity,
    )


def _elsewhere(
    subject: Subject, judge: Judge, seen: Seen, shots: Shots, space: EditSpace, tag: str
) -> tuple[float, float, float]:
    """What else changes when the tag is switched: other verdicts, other scores, identity."""
    before, after = np.array([*shots.on[tag], *shots.off[tag]], dtype=np.intp).T
    moving = bound(tag, subject.vocabulary)
    edited = [judge.column(name) for name in judge.tags if name in moving]
    rest = [judge.column(n) for n in subject.tags if judge.knows(n) and n not in moving]
    verdicts = seen.shown[after][:, rest] != seen.shown[before][:, rest]
    scores = np.abs(seen.scores[after][:, rest] - seen.scores[before][:, rest])
    moved = _length(space.outside(seen.features[after] - seen.features[before], edited))
    base = seen.features[: shots.base]
    strangers = _length(space.outside(np.roll(base, 1, axis=0) - base, edited))
    return (
        float(verdicts.mean()) if rest else math.nan,
        float(scores.mean()) if rest else math.nan,
        moved / strangers if strangers else math.nan,
    )


def _length(changes: npt.NDArray[np.float64]) -> float:
    """Mean length of changes [n, F]."""
    return float(np.linalg.norm(changes, axis=1).mean())
