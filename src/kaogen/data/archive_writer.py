"""The data set file, written: atomic, and the same bytes for the same items.

The layout stands in :mod:`kaogen.data.archive`, which also makes these names public.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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

# Level 1 is within 1% of level 6 on 64 px faces and a third quicker; level 0 takes 32% more disk.
_PNG_LEVEL = 1
_STALE_SECONDS = 24 * 3600
# A fixed date, the zip format's first day: the same input must give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}


@dataclass(frozen=True)
class Item:
    """One face on its way into a data set.

    Attributes:
        image: uint8 ``[H, W, 1|3|4]`` or ``[H, W]``, or the bytes of an 8-bit PNG
            (as :func:`encode_png` gives them).
        tags: its tags, in the vocabulary's spelling; None for "no label".
        label: the label itself, ``[L]``, when it is not made of tags.
        source: the file it came from, for the provenance.
        sha256: hex digest of that file's bytes, or "".
    """

    image: npt.NDArray[np.uint8] | bytes
    tags: Sequence[str] | None = None
    label: Sequence[float] | None = None
    source: str = ""
    sha256: str = ""


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
) -> int:
    """Write ``items`` as the data set file ``path`` and return how many there were.

    The file appears whole or not at all: it is written beside ``path``, synced, then moved there.
    Labels are written when all items have one; when none has, ``labels`` is null, as StyleGAN2-ADA
    has it.

    Raises:
        ArchiveError: no items, images of different shapes, or the disk refuses.
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
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                count = _write_entries(_Writer(archive, vocabulary), items, provenance or {})
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


class _Writer:
    """Adds entries one by one and keeps what the sidecars need."""

    def __init__(self, archive: zipfile.ZipFile, vocabulary: Vocabulary | None) -> None:
        self.archive = archive
        self.vocabulary = vocabulary
        self.shape: tuple[int, int, int] | None = None
        self.image_bytes = 0
        self.labels: list[tuple[str, list[float]]] = []
        self.files: list[list[str]] = []
        self.tags: Counter[str] = Counter()

    def put(self, name: str, data: bytes) -> None:
        info = zipfile.ZipInfo(name, _DATE)
        info.create_system = 3  # else Windows and Linux would differ
        info.external_attr = 0o644 << 16
        self.archive.writestr(info, data)

    def put_json(self, name: str, value: object) -> None:
        self.put(name, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())

    def add(self, item: Item) -> None:
        data = item.image if isinstance(item.image, bytes) else _encode_checked(item)
        shape = _png_shape(data, item.source)
        if self.shape is None:
            self.shape = shape
        elif self.shape != shape:
            raise ArchiveError(
                f"{item.source or 'image'} is {shape[1]} x {shape[0]} x {shape[2]}, the first "
                f"{self.shape[1]} x {self.shape[0]} x {self.shape[2]}.",
                hint="All images of a data set have one size.",
            )
        number = f"{len(self.files):08d}"
        name = f"{number[:5]}/img{number}.png"
        self.put(name, data)
        self.image_bytes += len(data)
        self.files.append([name, item.source, item.sha256])
        label = self._label(item)
        if label is not None:
            self.labels.append((name, label))
        if len(self.labels) not in (0, len(self.files)):
            raise LabelError(
                f"{item.source or name}: some images are labelled and some are not.",
                hint="Label all of them or none.",
            )

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
        width = len(self.labels[0][1]) if self.labels else len(label)
        if self.vocabulary is not None:
            width = len(self.vocabulary)
            self.tags.update(self.vocabulary.decode(label))
        if len(label) != width:
            raise LabelError(f"{item.source or 'label'}: {len(label)} numbers instead of {width}.")
        return label


def _write_entries(writer: _Writer, items: Iterable[Item], provenance: Mapping[str, Any]) -> int:
    for item in items:
        writer.add(item)
    if writer.shape is None:
        raise ArchiveError("there are no images to write.")
    height, width, channels = writer.shape
    # Last, as in StyleGAN2-ADA: the labels are known when the images are through.
    writer.put_json(LABELS_NAME, {"labels": writer.labels or None})
    names = writer.vocabulary.names if writer.vocabulary is not None else ()
    if writer.vocabulary is not None:
        writer.put_json(TAGS_NAME, {"format": "kaogen-tags", "version": 1, "tags": list(names)})
    writer.put_json(
        STATS_NAME,
        {
            "images": len(writer.files),
            "resolution": [height, width],
            "channels": channels,
            "image_bytes": writer.image_bytes,
            "labelled": len(writer.labels),
            "tags": {name: writer.tags[name] for name in names},
        },
    )
    writer.put_json(PROVENANCE_NAME, {**provenance, "files": writer.files})
    return len(writer.files)


def _encode_checked(item: Item) -> bytes:
    pixels = item.image
    if isinstance(pixels, bytes):
        return pixels
    shape = pixels.shape
    layout_fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if pixels.dtype != np.uint8 or not layout_fits:
        raise ArchiveError(
            f"{item.source or 'image'}: uint8 [H, W, 1|3|4] is needed, not {pixels.dtype} {shape}."
        )
    return encode_png(pixels)


def _png_shape(data: bytes, source: str) -> tuple[int, int, int]:
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
