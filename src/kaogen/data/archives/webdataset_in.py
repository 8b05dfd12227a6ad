"""WebDataset shards as a data set: ours with all that their index tells, others' as they are.

A face is a picture and the ``.json`` of the same key. Of others' shards the JSON's ``label`` (a
list of numbers) or a ``.cls`` (a class number) are taken as the label; of ours, the index beside
the shards names the columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kaogen.data.archives.archive_writer import Item
from kaogen.data.archives.sets import FaceSet, Labels, Scores, read_box
from kaogen.data.archives.webdataset_out import INDEX_FORMAT
from kaogen.data.inputs.sources import Source, open_source
from kaogen.data.inputs.webdataset import TarSource
from kaogen.errors import ArchiveError, ConfigError, DataError, ImageError
from kaogen.images import read_image
from kaogen.tags import Vocabulary

_LARGEST_INDEX = 64 * 2**20
_MOST_COLUMNS = 65536


class ShardSet(FaceSet):
    """WebDataset shards: one tar, a folder of tars, a pattern, or the name given when writing.

    All JSON is read on opening, for the labels; the pictures one by one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards, told = _open(path)
        self.told = told
        if not self.shards.names:
            raise ArchiveError(f"{path} holds no pictures.")
        if told is not None and told.get("images") != len(self.shards.names):
            raise ArchiveError(
                f"{path} holds {len(self.shards.names):,} faces, its index names "
                f"{told.get('images')}.",
                hint="Is a shard missing?",
            )
        first = self._pixels(0)
        super().__init__(
            path,
            "WebDataset",
            (first.shape[0], first.shape[1]),
            3,
            vocabulary=_vocabulary(path, told),
            labels=self._labels(),
            score_names=_names((told or {}).get("score_names")),
        )
        if self.vocabulary is not None and (
            self.labels is None or self.labels.shape[1] != len(self.vocabulary)
        ):
            raise ArchiveError(f"{path}: the labels do not fit the {len(self.vocabulary)} tags.")

    def __len__(self) -> int:
        return len(self.shards.names)

    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """The faces; what is stored is encoded anew."""
        for index in range(len(self)) if indices is None else indices:
            name = self.shards.names[index]
            pixels = self._pixels(index)
            if pixels.shape[:2] != self.resolution:
                raise ArchiveError(
                    f"{self.path}: {name} is {pixels.shape[1]} x {pixels.shape[0]}, the first "
                    f"{self.resolution[1]} x {self.resolution[0]}.",
                    hint="All images of a data set have one size; `kaogen prepare` makes them so.",
                )
            told = self._json(index)
            source, digest = told.get("source"), told.get("sha256")
            yield Item(
                pixels,
                label=self.label(index),
                source=source if isinstance(source, str) else name,
                sha256=digest if isinstance(digest, str) else self._digest(name),
                scores=self._scores(told, name),
                box=read_box(told.get("box")),
            )

    def broken_shards(self) -> Iterator[str]:
        """The shards that are not, bit for bit, what the index says; one line each."""
        folder = self.path if self.path.is_dir() else self.path.parent
        for told in (self.told or {}).get("shards", []):
            name = Path(str(told.get("name"))).name
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != told.get("sha256"):
                    yield f"{name} is not what its index says: its SHA-256 differs."

    def describe(self) -> dict[str, Any]:
        """What tells the shards, and the provenance that their index keeps."""
        described: dict[str, Any] = {
            **self.shards.describe(),
            "kind": self.kind,
            "images": len(self),
        }
        if self.told is not None:
            described["provenance"] = self.told.get("provenance")
        return described

    def source(self, index: int) -> str:
        """The source picture's SHA-256 or name, as the JSON tells it."""
        told = self._json(index)
        return str(told.get("sha256") or told.get("source") or "")

    def _pixels(self, index: int) -> Any:
        name = self.shards.names[index]
        try:
            return read_image(self.shards.read(name))
        except ImageError as error:
            raise ArchiveError(f"{self.path}: {name}: {error.message}") from error

    def _digest(self, name: str) -> str:
        return hashlib.sha256(self.shards.read(name)).hexdigest()

    def _json(self, index: int) -> dict[str, Any]:
        name = self.shards.names[index]
        data = self.shards.sidecar(name, ".json")
        if data is None:
            return {}
        try:
            told = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArchiveError(f"{self.path}: the JSON of {name} is broken ({error}).") from error
        return told if isinstance(told, dict) else {}

    def _labels(self) -> Labels | None:
        rows: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        classes: list[int] = []
        for index, name in enumerate(self.shards.names):
            told = self._json(index)
            label = told.get("label")
            one = _class(self.shards.sidecar(name, ".cls")) if label is None else label
            if isinstance(label, list):
                rows.append(_row(label, self.path, name))
            elif isinstance(one, int) and 0 <= one < _MOST_COLUMNS:
                classes.append(one)
        if not rows and not classes:
            return None
        if len(rows) not in (0, len(self.shards.names)) or (rows and classes):
            raise ArchiveError(f"{self.path}: some faces have labels and some have not.")
        if rows:
            widths = {len(row) for row in rows}
            if len(widths) > 1:
                raise ArchiveError(f"{self.path}: its labels have different lengths.")
            return np.stack(rows)
        if len(classes) != len(self.shards.names):
            raise ArchiveError(f"{self.path}: some faces have a class and some have not.")
        table = np.zeros((len(classes), max(classes) + 1), dtype=np.float32)
        table[np.arange(len(classes)), classes] = 1
        return table

    def _scores(self, told: dict[str, Any], name: str) -> Scores | None:
        scores = told.get("scores")
        if self.score_names is None or not isinstance(scores, list):
            return None
        if len(scores) != len(self.score_names):
            raise ArchiveError(f"{self.path}: {name} has {len(scores)} scores.")
        return _row(scores, self.path, name).astype(np.float16)


def _open(path: Path) -> tuple[Source, dict[str, Any] | None]:
    """The tars, and what the index beside them says, if they are ours."""
    index = path.with_suffix(".json")
    if path.is_dir():
        found = [index for index in sorted(path.glob("*.json")) if _index(index) is not None]
        if len(found) > 1:
            raise DataError(
                f"{path} holds several data sets, such as {found[0].name} and {found[1].name}.",
                hint=f"Name one: {found[0].with_suffix('.tar')}",
            )
        if not found:
            return open_source(path), None
        index = found[0]
    elif path.exists():
        return open_source(path), None
    told = _index(index)
    if told is None:
        return open_source(path), None
    try:
        tars = [index.parent / Path(shard["name"]).name for shard in told["shards"]]
    except (KeyError, TypeError) as error:
        raise ArchiveError(f"{index} lists no shards.") from error
    for tar in tars:
        if not tar.is_file():
            raise ArchiveError(f"{index} names {tar.name}, which is not there.")
    return TarSource(path, tars), told


def _index(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            return None
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(told, dict) and told.get("format") == INDEX_FORMAT
    return told if ours else None


def _vocabulary(path: Path, told: dict[str, Any] | None) -> Vocabulary | None:
    names = _names((told or {}).get("tags"))
    try:
        return None if names is None else Vocabulary(names)
    except ConfigError as error:
        raise ArchiveError(f"{path}: its index has no fit vocabulary ({error}).") from error


def _names(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return tuple(value)


def _row(values: list[Any], path: Path, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        row = np.array(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(f"{path}: {name} has a label that is no row of numbers.") from error
    if row.ndim != 1 or not 0 < len(row) <= _MOST_COLUMNS or not np.isfinite(row).all():
        raise ArchiveError(f"{path}: {name} has a label that is no row of numbers.")
    return row


def _class(data: bytes | None) -> int | None:
    text = (data or b"").strip()
    return int(text) if text.isdigit() and len(text) <= 6 else None
