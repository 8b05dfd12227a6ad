"""Label-row coverage: which real characters' tags are reached, and which are invented.

A judge reads the tags of pictures and of real faces alike. A real face is reached when some
picture has exactly its tags; two halves of the real faces, each as many as there are pictures, are
the floor: rare combinations are not met twice among the real ones either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.metrics.distances import halves
from kaogen.metrics.judges import Judge, Seen
from kaogen.metrics.rates import Rate, short
from kaogen.metrics.subject import Bits, Subject

_LOOKS = ("hair colour", "eye colour", "hair length")


@dataclass(frozen=True)
class Coverage:
    """What was reached.

    Attributes:
        judge: who read the tags.
        looks: real faces whose hair colour, eye colour and hair length some picture has together.
        real_looks: the same of one half of the real faces by the other.
        rows: real faces all of whose judged tags some picture has exactly.
        real_rows: the same of halves.
        invented: pictures whose tags together none of as many real faces has.
        real_invented: the same of halves.
        share_gap: mean over tags of |share of pictures - share of real faces| that show it.
        real_share_gap: the same of halves.
        pair_gap: the same over pairs of tags that stand together.
        real_pair_gap: the same of halves.
        shares: tag -> (share of pictures, share of real faces).
    """

    judge: str
    looks: Rate
    real_looks: Rate
    rows: Rate
    real_rows: Rate
    invented: Rate
    real_invented: Rate
    share_gap: float
    real_share_gap: float
    pair_gap: float
    real_pair_gap: float
    shares: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        out: dict[str, Any] = {}
        for key, value in vars(self).items():
            if isinstance(value, Rate):
                out[key] = value.to_dict()
            elif key == "shares":
                out[key] = {tag: [short(a), short(b)] for tag, (a, b) in value.items()}
            else:
                out[key] = short(value)
        return out


def coverage(subject: Subject, judge: Judge, seen: Seen, real: Seen, *, seed: int) -> Coverage:
    """Compare what a judge saw in pictures [n] with what it saw in real faces [N].

    As many real faces as pictures (or half of them, where there are fewer) are compared, so that
    pictures and the floor have the same chances.
    """
    known = [tag for tag in subject.tags if judge.knows(tag)]
    places = [judge.column(tag) for tag in known]
    a, b = halves(len(real), len(seen), seed)
    drawn, one, other = (
        seen.shown[: len(a), places],
        real.shown[a][:, places],
        real.shown[b][:, places],
    )
    sets = [subject.vocabulary.exclusive.get(name, ()) for name in _LOOKS]
    looks = [i for i, tag in enumerate(known) if any(tag in names for names in sets)]
    return Coverage(
        judge=judge.name,
        looks=_reached(one[:, looks], drawn[:, looks]),
        real_looks=_reached(one[:, looks], other[:, looks]),
        rows=_reached(one, drawn),
        real_rows=_reached(one, other),
        invented=_invented(drawn, one),
        real_invented=_invented(other, one),
        share_gap=_gap(drawn, one),
        real_share_gap=_gap(other, one),
        pair_gap=_pair_gap(drawn, one),
        real_pair_gap=_pair_gap(other, one),
        shares={
            tag: (float(drawn[:, i].mean()), float(one[:, i].mean())) for i, tag in enumerate(known)
        },
    )


def _keys(rows: Bits) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(rows, axis=1)]


def _reached(targets: Bits, rows: Bits) -> Rate:
    """How many of the target rows occur among the rows."""
    have = set(_keys(rows))
    return Rate.among([key in have for key in _keys(targets)])


def _invented(rows: Bits, real: Bits) -> Rate:
    reached = _reached(rows, real)
    return Rate(reached.of - reached.hits, reached.of)


def _gap(a: Bits, b: Bits) -> float:
    return float(np.abs(a.mean(axis=0) - b.mean(axis=0)).mean()) if a.shape[1] else 0.0


def _pair_gap(a: Bits, b: Bits) -> float:
    both = [_together(rows) for rows in (a, b)]
    upper = np.triu_indices(a.shape[1], 1)
    return float(np.abs(both[0] - both[1])[upper].mean()) if len(upper[0]) else 0.0


def _together(rows: Bits) -> npt.NDArray[np.float64]:
    """Share of rows that have both of each pair of tags [T, T]."""
    ones = rows.astype(np.float64)
    return ones.T @ ones / max(1, len(rows))
