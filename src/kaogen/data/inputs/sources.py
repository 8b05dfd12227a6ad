"""Where pictures come from: folders, zips, WebDataset tars and lists, read one by one.

The order is fixed: by name. Nothing is ever extracted; what lies in a zip or a tar is read into
memory, whatever its name says. A listing is made once: `Source.part` gives a worker what it needs
for some pictures and nothing else, so that millions of files are listed by one process only.
"""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from kaogen.data.inputs.entries import (
    SIDECAR_SUFFIXES,
    Index,
    Refused,
    beside,
    is_unprintable,
    read_picture,
    read_sidecar_file,
    sift,
)
from kaogen.errors import DataError


class Source(ABC):
    """Pictures in one place. Build it with :func:`open_source`; it can be pickled.

    Attributes:
        path: the folder, file or pattern, as it was given.
        names: the pictures' names in it, with ``/``, sorted.
        refused: ``(name, reason)`` of what is there and is no picture of ours.
    """

    # Whether files of one WebDataset key belong together.
    by_key = False

    def __init__(
        self, path: Path, names: Sequence[str], refused: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.path = path
        self.names = tuple(names)
        self.refused = list(refused)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of one picture; ImageError when they cannot be had."""

    def sidecar(self, name: str, suffix: str) -> bytes | None:
        """The file beside a picture; for ``a/b.png`` and ".json": a/b.png.json, else a/b.json.

        In a WebDataset also the member of the same key.

        Raises:
            LabelError: it is there but is larger than a MiB or cannot be read.
        """
        for place in beside(name, suffix, by_key=self.by_key):
            data = self._peek(place)
            if data is not None:
                return data
        return None

    def row(self, name: str) -> Mapping[str, object] | None:
        """What a list says of a picture, by column or key; None where there is no list.

        Raises:
            LabelError: the row cannot be read any more.
        """
        del name
        return None

    def part(self, names: Sequence[str]) -> Self:
        """The same source with these pictures only: small, so send it to a worker by pickle.

        Its size grows with ``names`` alone, and reading from it lists nothing again.
        """
        part = copy.copy(self)
        part.names, part.refused = tuple(names), []
        return part

    @abstractmethod
    def describe(self) -> dict[str, str | int]:
        """Name, kind and what else tells this source from another, for the provenance."""

    @abstractmethod
    def _peek(self, name: str) -> bytes | None:
        """The bytes of a sidecar, or None when there is none of that name."""


class IndexedSource(Source):
    """A source that has read where its entries lie."""

    def __init__(self, path: Path, index: Index, names: Sequence[str], refused: Refused) -> None:
        super().__init__(path, names, refused)
        self._index = index

    def part(self, names: Sequence[str]) -> Self:
        """The same source with these pictures, and their sidecars, only."""
        part = super().part(names)
        sidecars = (
            place
            for name in names
            for suffix in SIDECAR_SUFFIXES
            for place in beside(name, suffix, by_key=self.by_key)
        )
        part._index = self._index.part([*names, *sidecars])
        return part


class FolderSource(Source):
    """A folder with its subfolders.

    Links to files are followed, for people keep sets of links; links to folders are not, for they
    may run in circles.
    """

    def __init__(self, path: Path) -> None:
        self._root = str(path.absolute())  # a worker may have another working folder
        refused: Refused = []
        names, others = sift(_walk(self._root, refused), is_unprintable)
        super().__init__(path, names, sorted(refused + others))

    def read(self, name: str) -> bytes:
        """The bytes of the file ``name`` below the folder."""
        return read_picture(f"{self._root}/{name}")

    def describe(self) -> dict[str, str | int]:
        """Name and kind; each file's own SHA-256 stands with the file."""
        return {"name": self.path.resolve().name, "kind": "folder"}

    def _peek(self, name: str) -> bytes | None:
        return read_sidecar_file(f"{self._root}/{name}")


def open_source(path: Path, *, root: Path | None = None) -> Source:
    """The folder, zip, tar, pattern of tars (``{000..009}.tar``) or list at ``path``.

    A folder that holds tars and no pictures is a WebDataset.

    Args:
        path: what to open.
        root: for a list, the folder that its paths are relative to and may not leave; by default
            the list's own.

    Raises:
        DataError: there is nothing, or nothing that kaogen can read.
    """
    # These build upon this file.
    from kaogen.data.inputs.lists import LIST_EXTENSIONS, ListSource
    from kaogen.data.inputs.tars import is_tar
    from kaogen.data.inputs.webdataset import TarSource, expand
    from kaogen.data.inputs.zips import ZipSource

    if path.is_dir():
        folder = FolderSource(path)
        tars = [path / name for name, _ in folder.refused if name.lower().endswith(".tar")]
        return folder if folder.names or not tars else TarSource(path, tars)
    if path.is_file():
        if path.suffix.lower() in LIST_EXTENSIONS:
            return ListSource(path, root)
        return TarSource(path, [path]) if is_tar(path) else ZipSource(path)
    tars = expand(path)
    if not tars:
        raise DataError(
            f"{path} does not exist.",
            hint="SOURCE is a folder, a zip or a .tar of pictures, or a .csv or .jsonl of paths.",
        )
    return TarSource(path, tars)


def _walk(root: str, refused: Refused) -> Iterator[str]:
    """Names of the files below ``root``, without hidden folders; a stack, for any depth."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    name = folder + entry.name
                    if not entry.is_dir():
                        yield name
                    elif entry.name.startswith("."):
                        continue
                    elif entry.is_symlink():
                        refused.append((name, "a link to a folder; those are not followed."))
                    else:
                        waiting.append(f"{name}/")
        except OSError as error:
            refused.append((folder or ".", f"the folder cannot be listed ({error.strerror})."))
