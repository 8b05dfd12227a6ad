"""What a data set holds, in numbers: faces, sizes, shares of tags, tags that go together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.data.archives.sets import FaceSet
from kaogen.tags import Vocabulary

_MOST_PAIRS = 12
_MOST_COLUMNS = 1000  # beyond, pairs are not counted: they grow with the square
_LEAST_TOGETHER = 20
"""Faces that a pair must have, or be expected to have, before anything is said of it."""


@dataclass(frozen=True)
class Pair:
    """Two tags and how often they stand together.

    Attributes:
        first: the rarer tag.
        second: the other.
        faces: how many have both.
        share: of the faces with ``first``, the share that has ``second``, 0 to 1.
        lift: that share over the share of ``second`` among all faces: 1 is chance.
    """

    first: str
    second: str
    faces: int
    share: float
    lift: float


@dataclass(frozen=True)
class Stats:
    """What :func:`measure` found.

    Attributes:
        images: faces.
        height: of a face, in pixels.
        width: likewise.
        channels: 1 to 4: grey, grey and alpha, RGB, RGBA.
        file_bytes: size of the file or files.
        pictures: source pictures that the faces come from; 0 where nothing tells.
        most_of_one: faces of the picture that gave most.
        labelled: faces with a label.
        label_width: numbers of a label.
        named: whether the columns have names; else ``tags`` has "column 0" and so on.
        tags: tag -> faces that have it, in the vocabulary's order.
        untagged: faces with a label in which nothing is set.
        tags_per_face: mean.
        combinations: different label rows.
        together: pairs far above chance, the strongest first; exclusive tags are left out.
        apart: pairs far below chance, likewise.
        scores: names of the tagger's scores, 0 where there are none.
    """

    images: int
    height: int
    width: int
    channels: int
    file_bytes: int
    pictures: int
    most_of_one: int
    labelled: int
    label_width: int
    named: bool
    tags: dict[str, int]
    untagged: int
    tags_per_face: float
    combinations: int
    together: list[Pair]
    apart: list[Pair]
    scores: int

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)


def measure(faces: FaceSet) -> Stats:
    """Count what a data set's labels and provenance say; no picture is decoded."""
    counts = Counter(key for key in map(faces.source, range(len(faces))) if key)
    labels = faces.labels
    has = np.zeros((len(faces), 0), dtype=bool) if labels is None else labels >= 0.5
    names = faces.vocabulary or Vocabulary([f"column {n}" for n in range(has.shape[1])])
    sums = has.sum(axis=0)
    together, apart = _pairs(has, names) if len(names) <= _MOST_COLUMNS else ([], [])
    per_face = has.sum(axis=1)
    height, width = faces.resolution
    return Stats(
        images=len(faces),
        height=height,
        width=width,
        channels=faces.channels,
        file_bytes=_file_bytes(faces.path),
        pictures=len(counts),
        most_of_one=max(counts.values(), default=0),
        labelled=0 if labels is None else len(labels),
        label_width=has.shape[1],
        named=faces.vocabulary is not None,
        tags={name: int(count) for name, count in zip(names.names, sums, strict=True)},
        untagged=int((per_face == 0).sum()) if labels is not None else 0,
        tags_per_face=float(per_face.mean()) if labels is not None else 0.0,
        combinations=len(np.unique(np.packbits(has, axis=1), axis=0)) if labels is not None else 0,
        together=together,
        apart=apart,
        scores=len(faces.score_names or ()),
    )


def _pairs(has: npt.NDArray[np.bool_], names: Vocabulary) -> tuple[list[Pair], list[Pair]]:
    """The pairs farthest above and below chance, by how surely they are so."""
    total = len(has)
    real = has.astype(np.float32)
    both = np.rint(real.T @ real).astype(np.int64) if total else np.zeros((0, 0), np.int64)
    single = has.sum(axis=0)
    rivals = [set(members) for members in names.exclusive.values()]
    implied = {name: set(names.with_implied([name])) for name in names.names}
    found: list[tuple[float, Pair]] = []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            expected = single[a] * single[b] / max(total, 1)
            if max(expected, both[a, b]) < _LEAST_TOGETHER or min(single[a], single[b]) == 0:
                continue
            pair_of = {names.names[a], names.names[b]}
            # What holds by the words' meaning is no news.
            if any(pair_of <= known for known in (*rivals, *(implied[name] for name in pair_of))):
                continue
            rare, other = (a, b) if single[a] <= single[b] else (b, a)
            share = both[a, b] / single[rare]
            pair = Pair(
                names.names[rare],
                names.names[other],
                int(both[a, b]),
                float(share),
                float(both[a, b] / expected),
            )
            found.append((_surely(both[a, b], single[a], single[b], total), pair))
    # The sign of phi, the correlation of two yes-or-no values, tells above from below.
    above = sorted((f for f in found if f[0] > 0), key=lambda f: (-f[0], f[1].first, f[1].second))
    below = sorted((f for f in found if f[0] < 0), key=lambda f: (f[0], f[1].first, f[1].second))
    return [p for _, p in above[:_MOST_PAIRS]], [p for _, p in below[:_MOST_PAIRS]]


def _surely(both: int, first: int, second: int, total: int) -> float:
    """Phi: -1 never together, 0 chance, 1 always together."""
    spread = float(first) * (total - first) * float(second) * (total - second)
    return 0.0 if spread == 0 else float((total * both - first * second) / spread**0.5)


def _file_bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if path.exists():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.stem}-*.tar"))
