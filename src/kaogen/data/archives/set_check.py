"""Is a data set whole? Every fault of it in one line each.

An archive is looked into entry by entry, so that one broken picture does not hide the next fault.
Sets of other kinds are read through: the first broken face ends the reading, and is the fault.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kaogen.data.archives.archive_limits import (
    EXTENSIONS,
    MAX_IMAGE_BYTES,
    MAX_JSON_BYTES,
    ZIP_ERRORS,
    decode_image,
)
from kaogen.data.archives.archive_writer import (
    LABELS_NAME,
    PROVENANCE_NAME,
    SCORE_NAMES_NAME,
    SCORES_NAME,
    STATS_NAME,
    TAGS_NAME,
)
from kaogen.data.archives.sets import decode, digest, open_set
from kaogen.data.archives.webdataset_in import ShardSet
from kaogen.errors import ArchiveError, DataError, InputError
from kaogen.tags import Vocabulary

Progress = Callable[[int, int], None]

_SHA256 = re.compile(r"[0-9a-f]{64}|")


@dataclass
class Checked:
    """What checking found.

    Attributes:
        images: pictures looked at.
        faults: one line each; none means that the set is whole.
    """

    images: int = 0
    faults: list[str] = field(default_factory=list)


def check(path: Path, progress: Progress | None = None) -> Checked:
    """Look at everything in the data set at ``path``.

    ``progress(done, total)`` is called after each picture. A set that cannot even be opened is one
    fault, not an error.
    """
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            return _check_zip(path, progress)
        return _check_other(path, progress)
    except DataError as error:
        return Checked(faults=[str(error)])


def _check_other(path: Path, progress: Progress | None) -> Checked:
    checked = Checked()
    faces = open_set(path)
    twice = _Twins()
    if isinstance(faces, ShardSet):
        checked.faults.extend(faces.broken_shards())
    try:
        for item in faces.items():
            checked.faults.extend(twice.look(item.source, digest(decode(item))))
            checked.images += 1
            if progress is not None:
                progress(checked.images, len(faces))
    except DataError as error:
        checked.faults.append(str(error))
    return checked


def _check_zip(path: Path, progress: Progress | None) -> Checked:
    checked = Checked()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _Entries(archive)
            checked.faults += entries.faults
            images = sorted(n for n in entries.infos if _is_image(n))
            if not images:
                checked.faults.append("it holds no images.")
            checked.faults += _images(entries, images, checked, progress)
            labels = _Labels(entries, images)
            checked.faults += labels.faults
            for look in (_stats, _provenance, _scores):
                checked.faults += look(entries, images, labels)
    except ZIP_ERRORS as error:
        checked.faults.append(f"the zip file cannot be read ({error}).")
    return checked


class _Entries:
    """The entries of a zip, read with a bound."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.faults: list[str] = []
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.orig_filename
            if name in self.infos:
                self.faults.append(f"{name} stands in the zip twice.")
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
                self.faults.append(f"{name} has an unsafe name.")
            self.infos[name] = info

    def read(self, name: str, limit: int) -> bytes:
        """The entry's bytes; ArchiveError with the reason when they cannot be had."""
        info = self.infos[name]
        if info.file_size > limit:
            raise ArchiveError(f"{name} is too large ({info.file_size:,} bytes).")
        try:
            with self.archive.open(info) as file:
                data = file.read(info.file_size)
        except ZIP_ERRORS as error:
            raise ArchiveError(f"{name} cannot be read ({error}).") from error
        if len(data) != info.file_size:
            raise ArchiveError(f"{name} is cut short.")
        return data

    def json(self, name: str) -> Any:
        """The entry as JSON; None where there is no such entry."""
        if name not in self.infos:
            return None
        try:
            return json.loads(self.read(name, MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise ArchiveError(f"{name} is not valid JSON ({error}).") from error


class _Twins:
    """Tells pictures whose pixels were there before."""

    def __init__(self) -> None:
        self.first: dict[bytes, str] = {}

    def look(self, name: str, pixels: bytes) -> Iterator[str]:
        earlier = self.first.setdefault(pixels, name)
        if earlier is not name:
            yield f"{name} is the same picture as {earlier}."


def _images(
    entries: _Entries, images: list[str], checked: Checked, progress: Progress | None
) -> Iterator[str]:
    twins, first = _Twins(), None
    for name in images:
        try:
            pixels = decode_image(entries.read(name, MAX_IMAGE_BYTES), name)
        except ArchiveError as error:
            yield str(error)
        else:
            first = first or (name, pixels.shape)
            if pixels.shape != first[1]:
                yield f"{name} is {_size(pixels.shape)}; {first[0]} is {_size(first[1])}."
            yield from twins.look(name, digest(pixels))
        checked.images += 1
        if progress is not None:
            progress(checked.images, len(images))


class _Labels:
    """The labels and the names of their columns, with what is wrong about them."""

    def __init__(self, entries: _Entries, images: list[str]) -> None:
        self.vocabulary: Vocabulary | None = None
        self.rows: dict[str, list[float]] = {}
        self.faults = [*self._read_names(entries), *self._read_rows(entries, images)]

    def _read_names(self, entries: _Entries) -> Iterator[str]:
        try:
            told = entries.json(TAGS_NAME)
            if told is not None:
                self.vocabulary = Vocabulary([str(name) for name in told["tags"]])
        except ArchiveError as error:
            yield str(error)
        except (TypeError, KeyError, InputError) as error:
            yield f"{TAGS_NAME} is no vocabulary ({error})."

    def _read_rows(self, entries: _Entries, images: list[str]) -> Iterator[str]:
        try:
            told = entries.json(LABELS_NAME)
            rows = told["labels"] if told is not None else None
            given = Counter(str(row[0]) for row in rows or ())
            by_name = {str(row[0]): row[1] for row in rows or ()}
        except ArchiveError as error:
            yield str(error)
            return
        except (TypeError, KeyError, IndexError) as error:
            yield f"{LABELS_NAME} does not list labels ({type(error).__name__})."
            return
        if not by_name:
            return
        yield from _apart(images, by_name, "label")
        yield from (f"{name} has {n} labels." for name, n in given.items() if n > 1)
        yield from self._check_rows(by_name)

    def _check_rows(self, by_name: Mapping[str, Any]) -> Iterator[str]:
        classes = not any(isinstance(row, list) for row in by_name.values())
        width = len(self.vocabulary) if self.vocabulary is not None else None
        for name, row in by_name.items():
            values = [row] if classes else row
            if not isinstance(values, list) or not all(_is_number(v) for v in values):
                yield f"the label of {name} is not made of numbers."
                continue
            self.rows[name] = values
            if classes:
                if values[0] < 0 or values[0] % 1:
                    yield f"the label of {name} is no class number."
                continue
            width = len(values) if width is None else width
            if len(values) != width:
                yield f"the label of {name} has {len(values)} numbers instead of {width}."
            elif self.vocabulary is not None and not all(0 <= v <= 1 for v in values):
                yield f"the label of {name} has numbers beyond 0 to 1."


def _stats(entries: _Entries, images: list[str], labels: _Labels) -> Iterator[str]:
    try:
        told = entries.json(STATS_NAME)
    except ArchiveError as error:
        yield str(error)
        return
    if told is None:
        return
    if not isinstance(told, dict):
        yield f"{STATS_NAME} holds no counts."
        return
    for key, count in (("images", len(images)), ("labelled", len(labels.rows))):
        if told.get(key) != count:
            yield f"{STATS_NAME} says {told.get(key)} {key}; there are {count}."
    if labels.vocabulary is None or not isinstance(told.get("tags"), dict):
        return
    fitting = [row for row in labels.rows.values() if len(row) == len(labels.vocabulary)]
    sums = (np.array(fitting, dtype=np.float32) >= 0.5).sum(axis=0) if fitting else []
    for name, count in zip(labels.vocabulary.names, sums, strict=False):
        if told["tags"].get(name) != count:
            yield f'{STATS_NAME} says "{name}" {told["tags"].get(name)} times; it is {count}.'


def _provenance(entries: _Entries, images: list[str], labels: _Labels) -> Iterator[str]:
    del labels
    try:
        told = entries.json(PROVENANCE_NAME)
    except ArchiveError as error:
        yield str(error)
        return
    if told is None:
        return
    rows = told.get("files") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        yield f"{PROVENANCE_NAME} lists no files."
        return
    named: dict[str, None] = {}
    for row in rows:
        fits = isinstance(row, list) and len(row) >= 3 and all(isinstance(v, str) for v in row[:3])
        if not fits or not _SHA256.fullmatch(row[2]):
            yield f"{PROVENANCE_NAME}: a row is not entry, source, SHA-256: {str(row)[:80]}."
        else:
            named[row[0]] = None
    yield from _apart(images, named, f"source in {PROVENANCE_NAME}")


def _scores(entries: _Entries, images: list[str], labels: _Labels) -> Iterator[str]:
    del labels
    held = [name in entries.infos for name in (SCORES_NAME, SCORE_NAMES_NAME)]
    if not any(held):
        return
    if not all(held):
        yield f"of {SCORES_NAME} and {SCORE_NAMES_NAME} only one is there."
        return
    try:
        names = entries.json(SCORE_NAMES_NAME)["names"]
        limit = 2 * len(images) * len(names) + 4096
        table = np.load(io.BytesIO(entries.read(SCORES_NAME, limit)), allow_pickle=False)
    except ArchiveError as error:
        yield str(error)
        return
    except (TypeError, KeyError, ValueError, EOFError, OSError) as error:
        yield f"{SCORES_NAME} cannot be read ({error})."
        return
    if table.dtype != np.float16 or table.shape != (len(images), len(names)):
        fit = (len(images), len(names))
        yield f"{SCORES_NAME} is {table.dtype} {table.shape}, not float16 {fit}."
    elif not ((table >= 0) & (table <= 1) | np.isnan(table)).all():
        yield f"{SCORES_NAME} has scores beyond 0 to 1."


def _apart(images: list[str], named: Collection[str], what: str) -> Iterator[str]:
    here = set(images)
    yield from (f"{name} has no {what}." for name in images if name not in named)
    yield from (f"{name} has a {what}, but is not there." for name in named if name not in here)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} x {shape[2]}"
