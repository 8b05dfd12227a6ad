"""Nearest neighbours among features, a block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kaogen.errors import InputError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_BLOCK = 2**22  # distances held at once: 32 MiB in fp64, and as much again for sorting


def checked(*sets: Rows) -> list[Floats]:
    """The sets as fp64 [N, D]; InputError when they do not go together or are not finite."""
    out = [np.asarray(rows, dtype=np.float64) for rows in sets]
    for rows in out:
        if rows.ndim != 2 or rows.shape[1] != out[0].shape[1]:
            shapes = " and ".join(str(r.shape) for r in out)
            raise InputError(f"Features are [pictures, values] of one kind, not {shapes}.")
        if not np.isfinite(rows).all():
            raise InputError("Features hold a value that is not a number.")
    return out


def blocks(count: int, other: int) -> Iterator[slice]:
    """Slices of `count` rows such that each against `other` rows is one block's worth."""
    step = max(1, _BLOCK // max(other, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def squared(a: Floats, b: Floats) -> Floats:
    """Squared Euclidean distances [N, M] of all pairs: |x|^2 + |y|^2 - 2 x.y, at least 0.

    fp64 matters: in fp32 the difference of large terms would swallow the distance of near twins.
    """
    table: Floats = a @ b.T
    table *= -2.0
    table += np.einsum("nd,nd->n", a, a)[:, None]
    table += np.einsum("md,md->m", b, b)[None]
    return np.maximum(table, 0.0, out=table)


def radii(rows: Rows, *ks: int) -> list[Floats]:
    """For each k the squared distance [N] of each row to its k-th nearest other row."""
    (points,) = checked(rows)
    if not 1 <= min(ks) <= max(ks) < len(points):
        raise InputError(f"{len(points)} pictures are too few for the {max(ks)} nearest others.")
    points = points - points.mean(axis=0)  # smaller numbers, less rounding
    out = [np.empty(len(points)) for _ in ks]
    places = sorted({k - 1 for k in ks})
    for block in blocks(len(points), len(points)):
        table = squared(points[block], points)
        table[np.arange(len(table)), np.arange(block.start, block.stop)] = np.inf
        table.partition(places, axis=1)
        for radius, k in zip(out, ks, strict=True):
            radius[block] = table[:, k - 1]
    return out


@dataclass(frozen=True)
class Balls:
    """Which pictures lie in which balls around those of the other set; of N real and M fake ones.

    Attributes:
        precise: bool [M], whether each fake lies in any real ball.
        recalled: bool [N], whether each real one lies in any ball of the fakes.
        counts: [M], in how many (wider) real balls each fake lies.
        filled: bool [N], whether each of these holds any fake.

    """

    precise: npt.NDArray[np.bool_]
    recalled: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    filled: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, real: Rows, fake: Rows, narrow: int, wide: int) -> Balls:
        """Balls as wide as to the `narrow`-th and (density, coverage) `wide`-th neighbour."""
        x, y = checked(real, fake)
        centre = x.mean(axis=0)
        x, y = x - centre, y - centre
        small, large = radii(x, narrow, wide)
        (own,) = radii(y, narrow)
        precise, counts = np.empty(len(y), np.bool_), np.empty(len(y), np.int64)
        recalled, filled = np.zeros(len(x), np.bool_), np.zeros(len(x), np.bool_)
        # One table of distances between the sets serves all four.
        for block in blocks(len(y), len(x)):
            table = squared(y[block], x)
            precise[block] = (table <= small).any(axis=1)
            recalled |= (table <= own[block][:, None]).any(axis=0)
            hit = table <= large
            counts[block] = hit.sum(axis=1)
            filled |= hit.any(axis=0)
        return cls(precise, recalled, counts, filled)


def nearest(queries: Rows, base: Rows, k: int = 1) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The k nearest rows of `base` to each query, nearest first; of equals the first.

    Returns:
        Euclidean distances [N, k] and their rows in `base` [N, k].

    """
    a, b = checked(queries, base)
    if not 1 <= k <= len(b):
        raise InputError(f"{k} neighbours were asked for among {len(b)} pictures.")
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    distances, rows = np.empty((len(a), k)), np.empty((len(a), k), dtype=np.int64)
    for block in blocks(len(a), len(b)):
        table = squared(a[block], b)
        if k == 1:
            chosen = table.argmin(axis=1)[:, None]
        else:
            chosen = np.sort(np.argpartition(table, k - 1, axis=1)[:, :k], axis=1)
        found = np.take_along_axis(table, chosen, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        rows[block] = np.take_along_axis(chosen, order, axis=1)
        distances[block] = np.sqrt(np.take_along_axis(found, order, axis=1))
    return distances, rows
