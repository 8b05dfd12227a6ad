"""Data sets of any kind, read alike: archives, StyleGAN2-ADA zips, TFRecords, WebDataset shards.

A :class:`FaceSet` gives its faces as the `archive_writer.Item` that a writer takes, one by one:
nothing but labels and names is held in memory.
"""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.archives.archive import Archive, Item
from kaogen.data.archives.tfrecord import open_tfrecords
from kaogen.errors import ConfigError, DataError
from kaogen.tags import Vocabulary

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float16]

# Source, its SHA-256, the face's box in it.
Origin = tuple[str, str, tuple[float, float, float, float] | None]

_PNG = b"\x89PNG\r\n\x1a\n"
_EDGES = range(4, 4097)


class FaceSet(ABC):
    """Faces of one size with what is known of them. Build it with :func:`open_set`.

    Attributes:
        path: the file or folder.
        kind: "archive", "StyleGAN2-ADA zip", "TFRecords" or "WebDataset".
        resolution: ``(height, width)`` in pixels.
        channels: 1 to 4: grey, grey and alpha, RGB, RGBA.
        vocabulary: the names of the labels' columns, or None where nothing says.
        labels: ``[N, L]`` float32, or None.
        score_names: the tags that a tagger's scores are of, or None.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        resolution: tuple[int, int],
        channels: int,
        *,
        vocabulary: Vocabulary | None = None,
        labels: Labels | None = None,
        score_names: tuple[str, ...] | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.resolution = resolution
        self.channels = channels
        self.vocabulary = vocabulary
        self.labels = labels
        self.score_names = score_names

    @abstractmethod
    def __len__(self) -> int:
        """How many faces."""

    @abstractmethod
    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """The faces, or those asked for, each decoded once so that a broken one is met here."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Where the faces come from, for the provenance of a set made of this one."""

    def source(self, index: int) -> str:
        """What tells the picture that face ``index`` was cut from; "" where nothing does."""
        return ""

    def label(self, index: int) -> list[float] | None:
        """The label row of face ``index``, or None."""
        return None if self.labels is None else [float(v) for v in self.labels[index]]

    def item(self, index: int) -> Item:
        """Face ``index``."""
        return next(iter(self.items([index])))


class ArchiveSet(FaceSet):
    """A zip as `kaogen prepare` or StyleGAN2-ADA's tools write it."""

    def __init__(self, path: Path) -> None:
        self.archive = archive = Archive.open(path)
        scores = archive.scores()
        self._scores: Scores | None = scores[1] if scores else None
        told = archive.provenance() or {}
        self._files = _by_name(told.pop("files", None))
        self._told = told
        # What other tools wrote is decoded and encoded anew; our own bytes are kept.
        self._ours = archive.stats() is not None
        super().__init__(
            path,
            "archive" if self._ours else "StyleGAN2-ADA zip",
            archive.resolution,
            archive.channels,
            vocabulary=archive.vocabulary,
            labels=archive.labels,
            score_names=scores[0] if scores else None,
        )

    def __len__(self) -> int:
        return len(self.archive)

    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """The faces, with source, box and scores where the archive tells them."""
        for index in range(len(self)) if indices is None else indices:
            pixels = self.archive.image(index)
            data = self.archive.encoded(index)
            name = self.archive.names[index]
            source, digest, box = self._files.get(
                name, (name, hashlib.sha256(data).hexdigest(), None)
            )
            yield Item(
                data if self._ours and data.startswith(_PNG) else pixels,
                label=self.label(index),
                source=source,
                sha256=digest,
                scores=self._row(index),
                box=box,
            )

    def describe(self) -> dict[str, Any]:
        """Name, kind, size, fingerprint and the archive's own provenance without its files."""
        return {
            "name": self.path.name,
            "kind": self.kind,
            "images": len(self),
            "fingerprint": self.archive.fingerprint,
            "provenance": self._told,
        }

    def source(self, index: int) -> str:
        """The source picture's SHA-256, or its name where that is all there is."""
        source, digest, _ = self._files.get(self.archive.names[index], ("", "", None))
        return digest or source

    def _row(self, index: int) -> Scores | None:
        row: Scores | None = None if self._scores is None else self._scores[index]
        return None if row is None or np.isnan(row).all() else row


class RecordSet(FaceSet):
    """A multi-resolution TFRecord data set, at one of its resolutions."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.records = open_tfrecords(path, size)
        height, width, channels = self.records.file.shape
        super().__init__(path, "TFRecords", (height, width), channels, labels=self.records.labels)

    def __len__(self) -> int:
        return len(self.records.file)

    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """The faces; their source is the record's number."""
        chosen = list(range(len(self)) if indices is None else indices)
        pictures = self.records.file.pictures(iter(chosen))
        for index, pixels in zip(chosen, pictures, strict=True):
            source = f"{self.records.file.path.name}#{index}"
            yield Item(pixels, label=self.label(index), source=source)

    def describe(self) -> dict[str, Any]:
        """Name, kind and size."""
        file = self.records.file.path
        size = file.stat().st_size
        return {"name": file.name, "kind": self.kind, "images": len(self), "bytes": size}


class ResizedSet(FaceSet):
    """Another set with its faces resized by Lanczos, in proportion.

    Args:
        whole: the set.
        size: the longer edge in pixels.
    """

    def __init__(self, whole: FaceSet, size: int) -> None:
        self.whole = whole
        factor = size / max(whole.resolution)
        height, width = (max(1, round(edge * factor)) for edge in whole.resolution)
        super().__init__(
            whole.path,
            whole.kind,
            (height, width),
            whole.channels,
            vocabulary=whole.vocabulary,
            labels=whole.labels,
            score_names=whole.score_names,
        )

    def __len__(self) -> int:
        return len(self.whole)

    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """The faces, resized."""
        for item in self.whole.items(indices):
            yield replace(item, image=_resized(decode(item), self.resolution))

    def describe(self) -> dict[str, Any]:
        """That of the whole, and the new size."""
        return {**self.whole.describe(), "resized": list(self.resolution)}

    def source(self, index: int) -> str:
        """As in the whole."""
        return self.whole.source(index)


def open_set(path: Path, size: int | None = None) -> FaceSet:
    """Open a data set of any kind that kaogen reads.

    Args:
        path: an archive or StyleGAN2-ADA zip; a folder or file of TFRecords; WebDataset tars.
        size: longer edge in pixels; of TFRecords that resolution is taken, all else is resized.

    Raises:
        DataError: there is none, or it is damaged.
        ConfigError: the size cannot be.
    """
    if size is not None and size not in _EDGES:
        raise ConfigError(f"a size of {size} pixels cannot be.", hint="4 to 4096 are possible.")
    if (path.is_dir() and any(path.glob("*.tfrecords"))) or path.suffix == ".tfrecords":
        return RecordSet(path, size)
    found: FaceSet
    if path.suffix == ".tar" or path.is_dir():
        from kaogen.data.archives.webdataset_in import ShardSet

        found = ShardSet(path)
    elif path.is_file():
        found = ArchiveSet(path)
    else:
        raise DataError(f"{path} does not exist.", hint="Make it with `kaogen prepare`.")
    return found if size in (None, max(found.resolution)) else ResizedSet(found, size or 0)


def decode(item: Item) -> Pixels:
    """The pixels of an item from a :class:`FaceSet`, ``[H, W, C]``."""
    if not isinstance(item.image, bytes):
        return item.image
    with Image.open(io.BytesIO(item.image), formats=("PNG",)) as picture:
        pixels = np.array(picture, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def digest(pixels: Pixels) -> bytes:
    """SHA-256 of pixels and shape: the same for the same picture, however it was packed."""
    sha = hashlib.sha256(repr(pixels.shape).encode())
    sha.update(np.ascontiguousarray(pixels).data)
    return sha.digest()


def _resized(pixels: Pixels, resolution: tuple[int, int]) -> Pixels:
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    size = (resolution[1], resolution[0])
    return np.asarray(Image.fromarray(flat).resize(size, Image.Resampling.LANCZOS), np.uint8)


def _by_name(rows: Any) -> dict[str, Origin]:
    """Entry name -> source, SHA-256, box; rows of another shape are passed over."""
    found: dict[str, Origin] = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) >= 3 and all(isinstance(v, str) for v in row[:3]):
            found[row[0]] = (row[1], row[2], read_box(row[3]) if len(row) > 3 else None)
    return found


def read_box(value: Any) -> tuple[float, float, float, float] | None:
    """A box from JSON; None for what is none."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(edge, int | float) and abs(edge) < 1e9 for edge in value):
        return None
    left, top, right, bottom = (float(edge) for edge in value)
    return left, top, right, bottom
