"""Nearest neighbours among features, a block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

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


def radii(rows: Rows, k: int) -> Floats:
    """Squared distance [N] of each row to its k-th nearest other row."""
    (points,) = checked(rows)
    if not 1 <= k < len(points):
        raise InputError(f"{len(points)} pictures are too few for the {k} nearest others of each.")
    points = points - points.mean(axis=0)  # smaller numbers, less rounding
    out = np.empty(len(points))
    for block in blocks(len(points), len(points)):
        table = squared(points[block], points)
        table[np.arange(len(table)), np.arange(block.start, block.stop)] = np.inf
        out[block] = np.partition(table, k - 1, axis=1)[:, k - 1]
    return out


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


def inside(
    points: Rows, centres: Rows, radius: Floats
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Which points lie in the balls around the centres.

    Args:
        points: [N, D].
        centres: [M, D].
        radius: [M], squared, as `radii` gives it.

    Returns:
        Into how many balls each point falls [N], and whether each ball holds any point [M].

    """
    a, b = checked(points, centres)
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    counts, filled = np.empty(len(a), dtype=np.int64), np.zeros(len(b), dtype=bool)
    for block in blocks(len(a), len(b)):
        hit = squared(a[block], b) <= radius
        counts[block] = hit.sum(axis=1)
        filled |= hit.any(axis=0)
    return counts, filled
