"""Originality: how near pictures come to the faces that a model was trained on.

Every picture's nearest training face is sought among all faces and their mirror images, once in a
judge's features and once in pixels. A picture that lies closer to a training face than that face
lies to its own nearest other face is counted (the complement of authenticity: Alaa et al. 2022,
"How Faithful is your Synthetic Data?"). Real faces, each compared with all the others in the same
way, are the floor: alike faces by one artist are neighbours too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.metrics.rates import Rate, short
from kaogen.metrics.subject import THUMB, Floats, Pixels

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Points = Floats | Pixels

_QUERIES, _FACES = 1024, 4096  # rows held as fp32 at once: 16 MiB of distances
_CLOSEST = 0.01
BINS = 28


@dataclass(frozen=True)
class Pair:
    """A picture and its nearest training face.

    Attributes:
        picture: its place among the pictures.
        face: the face's place in the archive.
        mirrored: whether the face is nearest flipped left to right.
        distance: between the two.
        own: from the face to its own nearest other face.
    """

    picture: int
    face: int
    mirrored: bool
    distance: float
    own: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {key: short(value) for key, value in vars(self).items()}


@dataclass(frozen=True)
class Originality:
    """What was found in one space.

    Attributes:
        space: "judge" or another judge's name for its features, or "pixels".
        unit: of distances, in words.
        closer: pictures closer to a training face than that face is to its own nearest other.
        real_closer: the same of real faces, each against all the others.
        copies: pictures closer than the closest hundredth of real faces are to each other.
        median, real_median: distance to the nearest training face.
        edges: [BINS + 1] of the histograms.
        counts, real_counts: share of pictures, and of real faces, per bin.
        worst: the nearest pairs, nearest first.
    """

    space: str
    unit: str
    closer: Rate
    real_closer: Rate
    copies: Rate
    median: float
    real_median: float
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    real_counts: tuple[float, ...]
    worst: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        out: dict[str, Any] = {}
        for key, value in vars(self).items():
            if isinstance(value, Rate):
                out[key] = value.to_dict()
            elif key == "worst":
                out[key] = [pair.to_dict() for pair in value]
            else:
                out[key] = [short(v) for v in value] if isinstance(value, tuple) else short(value)
        return out


def originality(
    space: str,
    pictures: Points,
    faces: Points,
    mirrored: Points,
    *,
    sample: int,
    seed: int,
    worst: int = 10,
) -> Originality:
    """Compare pictures with training faces in one space.

    Args:
        space: its name; "pixels" gives distances in grey levels.
        pictures: [n, D], uint8 or float32.
        faces: [N, D], all training faces.
        mirrored: [N, D], the same faces flipped left to right.
        sample: real faces that are compared with the others, for the floor.
        seed: of that sample.
        worst: pairs to name.
    """
    nobody = np.empty((len(pictures), 0), dtype=np.int64)
    distance, place = nearest(pictures, faces, mirrored, nobody)
    count = min(sample, len(faces))
    chosen = np.sort(np.random.default_rng([seed, len(faces)]).choice(len(faces), count, False))
    real_distance, real_place = nearest(faces[chosen], faces, mirrored, chosen[:, np.newaxis])
    face, real_face = place % len(faces), real_place % len(faces)
    # A face's own nearest other face. Where a real face stands for a picture, it must not be there
    # for its neighbour either: else that one's nearest could never be further away.
    unique, back = np.unique(face, return_inverse=True)
    own = nearest(faces[unique], faces, mirrored, unique[:, np.newaxis])[0][back]
    pairs = np.stack([real_face, chosen], axis=1)
    real_own = nearest(faces[real_face], faces, mirrored, pairs)[0]
    scale = 1 / np.sqrt(pictures.shape[1]) if space == "pixels" else 1.0
    edge = np.quantile(real_distance, _CLOSEST)
    top = float(np.quantile(np.concatenate([distance, real_distance]), 0.995)) * scale
    edges = np.linspace(0.0, top or 1.0, BINS + 1)
    order = np.argsort(distance, kind="stable")[:worst]
    return Originality(
        space=space,
        unit=f"root mean square grey levels at {THUMB} px" if space == "pixels" else "features",
        closer=Rate.among(distance < own),
        real_closer=Rate.among(real_distance < real_own),
        copies=Rate.among(distance < edge),
        median=float(np.median(distance)) * scale,
        real_median=float(np.median(real_distance)) * scale,
        edges=tuple(edges.tolist()),
        counts=_shares(distance * scale, edges),
        real_counts=_shares(real_distance * scale, edges),
        worst=tuple(
            Pair(
                int(i),
                int(face[i]),
                bool(place[i] >= len(faces)),
                float(distance[i]) * scale,
                float(own[i]) * scale,
            )
            for i in order
        ),
    )


def nearest(
    queries: Points, faces: Points, mirrored: Points, hidden: Places
) -> tuple[Doubles, Places]:
    """The nearest face of each query among N faces and their N mirror images.

    Blocks are compared in fp32 and the winner's distance is taken anew in fp64, so that memory
    stays bounded by the blocks and near twins keep their digits.

    Args:
        queries: [n, D].
        faces, mirrored: [N, D].
        hidden: [n, h], faces that do not count for a query, mirrored neither: itself, say.

    Returns:
        Distance [n] and place [n]: below N a face, from N on a mirrored one. Of equals the first.
    """
    best = np.full(len(queries), np.inf, dtype=np.float32)
    place = np.zeros(len(queries), dtype=np.int64)
    middle = faces[: 4 * _FACES].mean(axis=0, dtype=np.float64).astype(np.float32)
    for offset, points in ((0, faces), (len(faces), mirrored)):
        for block in _slices(len(points), _FACES):
            known = points[block].astype(np.float32) - middle
            lengths = np.einsum("nd,nd->n", known, known)
            for rows in _slices(len(queries), _QUERIES):
                asked = queries[rows].astype(np.float32) - middle
                # |q - f|^2 without |q|^2, which is the same for all faces.
                table = lengths - 2 * (asked @ known.T)
                row, column = np.nonzero(
                    (hidden[rows] >= block.start) & (hidden[rows] < block.stop)
                )
                table[row, hidden[rows][row, column] - block.start] = np.inf
                first = table.argmin(axis=1)
                least = table[np.arange(len(first)), first]
                better = np.flatnonzero(least < best[rows])
                best[rows.start + better] = least[better]
                place[rows.start + better] = first[better] + block.start + offset
    return _exact(queries, faces, mirrored, place), place


def _exact(queries: Points, faces: Points, mirrored: Points, place: Places) -> Doubles:
    out = np.empty(len(queries))
    for rows in _slices(len(queries), _QUERIES):
        spots = place[rows]
        flipped = spots >= len(faces)
        found = faces[spots % len(faces)].astype(np.float64)
        found[flipped] = mirrored[spots[flipped] - len(faces)]
        out[rows] = np.linalg.norm(queries[rows].astype(np.float64) - found, axis=1)
    return out


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _shares(values: Doubles, edges: Doubles) -> tuple[float, ...]:
    """Share of values per bin; those beyond the last edge count in the last bin."""
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    return tuple((counts / max(1, len(values))).tolist())
