"""Work in progress, on disk: one file per shard of pictures, and the plan that it belongs to.

Beside ``OUT`` stands ``OUT.work/PLAN/``, PLAN being a hash of everything that decides what a
shard holds. A shard's file appears whole or not at all; that it is there means that the shard is
done. So the same command goes on where it was stopped, however it was stopped.

A file is a header, then three parts, each with its length and CRC-32 in the header: what was
found, in JSON; the tagger's scores; the PNGs. Reading the first alone costs little.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaogen.data.inputs.sidecars import Words
from kaogen.data.preparing.filters import FaceStats
from kaogen.data.preparing.found import Found
from kaogen.errors import DataError

_MAGIC = b"KAOSHRD1"
_HEADER = struct.Struct(">8s6Q")  # magic; length and CRC-32 of each part
_PICTURES = ("png", "tight")

Scores = npt.NDArray[np.float16]


class Work:
    """The folder of shards of one plan.

    Args:
        out: the data set file that the work is for.
        plan: everything that decides what a shard holds, in JSON's types.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        text = json.dumps(plan, sort_keys=True, ensure_ascii=False)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.root = out.absolute().with_name(out.name + ".work")
        self.folder = self.root / self.key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "plan.json").write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write {self.folder} ({error.strerror}).") from error

    def path(self, number: int) -> Path:
        """The file of shard ``number``."""
        return self.folder / f"{number:06d}.shard"

    def read(self, number: int, *, pictures: bool = True) -> Iterator[Found]:
        """What was found in shard ``number``, in order; without PNGs unless ``pictures``.

        Raises:
            DataError: the file is damaged. It is removed, so that the next run makes it anew.
        """
        path = self.path(number)
        try:
            yield from unpack(path, pictures=pictures)
        except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
            path.unlink(missing_ok=True)
            raise DataError(
                f"{path} is damaged ({error}).",
                hint="It is removed; run the same command again to make it anew.",
            ) from error

    def remove(self) -> None:
        """Remove this and all other plans' work for the same data set file."""
        shutil.rmtree(self.root, ignore_errors=True)


def pack(found: Sequence[Found]) -> bytes:
    """A shard's file, as bytes; the same for the same findings."""
    pictures = bytearray()
    rows = [_pack(face, pictures) for face in found]
    index = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    scores = b"".join(f.scores.astype("<f2").tobytes() for f in found if f.scores is not None)
    parts = (index, scores, bytes(pictures))
    header = (number for part in parts for number in (len(part), zlib.crc32(part)))
    return b"".join((_HEADER.pack(_MAGIC, *header), *parts))


def unpack(path: Path, *, pictures: bool = True) -> Iterator[Found]:
    """What the shard's file ``path`` holds; ValueError and the like where it is damaged."""
    with path.open("rb") as file:
        magic, *numbers = _HEADER.unpack(file.read(_HEADER.size))
        if magic != _MAGIC:
            raise ValueError("no shard")
        size = os.fstat(file.fileno()).st_size
        parts: list[bytes] = []
        for length, check in zip(numbers[0::2], numbers[1::2], strict=True):
            if len(parts) == 2 and not pictures:
                break
            part = file.read(length) if length <= size else b""
            if len(part) != length or zlib.crc32(part) != check:
                raise ValueError("cut short, or not as it was written")
            parts.append(part)
    rows = json.loads(parts[0])
    scored = sum("scores" in row for row in rows)
    table = np.frombuffer(parts[1], "<f2").reshape(scored, -1) if scored else None
    lines = iter(()) if table is None else iter(table)
    for row in rows:
        scores = next(lines) if "scores" in row else None
        yield _unpack(row, scores, parts[2] if pictures else None)


def write(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all.

    Raises:
        DataError: the disk refuses.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=path.stem, suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DataError(
            f"cannot write {path} ({error.strerror}).",
            hint="Is the disk full? What is done is kept: run the same command again.",
        ) from error


def _pack(face: Found, pictures: bytearray) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(face):
        value = getattr(face, field.name)
        if value is None or field.name == "scores":
            continue
        if field.name in _PICTURES:
            row[field.name] = (len(pictures), len(value))
            pictures += value
        elif field.name in ("stats", "words"):
            row[field.name] = asdict(value)
        elif value != field.default:
            row[field.name] = value
    if face.scores is not None:
        row["scores"] = True
    return row


def _unpack(row: dict[str, Any], scores: Scores | None, pictures: bytes | None) -> Found:
    told = {**row, "scores": scores}
    for name in _PICTURES:
        if name in row:
            start, length = row[name]
            told[name] = None if pictures is None else pictures[start : start + length]
    if "stats" in row:
        told["stats"] = FaceStats(**row["stats"])
    if "words" in row:
        words = row["words"]
        lists = {name: tuple(words[name]) for name in ("words", "names")}
        told["words"] = Words(**{**words, **lists})
    for name in ("box", "picture_size"):
        if name in row:
            told[name] = tuple(row[name])
    return Found(**told)
