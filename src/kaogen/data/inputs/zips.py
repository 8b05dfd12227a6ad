"""A zip of pictures: its directory is read once, its entries are read one by one and bounded."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Final

from kaogen.data.inputs.entries import (
    LARGEST_SIDECAR,
    PICTURE_TOO_LARGE,
    SIDECAR_TOO_LARGE,
    TWICE,
    Index,
    sift,
)
from kaogen.data.inputs.sources import IndexedSource
from kaogen.errors import ArchiveError, ImageError, LabelError
from kaogen.images import LARGEST_FILE

# What zipfile raises on directories that are cut short, bent or too new.
_DIRECTORY_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
_HEADER_LENGTH: Final = 30
_DAMAGED: Final = "the zip entry is damaged, encrypted or oddly packed."


class ZipSource(IndexedSource):
    """A zip file. Only what is stored or deflated is read: other methods have no memory bound."""

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as file:
                entries = [info for info in file.infolist() if not info.is_dir()]
        except _DIRECTORY_ERRORS as error:
            raise ArchiveError(
                f"{path} is no readable zip file ({error}).",
                hint="Was it cut short? Copy it again.",
            ) from error
        index, again = Index.build(
            # zipfile itself rewrites some names; what the file says is what must be judged.
            (info.orig_filename, _row(info))
            for info in entries
        )
        names, refused = sift(index.names)
        super().__init__(path, index, names, refused + [(name, TWICE) for name in again])
        self._file = str(path.absolute())

    def read(self, name: str) -> bytes:
        """The bytes of the entry ``name``; its checksum is checked."""
        row = self._index.find(name)
        if row is None:
            raise ImageError("the zip has no such entry.")
        if row[2] > LARGEST_FILE:
            raise ImageError(PICTURE_TOO_LARGE)
        data = self._unpack(row)
        if data is None:
            raise ImageError(_DAMAGED)
        return data

    def describe(self) -> dict[str, str | int]:
        """Name, kind, size and SHA-256 of the zip."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        return {"name": self.path.name, "kind": "zip", "bytes": size, "sha256": digest}

    def _peek(self, name: str) -> bytes | None:
        row = self._index.find(name)
        if row is None:
            return None
        if row[2] > LARGEST_SIDECAR:
            raise LabelError(f"{name} {SIDECAR_TOO_LARGE}")
        data = self._unpack(row)
        if data is None:
            raise LabelError(f"{name}: {_DAMAGED}")
        return data

    def _unpack(self, row: tuple[int, ...]) -> bytes | None:
        """The entry's bytes, None where it is not what the directory says.

        No more is read or unpacked than the directory promised, so a bomb stays small.
        """
        offset, packed_size, size, checksum, method, encrypted = row
        # Deflate makes nothing much larger: more packed bytes than this are a lie.
        if encrypted or packed_size > size + size // 100 + 1024:
            return None
        try:
            with Path(self._file).open("rb") as file:
                file.seek(offset)
                header = file.read(_HEADER_LENGTH)
                if len(header) < _HEADER_LENGTH or header[:4] != b"PK\3\4":
                    return None
                names = int.from_bytes(header[26:28], "little")
                extra = int.from_bytes(header[28:30], "little")
                file.seek(offset + _HEADER_LENGTH + names + extra)
                data = file.read(packed_size)
            if method == zipfile.ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
            elif method != zipfile.ZIP_STORED:
                return None
        except (OSError, zlib.error, OverflowError, ValueError):
            return None
        return data if len(data) == size and zlib.crc32(data) == checksum else None


def _row(info: zipfile.ZipInfo) -> tuple[int, ...]:
    # The format's 64 bits have no sign; what does not fit into ours is a lie anyway.
    offset, packed, size = (
        min(value, 2**62) for value in (info.header_offset, info.compress_size, info.file_size)
    )
    return (offset, packed, size, info.CRC, info.compress_type, info.flag_bits & 1)
