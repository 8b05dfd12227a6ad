"""Where ready faces come from: a folder or a zip, listed in a fixed order, read one by one.

Nothing is ever extracted: an entry is read into memory, whatever its name says.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kaogen.errors import ArchiveError, DataError, ImageError
from kaogen.images import LARGEST_FILE

PICTURE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif"})
_TOO_LARGE = f"the file is larger than {LARGEST_FILE >> 20} MiB."
# What zipfile raises on entries that are cut short, bent, encrypted or oddly packed.
_ENTRY_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


class Source(ABC):
    """Pictures in a folder or a zip. Build it with :func:`open_source`.

    Attributes:
        path: the folder or file.
        names: the pictures' names relative to it, with ``/``, sorted.
        refused: ``(name, reason)`` of what is there and is no picture of ours.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self.path = path
        kept: list[str] = []
        self.refused: list[tuple[str, str]] = []
        for name in sorted(set(names)):
            reason = _refusal(name)
            if reason is None:
                kept.append(name)
            elif reason:
                self.refused.append((name, reason))
        self.names = tuple(kept)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of one picture; ImageError when they cannot be had."""

    @abstractmethod
    def describe(self) -> dict[str, str | int]:
        """Name, kind and (for a zip) size and SHA-256, for the provenance."""


class FolderSource(Source):
    """A folder, with its subfolders; links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _walk(path))

    def read(self, name: str) -> bytes:
        """The bytes of the file ``name`` below the folder."""
        file = self.path / name
        try:
            if not file.is_file():
                raise ImageError("not a regular file.")
            if file.stat().st_size > LARGEST_FILE:
                raise ImageError(_TOO_LARGE)
            return file.read_bytes()
        except OSError as error:
            raise ImageError(f"the file cannot be read ({error.strerror}).") from error

    def describe(self) -> dict[str, str | int]:
        """Name and kind; each file's own SHA-256 stands with the file."""
        return {"name": self.path.resolve().name, "kind": "folder"}


class ZipSource(Source):
    """A zip file."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except _ENTRY_ERRORS as error:
            raise ArchiveError(
                f"{path} is no readable zip file ({error}).",
                hint="Was it cut short? Copy it again.",
            ) from error
        entries = [info for info in self._zip.infolist() if not info.is_dir()]
        # zipfile itself rewrites some names; what the file says is what must be judged.
        super().__init__(path, (info.orig_filename for info in entries))
        self._entries = {info.orig_filename: info for info in entries}

    def read(self, name: str) -> bytes:
        """The bytes of the entry ``name``; its checksum is checked."""
        info = self._entries[name]
        if info.file_size > LARGEST_FILE:
            raise ImageError(_TOO_LARGE)
        try:
            with self._zip.open(info) as file:
                # Bounded even where the directory lies about the size.
                return file.read(info.file_size)
        except _ENTRY_ERRORS as error:
            raise ImageError("the zip entry is damaged, encrypted or oddly packed.") from error

    def describe(self) -> dict[str, str | int]:
        """Name, kind, size and SHA-256 of the zip."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        return {"name": self.path.name, "kind": "zip", "bytes": size, "sha256": digest}


def open_source(path: Path) -> Source:
    """The folder or zip at ``path``; DataError when it is neither."""
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise DataError(f"{path} does not exist.", hint="SOURCE is a folder or a zip of faces.")


def _walk(folder: Path) -> Iterable[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            yield (Path(root) / name).relative_to(folder).as_posix()


def _refusal(name: str) -> str | None:
    """None to keep it, "" to pass over it silently, else the reason to count it under."""
    path = PurePosixPath(name)
    unsafe = path.is_absolute() or ".." in path.parts or ":" in name or "\\" in name
    if unsafe or not name.isprintable():
        return "its name is unsafe."
    if path.parts[0] == "__MACOSX" or path.name.startswith("."):
        return ""
    if path.suffix.lower() not in PICTURE_EXTENSIONS:
        return "not a picture file by its name."
    return None
