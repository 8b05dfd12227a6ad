"""Several data sets -> one: their faces one after another, without duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kaogen.data.archives.archive import Item
from kaogen.data.archives.convert import Progress, check_outputs, told, write_set
from kaogen.data.archives.sets import FaceSet, decode, digest, open_set
from kaogen.data.archives.webdataset_out import SHARD_SIZE
from kaogen.errors import DataError, LabelError
from kaogen.tags import Vocabulary

Rule = Literal["same", "all", "common"]


@dataclass
class Merged:
    """What came of merging.

    Attributes:
        taken: faces of each set that were taken, in the order of the sets.
        same_picture: faces left out because an earlier set has their source picture.
        same_pixels: faces left out because there is one with the very same pixels.
        missing: set -> the tags that it does not know, which count as absent there.
        scores: whether the scores were kept.
        scores_lost: some sets had scores, but not all the same ones, so none were kept.
        vocabulary: the tags of the new set.
    """

    taken: list[tuple[Path, int]] = field(default_factory=list)
    same_picture: int = 0
    same_pixels: int = 0
    missing: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    scores: bool = False
    scores_lost: bool = False
    vocabulary: Vocabulary | None = None

    @property
    def images(self) -> int:
        """Faces of the new set."""
        return sum(count for _, count in self.taken)


def merge(
    paths: Sequence[Path],
    out: Path,
    *,
    tags: Rule = "same",
    keep_duplicates: bool = False,
    shard_size: int = SHARD_SIZE,
    progress: Progress | None = None,
) -> Merged:
    """Write the faces of several sets, one after another, as the new set ``out``.

    Args:
        paths: the sets, of one resolution and all labelled or all unlabelled.
        out: ``.zip`` or ``.tar``, as in :func:`convert`.
        tags: what becomes of different vocabularies. "same" refuses them (another order of the
            same tags is fine); "all" takes every tag, absent where a set does not know it;
            "common" takes those that all sets know.
        keep_duplicates: else a face is left out when an earlier set has a face of the same source
            picture (by its SHA-256), or any earlier face has the same pixels.
        shard_size: faces of a WebDataset shard.
        progress: called with (done, total) after each face.

    Raises:
        DataError: a set cannot be read, or they do not fit together.
        ConfigError: an option that cannot be.
    """
    check_outputs([out], paths)
    sets = [open_set(path) for path in paths]
    _check_alike(sets)
    report = Merged(vocabulary=_vocabulary(sets, tags, paths))
    names = sets[0].score_names
    report.scores = all(_same(faces.score_names, names) for faces in sets) and names is not None
    report.scores_lost = not report.scores and any(faces.score_names for faces in sets)
    origins: list[dict[str, Any]] = []  # still growing; written after the last face
    items = _joined(sets, report, names, None if keep_duplicates else _Seen(report), origins)
    total = sum(len(faces) for faces in sets)
    kept = (item for item in told(items, total, progress) if item is not _LEFT_OUT)
    score_names = names if report.scores else None
    provenance = {"merged": origins}
    write_set(out, kept, report.vocabulary, provenance, score_names, shard_size=shard_size)
    return report


def _joined(
    sets: Sequence[FaceSet],
    report: Merged,
    score_names: tuple[str, ...] | None,
    seen: _Seen | None,
    origins: list[dict[str, Any]],
) -> Iterator[Item]:
    """The faces of all sets, with ``_LEFT_OUT`` in the place of duplicates."""
    for faces in sets:
        pick = _Columns(faces, report, score_names)
        first, count = report.images, 0
        for item in faces.items():
            if seen is None or seen.is_new(item):
                count += 1
                yield pick(item)
            else:
                yield _LEFT_OUT
        if seen is not None:
            seen.next_set()
        report.taken.append((faces.path, count))
        origins.append(faces.describe() | {"first": first, "taken": count})


# Stands for a face that is left out, so that progress counts it.
_LEFT_OUT = Item(b"")


class _Seen:
    """Tells faces that are there already; counts them in the report."""

    def __init__(self, report: Merged) -> None:
        self.report = report
        self.earlier: set[str] = set()
        self.now: set[str] = set()
        self.pixels: set[bytes] = set()

    def is_new(self, item: Item) -> bool:
        if item.sha256 and item.sha256 in self.earlier:
            self.report.same_picture += 1
            return False
        pixels = digest(decode(item))
        if pixels in self.pixels:
            self.report.same_pixels += 1
            return False
        self.pixels.add(pixels)
        self.now.add(item.sha256)
        return True

    def next_set(self) -> None:
        # Several faces of one picture are no duplicates within the set that found them.
        self.earlier |= self.now
        self.now = set()


class _Columns:
    """Puts a set's labels and scores into the new set's order."""

    def __init__(self, faces: FaceSet, report: Merged, score_names: tuple[str, ...] | None) -> None:
        new, old = report.vocabulary, faces.vocabulary
        self.label: list[int | None] | None = None
        if new is not None and old is not None and new != old:
            self.label = [old.index(name) if name in old else None for name in new.names]
            unknown = tuple(name for name in new.names if name not in old)
            if unknown:
                report.missing[faces.path] = unknown
        self.keep_scores = report.scores
        self.scores: list[int] | None = None
        if report.scores and faces.score_names != score_names:
            self.scores = [(faces.score_names or ()).index(name) for name in score_names or ()]

    def __call__(self, item: Item) -> Item:
        label, scores = item.label, item.scores
        if self.label is not None and label is not None:
            label = [0.0 if place is None else label[place] for place in self.label]
        if not self.keep_scores:
            scores = None
        elif self.scores is not None and scores is not None:
            scores = [float(scores[place]) for place in self.scores]
        return replace(item, label=label, scores=scores)


def _check_alike(sets: Sequence[FaceSet]) -> None:
    first = sets[0]
    for faces in sets[1:]:
        here, there = (_shape(s) for s in (first, faces))
        if here != there:
            raise DataError(
                f"{first.path} has faces of {here}, {faces.path} of {there}.",
                hint="`kaogen data convert --size` makes them alike.",
            )
        if (first.labels is None) != (faces.labels is None):
            bare = first if first.labels is None else faces
            raise LabelError(
                f"{bare.path} has no labels, the others have.",
                hint="Label all sets or none: `kaogen prepare --tagger builtin` labels faces.",
            )


def _shape(faces: FaceSet) -> str:
    return f"{faces.resolution[1]} x {faces.resolution[0]} x {faces.channels}"


def _vocabulary(sets: Sequence[FaceSet], rule: Rule, paths: Sequence[Path]) -> Vocabulary | None:
    """The new set's tags, or LabelError in one line when there is no such."""
    first = sets[0]
    if first.labels is None:
        return None
    known = [faces.vocabulary for faces in sets]
    if all(vocabulary is None for vocabulary in known):
        widths = {0 if faces.labels is None else faces.labels.shape[1] for faces in sets}
        if len(widths) > 1:
            raise LabelError("the sets' labels have different lengths and no names.")
        return None
    named: list[Vocabulary] = []
    for path, vocabulary in zip(paths, known, strict=True):
        if vocabulary is None:
            raise LabelError(f"{path} does not name its labels, the others do.")
        named.append(vocabulary)
    everything = list(dict.fromkeys(name for vocabulary in named for name in vocabulary.names))
    shared = [name for name in everything if all(name in vocabulary for vocabulary in named)]
    if rule == "same" and len(shared) < len(everything):
        apart = [name for name in everything if name not in shared]
        listed = ", ".join(apart[:5]) + (" ..." if len(apart) > 5 else "")
        raise LabelError(
            f"the sets have different tags: {len(shared)} are in all of them, not so {listed}.",
            hint="--tags all takes all (absent where a set does not know it); --tags common, "
            "those in every set.",
        )
    if not shared and rule == "common":
        raise LabelError("no tag is in all of the sets.")
    return Vocabulary(everything if rule == "all" else shared)


def _same(names: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    return names is not None and others is not None and sorted(names) == sorted(others)
