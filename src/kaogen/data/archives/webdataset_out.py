"""A data set as WebDataset shards: plain tars that stream well and that every loader reads.

``faces.tar`` becomes ``faces-000000.tar``, ``faces-000001.tar`` and so on. Each face is two files
of one key: ``00000042.png`` and ``00000042.json``, which holds

- ``tags``   the names of the tags that it has, where the labels have names,
- ``label``  the label row,
- ``source``, ``sha256``, ``box``, ``scores``  as the archive has them, where it has them.

Beside the shards lies ``faces.json``: the names of the labels' and the scores' columns, every
shard with its size and SHA-256, and the provenance. It is written last, so where it is, all is.
The same faces give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from kaogen.data.archives.archive_writer import Item, encode_png, png_shape
from kaogen.errors import ArchiveError, ConfigError, LabelError
from kaogen.tags import Vocabulary

SHARD_SIZE: Final = 10_000
"""Faces of a shard by default: some 100 MB at 64 pixels, 1 GB at 256."""
INDEX_FORMAT: Final = "kaogen-webdataset"

_MOST_PER_SHARD: Final = 10**7
_STALE_SECONDS: Final = 24 * 3600


def write_webdataset(
    path: str | os.PathLike[str],
    items: Iterable[Item],
    vocabulary: Vocabulary | None = None,
    provenance: Mapping[str, Any] | None = None,
    score_names: Sequence[str] | None = None,
    *,
    shard_size: int = SHARD_SIZE,
) -> int:
    """Write ``items`` as the shards of ``path``, a name that ends in ``.tar``; how many there were.

    The shards are written beside their places, synced, and moved there when all are complete.
    Shards of an earlier run under this name are replaced.

    Raises:
        ConfigError: a shard size that cannot be, or a name that does not end in ``.tar``.
        ArchiveError: no items, images of different shapes, tars of this name that are not ours,
            or the disk refuses.
        LabelError: some items are labelled and some are not, or labels of different lengths.
    """
    target = Path(path)
    if target.suffix != ".tar" or not 1 <= shard_size <= _MOST_PER_SHARD:
        raise ConfigError("WebDataset shards need a name in .tar and at least one face each.")
    index = target.with_suffix(".json")
    old = _earlier(target, index)
    _sweep(target)
    rows = _Rows(vocabulary, score_names)
    written: list[tuple[Path, dict[str, Any]]] = []
    try:
        try:
            for shard in _shards(items, shard_size):
                name = f"{target.stem}-{len(written):06d}.tar"
                written.append(_write_shard(target.parent, name, shard, rows))
            if rows.shape is None:
                raise ArchiveError("there are no images to write.")
            told = rows.describe() | {
                "shards": [told for _, told in written],
                "provenance": dict(provenance or {}),
            }
            _commit(index, written, old, told)
        finally:
            for temporary, _ in written:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(
            f"cannot write {target} ({error.strerror or error}).",
            hint="Is the disk full or read-only?",
        ) from error
    return rows.count


class _Rows:
    """One face -> its JSON; remembers what all faces must have in common."""

    def __init__(self, vocabulary: Vocabulary | None, score_names: Sequence[str] | None) -> None:
        self.vocabulary = vocabulary
        self.score_names = score_names
        self.shape: tuple[int, int, int] | None = None
        self.width: int | None = None
        self.count = 0

    def add(self, item: Item) -> tuple[bytes, bytes]:
        """The PNG and the JSON of one face."""
        png = item.image if isinstance(item.image, bytes) else encode_png(item.image)
        shape = png_shape(png, item.source)
        if self.shape not in (None, shape):
            raise ArchiveError(
                f"{item.source or 'image'} is {shape}, the first {self.shape}.",
                hint="All images of a data set have one size.",
            )
        label = self._label(item)
        width = 0 if label is None else len(label)
        if self.width not in (None, width):
            raise LabelError(f"{item.source or 'image'}: {width} labels, the first {self.width}.")
        self.shape, self.width = shape, width
        self.count += 1
        told: dict[str, Any] = {}
        if label is not None and self.vocabulary is not None:
            told["tags"] = list(self.vocabulary.decode(label))
        if label is not None:
            told["label"] = [_number(value) for value in label]
        told |= {"source": item.source, "sha256": item.sha256}
        if item.box is not None:
            told["box"] = [round(float(value), 1) for value in item.box]
        if item.scores is not None:
            told["scores"] = [_number(value, np.float16) for value in item.scores]
        return png, json.dumps(told, ensure_ascii=False, allow_nan=False).encode()

    def describe(self) -> dict[str, Any]:
        """What the index says of all faces."""
        height, width, channels = self.shape or (0, 0, 0)
        return {
            "format": INDEX_FORMAT,
            "version": 1,
            "images": self.count,
            "resolution": [height, width],
            "channels": channels,
            "tags": list(self.vocabulary.names) if self.vocabulary is not None else None,
            "score_names": list(self.score_names) if self.score_names is not None else None,
        }

    def _label(self, item: Item) -> Sequence[float] | None:
        if item.label is not None or item.tags is None:
            return item.label
        if self.vocabulary is None:
            raise LabelError("tags need a vocabulary to become labels.")
        return self.vocabulary.encode(item.tags)


def _number(value: Any, kind: type[np.floating[Any]] = np.float32) -> float | int:
    """The shortest number that reads back as the same float."""
    if value in (0, 1):
        return int(value)
    short = float(str(kind(value)))
    return int(short) if short.is_integer() else short


def _shards(items: Iterable[Item], size: int) -> Iterator[Iterator[Item]]:
    waiting = iter(items)
    for first in waiting:
        yield chain([first], islice(waiting, size - 1))


def _write_shard(
    folder: Path, name: str, items: Iterator[Item], rows: _Rows
) -> tuple[Path, dict[str, Any]]:
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    before = rows.count
    try:
        with os.fdopen(handle, "w+b") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for item in items:
                    key = f"{rows.count:08d}"
                    for suffix, data in zip((".png", ".json"), rows.add(item), strict=True):
                        info = tarfile.TarInfo(key + suffix)  # no time, no owner
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    told = {"name": name, "images": rows.count - before, "bytes": size, "sha256": digest}
    return Path(temporary), told


def _earlier(target: Path, index: Path) -> set[str]:
    """The shards that an earlier run left under this name; other tars there are not touched."""
    here = {path.name for path in target.parent.glob(f"{target.stem}-*.tar")}
    here = {name for name in here if re.fullmatch(r".*-\d{6}\.tar", name)}
    ours: set[str] = set()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(index.read_text(encoding="utf-8"))
        if told["format"] == INDEX_FORMAT:
            ours = {str(shard["name"]) for shard in told["shards"]}
    if here - ours or (index.exists() and not ours):
        what = sorted(here - ours)[0] if here - ours else index.name
        raise ArchiveError(
            f"{target.parent / what} is there already and is no shard that {index.name} lists.",
            hint="Choose another name, or move it away.",
        )
    return here


def _sweep(target: Path) -> None:
    """Remove temporaries that a killed run left; young ones may belong to a run at work."""
    for left in target.parent.glob(f".{target.stem}-*.tar.*.tmp"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            left.unlink(missing_ok=True)


def _commit(
    index: Path, written: list[tuple[Path, dict[str, Any]]], old: set[str], told: dict[str, Any]
) -> None:
    # Without its index a half replaced set is recognised as none.
    index.unlink(missing_ok=True)
    for temporary, shard in written:
        temporary.chmod(0o644)  # mkstemp makes private files
        temporary.replace(index.parent / shard["name"])
        old.discard(shard["name"])
    for name in old:
        (index.parent / name).unlink(missing_ok=True)
    text = json.dumps(told, ensure_ascii=False, allow_nan=False, indent=1)
    partial = index.with_name(f".{index.name}.tmp")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(index)
