"""A tagged set of faces as one table: which face shows which tag, and how well that is known.

Read from an archive (labels, scores), a CSV ``file,tags``, sidecars, or by asking a tagger. Of sets
of more than 50,000 faces an even sample is taken.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kaogen.data.archives.archive import Archive
from kaogen.data.inputs.sidecars import read_sidecar
from kaogen.data.inputs.sources import Source, open_source
from kaogen.data.tagging.foreign_tags import may_be_a_name, plain_name
from kaogen.data.tagging.onnx_taggers import LAYOUTS
from kaogen.data.tagging.tag_rules import TagRule, read_exclusive
from kaogen.data.tagging.taggers import AnyTagger
from kaogen.errors import ArchiveError, DataError, ImageError, LabelError
from kaogen.images import read_image
from kaogen.tags import EXTRA_TAGS, PAPER_TAGS, Vocabulary, fold

Progress = Callable[[int, int], None]
Pixels = npt.NDArray[np.uint8]
Column = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Shown = npt.NDArray[np.bool_]

_MOST_FACES = 50_000
_MOST_TAGS = 1_000
_CHUNK = 32
# What a slightly tighter crop keeps of height and width.
_TIGHT = 0.84
_MOST_TIGHT = 500
_FEW = 5


@dataclass(frozen=True)
class Tagged:
    """N faces and T tags.

    Attributes:
        source: what was read, in words.
        total: faces of the set, of which N were looked at.
        names: the tags.
        shown: bool ``[N, T]``, which face shows which tag.
        share: float64 ``[T]``, of all faces that are tagged, how many show each tag.
        sure: float64 ``[T]``, agreement of the scores with what is shown, as :func:`agreement`
            counts it; NaN where no tagger said anything.
        holds: float64 ``[T]``, how many faces still show the tag when cropped tighter by a sixth;
            NaN where fewer than five could tell, or nothing was tried.
    """

    source: str
    total: int
    names: tuple[str, ...]
    shown: Shown
    share: Column
    sure: Column
    holds: Column


def read_tagged(
    path: Path,
    tagger: AnyTagger | None = None,
    *,
    look: int = 1000,
    progress: Progress | None = None,
) -> Tagged:
    """Read the tagged set at ``path``; a tagger looks at ``look`` of its faces.

    Raises:
        DataError: nothing is there that tells tags.
    """
    if path.suffix.lower() == ".csv" and tagger is None:
        return _from_rows(_csv_rows(path), path.name)
    archive = _archive(path)
    if archive is not None:
        known = _from_archive(archive)
        if tagger is None:
            if known is None:
                raise DataError(f"{path} has neither labels nor scores.", hint="Add --tagger.")
            return known
        places = _even(len(archive), look)
        faces = (_rgb(archive.image(i)) for i in places)
        seen, scores = _look(faces, len(places), tagger, progress)
        seen = replace(seen, source=path.name, total=len(archive))
        return _joined(known, places, seen, scores)
    source = open_source(path)
    if tagger is None:
        return _from_rows(_sidecar_rows(source, progress), path.name)
    names = [source.names[i] for i in _even(len(source.names), look)]
    seen, _ = _look(_pictures(source, names), len(names), tagger, progress)
    return replace(seen, source=path.name, total=len(source.names))


def _archive(path: Path) -> Archive | None:
    """The archive at ``path``; None when it is no kaogen archive, but a zip of pictures perhaps."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        return None
    try:
        archive = Archive.open(path)
    except ArchiveError:
        return None
    return archive if archive.labels is not None or archive.scores() is not None else None


def _from_archive(archive: Archive) -> Tagged | None:
    places = _even(len(archive), _MOST_FACES)
    labels, vocabulary, told = archive.labels, archive.vocabulary, archive.scores()
    names: tuple[str, ...] = ()
    parts: list[Shown] = []
    if labels is not None and vocabulary is not None:
        names, parts = vocabulary.names, [labels[places] >= 0.5]
    scores = np.full((len(places), len(names)), np.nan, np.float32)
    if told is not None:
        learnt, threshold = _provenance(archive)
        given = told[1][places].astype(np.float32)
        given[:, [learnt is not None and name not in learnt for name in told[0]]] = np.nan
        new = [i for i, name in enumerate(told[0]) if name not in names]
        rules = [TagRule(name, threshold, None, learnt=True) for name in told[0]]
        parts.append(read_shown(given, rules)[:, new])
        names = (*names, *(told[0][i] for i in new))
        scores = np.full((len(places), len(names)), np.nan, np.float32)
        scores[:, [names.index(name) for name in told[0]]] = given
    if not parts:
        return None
    shown = np.concatenate(parts, axis=1)
    return _table(archive.path.name, len(archive), names, shown, agreement(shown, scores))


def _provenance(archive: Archive) -> tuple[frozenset[str] | None, float]:
    """The tags that the archive's tagger has learnt, and the threshold of its family."""
    said = (archive.provenance() or {}).get("tagger")
    said = said if isinstance(said, dict) else {}
    learnt = said.get("learnt")
    families = {layout.name: layout.threshold for layout in LAYOUTS}
    threshold = families.get(str(said.get("layout")), 0.5)
    return frozenset(map(str, learnt)) if isinstance(learnt, list) else None, threshold


def read_shown(scores: Scores, rules: Sequence[TagRule]) -> Shown:
    """Which tags rows of scores ``[N, T]`` mean, all at once: thresholds; the best of a group."""
    known = np.nan_to_num(scores, nan=0.0)
    shown: Shown = known >= np.array([rule.threshold for rule in rules])
    rows = np.arange(len(known))
    for group in read_exclusive([rule.name for rule in rules]).values():
        columns = np.array(group)
        best = columns[np.argmax(known[:, columns], axis=1)]
        shown[:, columns] = False
        shown[rows, best] = known[rows, best] > 0
    return shown


def _csv_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "tags" not in (reader.fieldnames or ()):
                raise LabelError(f"{path} has no header line `file,tags`.")
            return [(row["tags"] or "").split("|") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} cannot be read as CSV ({error}).") from error


def _sidecar_rows(source: Source, progress: Progress | None) -> list[list[str]]:
    rows = []
    names = [source.names[i] for i in _even(len(source.names), _MOST_FACES)]
    for done, name in enumerate(names, 1):
        words = read_sidecar(source, name)
        if words is not None and words.words:
            rows.append(list(words.words))
        if progress is not None:
            progress(done, len(names))
    return rows


def _from_rows(rows: Sequence[Sequence[str]], source: str) -> Tagged:
    """Words as people wrote them; the 1,000 most frequent tags among them."""
    known = Vocabulary([*PAPER_TAGS, *EXTRA_TAGS])
    names: dict[str, str | None] = {}

    def name_of(word: str) -> str | None:
        key = fold(word)
        if key not in names:
            plain = plain_name(word).lower()
            names[key] = known.find(word) or (plain if may_be_a_name(plain) else None)
        return names[key]

    sets = [{name for word in row if (name := name_of(word))} for row in rows]
    sets = [{*tags, *known.with_implied(tags & {*known.names})} for tags in sets]
    total = len(sets)
    sets = [sets[i] for i in _even(total, _MOST_FACES)]
    if not any(sets):
        raise DataError(
            f"{source} tells no tags.", hint="It needs sidecars, a CSV `file,tags` or --tagger."
        )
    counts = Counter(name for tags in sets for name in tags)
    kept = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_TAGS]
    column = {name: i for i, name in enumerate(kept)}
    shown = np.zeros((len(sets), len(kept)), dtype=np.bool_)
    for row, tags in zip(shown, sets, strict=True):
        row[[column[name] for name in tags if name in column]] = True
    return _table(source, total, tuple(kept), shown)


def _pictures(source: Source, names: Sequence[str]) -> Iterable[Pixels | None]:
    for name in names:
        try:
            yield read_image(source.read(name))
        except ImageError:
            yield None


def _look(
    faces: Iterable[Pixels | None], count: int, tagger: AnyTagger, progress: Progress | None
) -> tuple[Tagged, Scores]:
    """What a tagger says of faces; ``None`` among them is one that could not be read."""
    column = {name: i for i, name in enumerate(tagger.names)}
    scores: list[Scores] = []
    shown: list[Shown] = []
    tight: list[Shown] = []

    def ask(batch: list[Pixels]) -> tuple[Scores, Shown]:
        given = tagger.scores(batch)
        table = np.zeros(given.shape, dtype=np.bool_)
        for out, row in zip(table, given, strict=True):
            out[[column[name] for name, _ in tagger.tags(row)]] = True
        return given, table

    batch: list[Pixels] = []
    for done, face in enumerate(faces, 1):
        if face is not None:
            batch.append(face)
        if len(batch) == _CHUNK or (batch and done == count):
            given, table = ask(batch)
            if sum(map(len, tight)) < _MOST_TIGHT:
                tight.append(ask([_tighter(face) for face in batch])[1])
            scores.append(given)
            shown.append(table)
            batch = []
        if progress is not None:
            progress(done, count)
    if not shown:
        raise DataError("no picture could be read.")
    every, table = np.concatenate(scores), np.concatenate(shown)
    every[:, [not rule.learnt for rule in tagger.rules]] = np.nan
    holds = _holds(table, np.concatenate(tight))
    return _table("", count, tagger.names, table, agreement(table, every), holds), every


def _rgb(image: Pixels) -> Pixels:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]


def _tighter(face: Pixels) -> Pixels:
    height, width = face.shape[:2]
    y, x = round(height * (1 - _TIGHT) / 2), round(width * (1 - _TIGHT) / 2)
    return np.ascontiguousarray(face[y : height - y, x : width - x])


def _holds(shown: Shown, tight: Shown) -> Column:
    before = shown[: len(tight)]
    count, kept = before.sum(axis=0), (before & tight).sum(axis=0)
    return np.where(count >= _FEW, kept / np.maximum(count, 1), np.nan)


def agreement(shown: Shown, scores: Scores) -> Column:
    """How well scores and what is shown agree, ``[T]`` in [0, 1]: the F1 of one given the other.

    Scores are taken as probabilities p, what is shown as s: 2 sum(p s) / (sum(p) + sum(s)). Where
    the same tagger gave both, that is the F1 which it expects of itself; where people said what is
    shown, it is low for what the tagger cannot see in the crop. NaN where a tag has no scores.
    """
    said = ~np.isnan(scores)
    p = np.where(said, scores, 0).astype(np.float64)
    s = shown & said
    both = 2 * (p * s).sum(axis=0)
    every = p.sum(axis=0) + s.sum(axis=0)
    return np.where(said.any(axis=0), both / np.maximum(every, 1e-9), np.nan)


def _table(
    source: str,
    total: int,
    names: tuple[str, ...],
    shown: Shown,
    sure: Column | None = None,
    holds: Column | None = None,
) -> Tagged:
    nothing = np.full(len(names), np.nan)
    share = shown.mean(axis=0, dtype=np.float64)
    return Tagged(
        source,
        total,
        names,
        shown,
        share,
        nothing if sure is None else sure,
        nothing if holds is None else holds,
    )


def _joined(
    known: Tagged | None, places: npt.NDArray[np.intp], seen: Tagged, scores: Scores
) -> Tagged:
    """Labels say what is shown and how often, where there are any; the tagger adds the rest."""
    if known is None or known.total != len(known.shown):
        return seen
    names = tuple(dict.fromkeys((*known.names, *seen.names)))
    at = [names.index(name) for name in seen.names]
    shown = np.zeros((len(places), len(names)), dtype=np.bool_)
    shown[:, at] = seen.shown
    shown[:, : len(known.names)] = known.shown[places]
    given = np.full(shown.shape, np.nan, np.float32)
    given[:, at] = scores
    holds = np.full(len(names), np.nan)
    holds[at] = seen.holds
    share = shown.mean(axis=0, dtype=np.float64)
    share[: len(known.names)] = known.share
    return Tagged(seen.source, seen.total, names, shown, share, agreement(shown, given), holds)


def _even(count: int, most: int) -> npt.NDArray[np.intp]:
    """At most ``most`` places of ``count``, evenly spread."""
    if count <= most:
        return np.arange(count, dtype=np.intp)
    return (np.arange(most) * count // most).astype(np.intp)
