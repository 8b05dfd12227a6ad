"""The data set file, read: one zip of stored images, laid out as StyleGAN2-ADA's tools lay it out.

``00000/img00000000.png`` and so on hold the faces, ``dataset.json`` holds
``{"labels": [[name, [floats]], ...]}`` or ``{"labels": null}``. StyleGAN2-ADA lists a zip by the
extensions that Pillow can open, so our own sidecars, all in ``kaogen/``, are invisible to it:

- ``kaogen/tags.json``        the names of the label's columns,
- ``kaogen/stats.json``       counts,
- ``kaogen/provenance.json``  where each face came from,
- ``kaogen/scores.npy``       what a tagger gave each face, float16 ``[N, T]``; the names of the T
  columns are in ``kaogen/scores.json``. Both only where a tagger was asked.

:func:`write_archive` and :class:`Item` live in ``archive_writer`` and are public from here.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

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
    Item,
    write_archive,
)
from kaogen.errors import ArchiveError, InputError
from kaogen.tags import Vocabulary

__all__ = ["Archive", "Item", "write_archive"]

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float16]
Progress = Callable[[int, int], None]

_DECODE_CHUNK = 256


class Archive:
    """A data set file, open for reading. Build it with :meth:`open`.

    May be pickled and used after a fork or from several threads: every process opens the file
    anew for itself. Reading after :meth:`close` simply opens it again.

    Attributes:
        path: the file.
        names: the images' entry names, in StyleGAN2-ADA's order (sorted).
        resolution: ``(height, width)`` in pixels, the same for all images.
        channels: 1 to 4: grey, grey and alpha, RGB, RGBA.
        labels: ``[N, L]`` float32 in the order of ``names``, or None. StyleGAN2-ADA's whole-number
            class labels are given one-hot.
        vocabulary: the names of the L columns, or None where the file does not say.
        fingerprint: SHA-256 hex over the names, sizes and checksums of all images, the labels and
            the vocabulary: the same data has the same fingerprint, whoever packed it and when.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._pid = -1
        self._ahead: Future[Pixels] | None = None
        self._closed = False
        infos = self._handle().infolist()
        self._infos = {info.filename: info for info in infos}
        self.names: tuple[str, ...] = tuple(
            sorted(n for n in self._infos if PurePosixPath(n).suffix.lower() in EXTENSIONS)
        )
        if not self.names:
            raise ArchiveError(
                f"{path} holds no images.", hint="A data set is made by `kaogen prepare`."
            )
        first = self._decode(0)
        self.resolution: tuple[int, int] = (first.shape[0], first.shape[1])
        self.channels: int = first.shape[2]
        self.vocabulary: Vocabulary | None = self._read_vocabulary()
        self.labels: Labels | None = self._read_labels()
        self.fingerprint: str = self._fingerprint()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the data set file at ``path``; ArchiveError when it is none or is damaged."""
        return cls(Path(path))

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Pixels:
        """Image ``index`` (of ``names``) as uint8 ``[H, W, C]``; ArchiveError when damaged."""
        image = self._decode(index)
        if image.shape != (*self.resolution, self.channels):
            raise ArchiveError(
                f"{self.path}: {self.names[index]} is {_shape(image.shape)}, "
                f"the first image {_shape((*self.resolution, self.channels))}."
            )
        return image

    def encoded(self, index: int) -> bytes:
        """The file of image ``index`` as it is stored; ArchiveError when it cannot be read."""
        return self._read(self.names[index], MAX_IMAGE_BYTES)

    def prefetch(self) -> None:
        """Begin to decode all images in the background, for the next call of :meth:`pixels`.

        :meth:`close` breaks it off.
        """
        pool = ThreadPoolExecutor(max_workers=1)
        self._closed = False
        self._ahead = pool.submit(self._pixels, None)
        pool.shutdown(wait=False)

    def pixels(self, progress: Progress | None = None) -> Pixels:
        """All images as uint8 ``[N, H, W, C]``, decoded by a few threads.

        ``progress(done, total)`` is called from the calling thread now and then.
        """
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead is not None else self._pixels(progress)

    def _pixels(self, progress: Progress | None) -> Pixels:
        total = len(self)
        shape = (total, *self.resolution, self.channels)
        try:
            out = np.empty(shape, dtype=np.uint8)
        except MemoryError:
            need = math.prod(shape) / 2**30
            raise ArchiveError(f"{self.path} needs {need:,.0f} GiB of memory as pixels.") from None

        def decode(start: int) -> int:
            stop = min(start + _DECODE_CHUNK, total)
            if self._closed:
                return 0
            for index in range(start, stop):
                out[index] = self.image(index)
            return stop - start

        done = 0
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            for count in pool.map(decode, range(0, total, _DECODE_CHUNK)):
                done += count
                if progress is not None:
                    progress(done, total)
        return out

    def stats(self) -> dict[str, Any] | None:
        """``kaogen/stats.json``: counts of images and tags, or None in a file of other tools."""
        return self._optional_object(STATS_NAME)

    def provenance(self) -> dict[str, Any] | None:
        """``kaogen/provenance.json``: where each face came from, or None."""
        return self._optional_object(PROVENANCE_NAME)

    def files(self) -> list[tuple[str, str, str]]:
        """``(entry name, source file, its SHA-256)`` of each image; [] where nothing is told."""
        rows = (self.provenance() or {}).get("files", [])
        try:
            return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]
        except (TypeError, IndexError, KeyError) as error:
            raise ArchiveError(f"{self.path}: {PROVENANCE_NAME} lists no files.") from error

    def scores(self) -> tuple[tuple[str, ...], Scores] | None:
        """``(names [T], scores float16 [N, T])`` of the tagger that looked, or None.

        Rows are in the order of ``names``; a row of NaN is an image that no tagger saw.
        """
        told = self._optional_object(SCORE_NAMES_NAME)
        if told is None or SCORES_NAME not in self._infos:
            return None
        names = told.get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArchiveError(f"{self.path}: {SCORE_NAMES_NAME} lists no names.")
        data = self._read(SCORES_NAME, 2 * len(self) * len(names) + 4096)
        try:
            table = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ArchiveError(f"{self.path}: {SCORES_NAME} is damaged ({error}).") from error
        if table.dtype != np.float16 or table.shape != (len(self), len(names)):
            raise ArchiveError(
                f"{self.path}: {SCORES_NAME} is {table.dtype} {table.shape}, not float16 "
                f"({len(self)}, {len(names)})."
            )
        return tuple(names), table

    def close(self) -> None:
        """Close the file handle of this process, and decode no more ahead."""
        if self._ahead is not None:
            self._closed, ahead, self._ahead = True, self._ahead, None
            ahead.exception()  # waits until the threads have let go
        if self._zip is not None and self._pid == os.getpid():
            self._zip.close()
        self._zip = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None, "_pid": -1, "_ahead": None}

    def _handle(self) -> zipfile.ZipFile:
        # After a fork parent and child would share one file offset; so each opens its own.
        if self._zip is None or self._pid != os.getpid():
            try:
                self._zip = zipfile.ZipFile(self.path)
            except FileNotFoundError:
                raise ArchiveError(
                    f"{self.path} does not exist.", hint="Make it with `kaogen prepare`."
                ) from None
            except ZIP_ERRORS as error:
                raise ArchiveError(
                    f"{self.path} is no readable zip file ({error}).",
                    hint="Was it cut short? Copy it again or rerun `kaogen prepare`.",
                ) from error
            self._pid = os.getpid()
        return self._zip

    def _read(self, name: str, limit: int) -> bytes:
        handle = self._handle()
        try:
            info = self._infos[name]
            if info.file_size > limit:
                raise ArchiveError(f"{self.path}: {name} is too large ({info.file_size:,} bytes).")
            with handle.open(info) as file:
                # Stays bounded even where the directory lies about the size.
                return file.read(info.file_size)
        except ZIP_ERRORS as error:
            raise ArchiveError(f"{self.path}: {name} cannot be read ({error}).") from error

    def _decode(self, index: int) -> Pixels:
        name = self.names[index]
        return decode_image(self._read(name, MAX_IMAGE_BYTES), f"{self.path}: {name}")

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads(self._read(name, MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise ArchiveError(f"{self.path}: {name} is not valid JSON ({error}).") from error

    def _optional_object(self, name: str) -> dict[str, Any] | None:
        if name not in self._infos:
            return None
        value = self._read_json(name)
        if not isinstance(value, dict):
            raise ArchiveError(f"{self.path}: {name} holds no JSON object.")
        return value

    def _read_vocabulary(self) -> Vocabulary | None:
        value = self._optional_object(TAGS_NAME)
        if value is None:
            return None
        tags = value.get("tags")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ArchiveError(f"{self.path}: {TAGS_NAME} lists no tags.")
        try:
            return Vocabulary(tags)
        except (InputError, ValueError) as error:
            raise ArchiveError(f"{self.path}: {TAGS_NAME} is no vocabulary ({error}).") from error

    def _read_labels(self) -> Labels | None:
        value = self._optional_object(LABELS_NAME)
        rows = None if value is None else value.get("labels")
        if rows is None:
            return None
        try:
            by_name = dict(rows)
            table = np.array([by_name[name] for name in self.names], dtype=np.float32)
        except KeyError as error:
            raise ArchiveError(f"{self.path}: {LABELS_NAME} has no label for {error}.") from None
        except (TypeError, ValueError) as error:
            raise ArchiveError(
                f"{self.path}: {LABELS_NAME} does not hold one list of numbers per image ({error})."
            ) from error
        if table.ndim == 1:
            table = self._one_hot(table)
        if table.ndim != 2 or not np.isfinite(table).all():
            raise ArchiveError(f"{self.path}: {LABELS_NAME} holds labels that are no finite rows.")
        if self.vocabulary is not None and table.shape[1] != len(self.vocabulary):
            raise ArchiveError(
                f"{self.path}: labels have {table.shape[1]} columns, "
                f"{TAGS_NAME} names {len(self.vocabulary)}."
            )
        return table

    def _one_hot(self, classes: Labels) -> Labels:
        top = float(classes.max())
        if not math.isfinite(top) or classes.min() < 0 or top > 65535 or np.any(classes % 1):
            raise ArchiveError(f"{self.path}: {LABELS_NAME} holds class numbers out of 0..65535.")
        table = np.zeros((len(classes), int(top) + 1), dtype=np.float32)
        table[np.arange(len(classes)), classes.astype(np.int64)] = 1
        return table

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        counted: Sequence[str] = [*self.names, LABELS_NAME, TAGS_NAME]
        for name in counted:
            info = self._infos.get(name)
            if info is not None:
                digest.update(f"{name}\0{info.file_size}\0{info.CRC:08x}\n".encode())
        if LABELS_NAME in self._infos:
            digest.update(self._read(LABELS_NAME, MAX_JSON_BYTES))
        return digest.hexdigest()


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} x {shape[2]}"
