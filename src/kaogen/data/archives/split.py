"""One data set -> two: faces to train on, and faces held out.

Faces of one source picture always stay together: held-out faces must be new to the model. Which
ones are held out depends only on the seed and on what the pictures are, not on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.data.archives.convert import Progress, check_outputs, told, write_set
from kaogen.data.archives.sets import FaceSet, open_set
from kaogen.data.archives.webdataset_out import SHARD_SIZE
from kaogen.errors import ConfigError, DataError

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """What came of splitting.

    Attributes:
        train: faces of the first set.
        rest: faces held out.
        pictures: source pictures that they come from, or faces where nothing tells.
        shares: tag -> its shares in the two sets, 0 to 1, in the vocabulary's order.
    """

    train: int
    rest: int
    pictures: int
    shares: dict[str, tuple[float, float]]


def split(
    path: Path,
    train: Path,
    rest: Path,
    *,
    held_out: float = 0.1,
    seed: int = 0,
    balance: bool = False,
    shard_size: int = SHARD_SIZE,
    progress: Progress | None = None,
) -> Split:
    """Write most faces of the set at ``path`` as ``train`` and the others as ``rest``.

    Args:
        path: the set.
        train: ``.zip`` or ``.tar``, as in :func:`~kaogen.data.archives.convert.convert`.
        rest: likewise.
        held_out: share of the faces that go to ``rest``, between 0 and 1.
        seed: another seed holds out other faces.
        balance: deal the faces so that every tag has the same share in both sets, the rarest
            first; else they fall by chance.
        shard_size: faces of a WebDataset shard.
        progress: called with (done, total) after each face.

    Raises:
        DataError: the set cannot be read, written or split so.
        ConfigError: an option that cannot be.
    """
    check_outputs([train, rest], [path])
    if not 0 < held_out < 1:
        raise ConfigError(f"--held-out {held_out} is no share.", hint="Such as 0.1 for a tenth.")
    faces = open_set(path)
    if balance and faces.labels is None:
        raise DataError(f"{path} has no labels to balance.", hint="Split it without --balance.")
    groups = _groups(faces, seed)
    wanted = round(held_out * len(faces))
    chosen = _balanced(faces, groups, held_out) if balance else _first(groups, wanted)
    if not 0 < len(chosen) < len(faces):
        raise DataError(
            f"{path}: {len(faces):,} faces of {len(groups):,} source pictures cannot be split "
            f"{1 - held_out:.0%} to {held_out:.0%}."
        )
    parts = ([n for n in range(len(faces)) if n not in chosen], sorted(chosen))
    terms = {"held_out": held_out, "seed": seed, "balance": balance}
    _write(faces, (train, rest), parts, terms, shard_size, progress)
    return Split(len(parts[0]), len(parts[1]), len(groups), _shares(faces, parts))


def _write(
    faces: FaceSet,
    outs: tuple[Path, Path],
    parts: tuple[list[int], list[int]],
    terms: dict[str, Any],
    shard_size: int,
    progress: Progress | None,
) -> None:
    origin, done = faces.describe(), 0

    def count(_: int, __: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(faces))

    for out, part, name in zip(outs, parts, ("train", "rest"), strict=True):
        provenance = {"split": {**terms, "part": name, "of": origin}}
        items = told(faces.items(part), len(part), count)
        write_set(
            out, items, faces.vocabulary, provenance, faces.score_names, shard_size=shard_size
        )


def _groups(faces: FaceSet, seed: int) -> list[list[int]]:
    """The faces of each source picture, in an order that only the seed and the pictures decide."""
    found: dict[str, list[int]] = {}
    for index in range(len(faces)):
        found.setdefault(faces.source(index) or f"face {index}", []).append(index)

    def order(key: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()

    return [found[key] for key in sorted(found, key=order)]


def _first(groups: Sequence[Sequence[int]], wanted: int) -> set[int]:
    """As many of the groups, from the first on, as come nearest to ``wanted`` faces."""
    chosen: set[int] = set()
    for group in groups:
        if len(chosen) + len(group) / 2 > wanted:
            break
        chosen.update(group)
    return chosen


def _balanced(faces: FaceSet, groups: Sequence[Sequence[int]], share: float) -> set[int]:
    """Faces to hold out so that each tag has the same share on both sides.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the groups of the rarest tag
    are dealt first, each to the side that still lacks it most; then those of the next.
    """
    labels = faces.labels
    assert labels is not None
    has = labels >= 0.5
    counts: Sums = np.array([has[list(group)].sum(axis=0) for group in groups], dtype=np.float64)
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    total = counts.sum(axis=0)
    # What each side still lacks: of every tag, and of faces. Row 0 trains, row 1 is held out.
    sides = np.array([[1 - share], [share]])
    lacks: Sums = sides * total
    room: Sums = sides[:, 0] * sizes.sum()
    waiting = np.ones(len(groups), dtype=bool)
    chosen: set[int] = set()
    order = np.argsort(total, kind="stable")
    members = [np.flatnonzero(counts[:, tag]) for tag in order if total[tag]]
    for tag, places in [*zip(order[total[order] > 0], members, strict=True), (None, None)]:
        for place in np.flatnonzero(waiting) if places is None else places[waiting[places]]:
            need = room if tag is None else lacks[:, tag]
            # Relative to what the side gets in all, so that both fill up alike.
            side = int(_fuller(need / sides[:, 0], room / sides[:, 0]))
            lacks[side] -= counts[place]
            room[side] -= sizes[place]
            waiting[place] = False
            if side == 1:
                chosen.update(groups[place])
    return chosen


def _fuller(need: Sums, room: Sums) -> bool:
    """Whether the second side lacks more; where both lack the same, whether it has more room."""
    return bool(need[1] > need[0]) if need[0] != need[1] else bool(room[1] > room[0])


def _shares(faces: FaceSet, parts: tuple[list[int], list[int]]) -> dict[str, tuple[float, float]]:
    if faces.labels is None or faces.vocabulary is None:
        return {}
    train, rest = ((faces.labels[part] >= 0.5).mean(axis=0) for part in parts)
    rows = zip(faces.vocabulary.names, train, rest, strict=True)
    return {name: (float(here), float(there)) for name, here, there in rows}
