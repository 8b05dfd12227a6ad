"""Old StyleGAN data sets in: multi-resolution TFRecords, read without TensorFlow.

ProGAN, StyleGAN and StyleGAN2 keep a data set as a folder: ``NAME-r02.tfrecords`` to
``NAME-r10.tfrecords``, the same pictures at edges of 4 to 1024 pixels in the same order, and
optionally ``NAME-rxx.labels``, a NumPy ``.npy`` file of float32 ``[N, L]`` in that order.

A TFRecord file is a row of records: length (uint64), its masked CRC-32C, the bytes, their masked
CRC-32C, all least byte first. Each record's bytes are a ``tf.train.Example`` with two features:
``shape``, int64 ``[C, H, W]``, and ``data``, the uint8 pixels in that layout.

The files are from outside: every length is checked before memory is asked for.
"""

from __future__ import annotations

import math
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from kaogen.data.archives.crc32c import masked_crc32c, masked_crc32c_of_length
from kaogen.data.archives.example import MalformedError, read_example
from kaogen.errors import ArchiveError, ConfigError

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.float32]

_LARGEST_EDGE = 4096
_LARGEST_RECORD = 80 * 2**20  # 4096 x 4096 x 4 and what stands around it
_MOST_COLUMNS = 65536
_FRAME = 16  # bytes of a record beside its content
_LEVEL = re.compile(r"(?P<name>.+)-r(?P<level>\d\d)\.tfrecords")


class RecordFile:
    """One ``.tfrecords`` file of pictures, at any place of which can be read.

    Attributes:
        path: the file.
        shape: ``(height, width, channels)`` of its first picture, and so of all.

    Raises:
        ArchiveError: the file is empty, cut short or no TFRecord file of pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: array[int] | None = None
        with _open(path) as file:
            first = self._read(file, 0, os.fstat(file.fileno()).st_size, 0)
        self.shape: tuple[int, int, int] = first.shape

    def __len__(self) -> int:
        return len(self._index())

    def pictures(self, indices: Iterator[int] | None = None) -> Iterator[Pixels]:
        """Uint8 ``[H, W, C]`` of each picture, or of those asked for, one after another.

        Raises:
            ArchiveError: a record is damaged, or of another shape than the first.
        """
        offsets = self._index()
        with _open(self.path) as file:
            end = os.fstat(file.fileno()).st_size
            for number in range(len(offsets)) if indices is None else indices:
                pixels = self._read(file, offsets[number], end, number)
                if pixels.shape != self.shape:
                    raise self._error(number, f"is {pixels.shape}, the first {self.shape}")
                yield pixels

    def _index(self) -> array[int]:
        """Where each record begins. Only the lengths are read, and checked."""
        if self._offsets is None:
            offsets = array("Q")
            with _open(self.path) as file:
                end, at = os.fstat(file.fileno()).st_size, 0
                while at < end:
                    offsets.append(at)
                    at += self._length(file, at, end, len(offsets) - 1) + _FRAME
            self._offsets = offsets
        return self._offsets

    def _length(self, file: BinaryIO, at: int, end: int, number: int) -> int:
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            raise self._error(number, "is cut short")
        length = int.from_bytes(head[:8], "little")
        if int.from_bytes(head[8:], "little") != masked_crc32c_of_length(length):
            raise self._error(number, "has a length that fails its checksum")
        if length > _LARGEST_RECORD:
            raise self._error(number, f"claims {length:,} bytes; {_LARGEST_RECORD:,} are allowed")
        if at + length + _FRAME > end:
            raise self._error(number, "is cut short")
        return length

    def _read(self, file: BinaryIO, at: int, end: int, number: int) -> Pixels:
        if end == 0:
            raise ArchiveError(f"{self.path} is empty.")
        length = self._length(file, at, end, number)
        data = file.read(length)
        if int.from_bytes(file.read(4), "little") != masked_crc32c(data):
            raise self._error(number, "fails its checksum")
        try:
            return read_picture(data)
        except MalformedError as error:
            raise self._error(number, str(error)) from None

    def _error(self, number: int, what: str) -> ArchiveError:
        return ArchiveError(f"{self.path}: record {number} {what}.")


@dataclass(frozen=True)
class TFRecords:
    """A data set as StyleGAN2's tools wrote it, at one of its resolutions.

    Attributes:
        name: what its files' names begin with.
        file: the pictures at the chosen resolution.
        labels: float32 ``[N, L]``, or None. Whole-number classes are given one-hot.
    """

    name: str
    file: RecordFile
    labels: Labels | None


def open_tfrecords(path: Path, size: int | None = None) -> TFRecords:
    """Open the data set in the folder ``path``, or the one that the file ``path`` is part of.

    Args:
        path: a folder with one data set, or one of its ``.tfrecords`` files, which is then taken.
        size: longer edge in pixels of the resolution to take; by default the largest.

    Raises:
        ArchiveError: there is none, there are several, or it is damaged.
        ConfigError: it does not have that size.
    """
    if path.is_file():
        name, files = _name(path), [RecordFile(path)]
    else:
        name, files = _levels(path)
    by_edge = {max(file.shape[:2]): file for file in files}
    edge = max(by_edge) if size is None else size
    if edge not in by_edge:
        held = ", ".join(str(known) for known in sorted(by_edge))
        raise ConfigError(f"{path} has no pictures of {edge} pixels.", hint=f"It has: {held}.")
    chosen = by_edge[edge]
    return TFRecords(name, chosen, _labels(chosen, name))


def _levels(folder: Path) -> tuple[str, list[RecordFile]]:
    paths = sorted(folder.glob("*.tfrecords"))
    if not paths:
        raise ArchiveError(f"{folder} holds no .tfrecords files.")
    names = sorted({_name(path) for path in paths})
    if len(names) > 1:
        raise ArchiveError(
            f"{folder} holds several data sets: {', '.join(names[:5])}.",
            hint="Name one .tfrecords file.",
        )
    return names[0], [RecordFile(path) for path in paths]


def _name(path: Path) -> str:
    match = _LEVEL.fullmatch(path.name)
    return match["name"] if match else path.stem


def _labels(file: RecordFile, name: str) -> Labels | None:
    """The labels beside the records; every picture must have its row."""
    folder = file.path.parent
    path = folder / f"{name}-rxx.labels"
    if not path.exists():
        others = sorted(folder.glob("*.labels"))
        if len(others) != 1:
            return None
        path = others[0]
    try:
        # Mapped, not read: a header that claims more than the file holds is refused at once.
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        raise ArchiveError(f"{path} is no labels file ({type(error).__name__}).") from error
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "buif":
        raise ArchiveError(f"{path} holds no numbers.")
    if table.ndim not in (1, 2) or len(table) != len(file):
        raise ArchiveError(
            f"{path} has labels of shape {table.shape} for {len(file):,} pictures.",
            hint="Rename it to read the pictures without labels.",
        )
    return _rows(table, path)


def _rows(table: npt.NDArray[np.generic], path: Path) -> Labels:
    if table.ndim == 2:
        rows = np.array(table, dtype=np.float32)
    else:
        classes = np.array(table, dtype=np.float64)
        whole = np.isfinite(classes).all() and (classes >= 0).all() and not (classes % 1).any()
        if not whole or classes.max() >= _MOST_COLUMNS:
            raise ArchiveError(f"{path} holds class numbers out of 0..{_MOST_COLUMNS - 1}.")
        rows = np.zeros((len(classes), int(classes.max()) + 1), dtype=np.float32)
        rows[np.arange(len(classes)), classes.astype(np.int64)] = 1
    if not np.isfinite(rows).all():
        raise ArchiveError(f"{path} holds labels that are no finite numbers.")
    return rows


def read_picture(data: bytes) -> Pixels:
    """The picture of one record, uint8 ``[H, W, C]``; MalformedError when it has none."""
    features = read_example(data, ("shape", "data"))
    shape, pixels = features["shape"], features["data"]
    if not isinstance(shape, list) or len(shape) != 3:
        raise MalformedError('has a feature "shape" that is not three whole numbers')
    if not isinstance(pixels, memoryview):
        raise MalformedError('has a feature "data" that is not one string of bytes')
    channels, height, width = shape
    edges_fit = all(0 < edge <= _LARGEST_EDGE for edge in (height, width))
    if channels not in (1, 3, 4) or not edges_fit:
        raise MalformedError(f"has the shape {shape}, not [1|3|4, H, W] up to {_LARGEST_EDGE}")
    if len(pixels) != math.prod(shape):
        raise MalformedError(f"has {len(pixels):,} bytes of pixels for the shape {shape}")
    flat = np.frombuffer(pixels, dtype=np.uint8).reshape(channels, height, width)
    return np.ascontiguousarray(flat.transpose(1, 2, 0))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror}).") from error
