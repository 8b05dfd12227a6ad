"""The data set file, written: atomic, and the same bytes for the same items.

The layout stands in :mod:`kaogen.data.archives.archive`, which also makes these names public.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.errors import ArchiveError, LabelError
from kaogen.tags import Vocabulary

LABELS_NAME = "dataset.json"
TAGS_NAME = "kaogen/tags.json"
STATS_NAME = "kaogen/stats.json"
PROVENANCE_NAME = "kaogen/provenance.json"
SCORES_NAME = "kaogen/scores.npy"
SCORE_NAMES_NAME = "kaogen/scores.json"

# Level 1 is within 1% of level 6 on 64 px faces and a third quicker; level 0 takes 32% more disk.
_PNG_LEVEL = 1
_STALE_SECONDS = 24 * 3600
# A fixed date, the zip format's first day: the same input must give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# What is known of each image waits here until the images are through: in memory while small.
_SPOOL_BYTES = 2**20


@dataclass(frozen=True)
class Item:
    """One face on its way into a data set.

    Attributes:
        image: uint8 ``[H, W, 1..4]`` or ``[H, W]``, or the bytes of an 8-bit PNG
            (as :func:`encode_png` gives them).
        tags: its tags, in the vocabulary's spelling; None for "no label".
        label: the label itself, ``[L]``, when it is not made of tags.
        source: the file it came from, for the provenance.
        sha256: hex digest of that file's bytes, or "".
        scores: what a tagger gave it, ``[T]`` in [0, 1], in the order of the ``score_names``
            given to :func:`write_archive`; None where no tagger looked.
        box: left, top, right, bottom of the face in that file's pixels, for the provenance.
    """

    image: npt.NDArray[np.uint8] | bytes
    tags: Sequence[str] | None = None
    label: Sequence[float] | None = None
    source: str = ""
    sha256: str = ""
    scores: Sequence[float] | npt.NDArray[np.floating[Any]] | None = None
    box: tuple[float, float, float, float] | None = None


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 ``[H, W, C]`` or ``[H, W]`` as PNG; the same bytes for the same pixels."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=_PNG_LEVEL)
    return out.getvalue()


def write_archive(
    path: str | os.PathLike[str],
    items: Iterable[Item],
    vocabulary: Vocabulary | None = None,
    provenance: Mapping[str, Any] | None = None,
    score_names: Sequence[str] | None = None,
) -> int:
    """Write ``items`` as the data set file ``path`` and return how many there were.

    The file appears whole or not at all: it is written beside ``path``, synced, then moved there.
    Labels are written when all items have one; when none has, ``labels`` is null, as StyleGAN2-ADA
    has it. Scores are written when ``score_names``, the tags that they judge, are given; items
    without scores get a row of NaN. The items pass through one by one: what is held in memory is
    the zip's directory, about half a kilobyte an image.

    Raises:
        ArchiveError: no items, images of different shapes, scores that do not fit their names, or
            the disk refuses.
        LabelError: some items are labelled and some not, labels of different lengths, or tags
            without a vocabulary.
    """
    target = Path(path)
    _sweep(target)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise ArchiveError(f"cannot write {target} ({error.strerror}).") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, ExitStack() as stack:
                writer = _Writer(archive, vocabulary, score_names, target.parent, stack)
                count = _write_entries(writer, items, provenance or {})
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a data set is an ordinary one.
        temporary.chmod(0o644)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ArchiveError(
            f"cannot write {target} ({error.strerror or error}).",
            hint="Is the disk full or read-only?",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


class _Rows:
    """The rows of one sidecar, collected while the images are written; on disk when large."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._file = stack.enter_context(
            tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(folder))  # noqa: SIM115
        )
        self.count = 0

    def add(self, row: bytes, separator: bytes = b"") -> None:
        self._file.write(separator + row if self.count else row)
        self.count += 1

    def add_json(self, row: object) -> None:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        self.add(text.encode(), b", ")

    def put(self, archive: zipfile.ZipFile, name: str, before: bytes, after: bytes) -> None:
        """Write the entry ``name``: the rows between ``before`` and ``after``."""
        info = _entry(name)
        info.file_size = len(before) + self._file.tell() + len(after)
        self._file.seek(0)
        with archive.open(info, "w") as out:
            out.write(before)
            shutil.copyfileobj(self._file, out)
            out.write(after)


class _Writer:
    """Adds entries one by one and keeps what the sidecars need."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        vocabulary: Vocabulary | None,
        score_names: Sequence[str] | None,
        folder: Path,
        stack: ExitStack,
    ) -> None:
        self.archive = archive
        self.vocabulary = vocabulary
        self.score_names = score_names
        self.shape: tuple[int, int, int] | None = None
        self.image_bytes = 0
        self.images = 0
        self.label_width: int | None = None
        self.labels = _Rows(folder, stack)
        self.files = _Rows(folder, stack)
        self.scores = _Rows(folder, stack)
        self.tags: Counter[str] = Counter()

    def put(self, name: str, data: bytes) -> None:
        self.archive.writestr(_entry(name), data)

    def put_json(self, name: str, value: object) -> None:
        self.put(name, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())

    def add(self, item: Item) -> None:
        data = item.image if isinstance(item.image, bytes) else _encode_checked(item)
        shape = png_shape(data, item.source)
        if self.shape is None:
            self.shape = shape
        elif self.shape != shape:
            raise ArchiveError(
                f"{item.source or 'image'} is {shape[1]} x {shape[0]} x {shape[2]}, the first "
                f"{self.shape[1]} x {self.shape[0]} x {self.shape[2]}.",
                hint="All images of a data set have one size.",
            )
        number = f"{self.images:08d}"
        name = f"{number[:5]}/img{number}.png"
        self.put(name, data)
        self.images += 1
        self.image_bytes += len(data)
        file: list[Any] = [name, item.source, item.sha256]
        self.files.add_json(file if item.box is None else [*file, [round(v, 1) for v in item.box]])
        label = self._label(item)
        if label is not None:
            self.labels.add_json((name, label))
        if self.labels.count not in (0, self.images):
            raise LabelError(
                f"{item.source or name}: some images are labelled and some are not.",
                hint="Label all of them or none.",
            )
        if self.score_names is not None:
            self.scores.add(_score_row(item, len(self.score_names)))

    def _label(self, item: Item) -> list[float] | None:
        if item.label is not None:
            # The shortest decimal that reads back as the same float32.
            label = [float(str(np.float32(value))) for value in item.label]
        elif item.tags is not None:
            if self.vocabulary is None:
                raise LabelError("tags need a vocabulary to become labels.")
            label = [float(value) for value in self.vocabulary.encode(item.tags)]
        else:
            return None
        width = self.label_width if self.label_width is not None else len(label)
        if self.vocabulary is not None:
            width = len(self.vocabulary)
            self.tags.update(self.vocabulary.decode(label))
        if len(label) != width:
            raise LabelError(f"{item.source or 'label'}: {len(label)} numbers instead of {width}.")
        self.label_width = width
        return label


def _write_entries(writer: _Writer, items: Iterable[Item], provenance: Mapping[str, Any]) -> int:
    for item in items:
        writer.add(item)
    if writer.shape is None:
        raise ArchiveError("there are no images to write.")
    height, width, channels = writer.shape
    # Last, as in StyleGAN2-ADA: the labels are known when the images are through.
    if writer.labels.count:
        writer.labels.put(writer.archive, LABELS_NAME, b'{"labels": [', b"]}")
    else:
        writer.put_json(LABELS_NAME, {"labels": None})
    names = writer.vocabulary.names if writer.vocabulary is not None else ()
    if writer.vocabulary is not None:
        writer.put_json(TAGS_NAME, {"format": "kaogen-tags", "version": 1, "tags": list(names)})
    if writer.score_names is not None:
        shape = (writer.images, len(writer.score_names))
        writer.scores.put(writer.archive, SCORES_NAME, _npy_header(shape), b"")
        writer.put_json(SCORE_NAMES_NAME, {"names": list(writer.score_names)})
    writer.put_json(
        STATS_NAME,
        {
            "images": writer.images,
            "resolution": [height, width],
            "channels": channels,
            "image_bytes": writer.image_bytes,
            "labelled": writer.labels.count,
            "tags": {name: writer.tags[name] for name in names},
        },
    )
    told = json.dumps(dict(provenance), ensure_ascii=False, allow_nan=False).removesuffix("}")
    before = f'{told}{", " if provenance else ""}"files": ['
    writer.files.put(writer.archive, PROVENANCE_NAME, before.encode(), b"]}")
    return writer.images


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # else Windows and Linux would differ
    info.external_attr = 0o644 << 16
    if not name.endswith(".png"):
        # Labels, names and scores shrink to a quarter; at 64 px they would be 7% of the file.
        info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _score_row(item: Item, width: int) -> bytes:
    if item.scores is None:
        return np.full(width, np.nan, dtype="<f2").tobytes()
    row = np.asarray(item.scores)
    if row.shape != (width,):
        raise ArchiveError(
            f"{item.source or 'image'}: scores of shape {row.shape}, {width} have names."
        )
    return row.astype("<f2").tobytes()


def _npy_header(shape: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    description = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, description)
    return out.getvalue()


def _encode_checked(item: Item) -> bytes:
    pixels = item.image
    if isinstance(pixels, bytes):
        return pixels
    shape = pixels.shape
    layout_fits = len(shape) == 2 or (len(shape) == 3 and 1 <= shape[2] <= 4)
    if pixels.dtype != np.uint8 or not layout_fits:
        raise ArchiveError(
            f"{item.source or 'image'}: uint8 [H, W, 1..4] is needed, not {pixels.dtype} {shape}."
        )
    return encode_png(pixels)


def png_shape(data: bytes, source: str) -> tuple[int, int, int]:
    """Height, width and channels from the PNG header, without decoding."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 33:
        width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
        if depth == 8 and colour in _PNG_CHANNELS:
            return height, width, _PNG_CHANNELS[colour]
    raise ArchiveError(f"{source or 'image'} is no 8-bit PNG.")


def _sweep(target: Path) -> None:
    """Remove temporaries that a killed run left; young ones may belong to a run at work."""
    if not target.parent.is_dir():
        return
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
