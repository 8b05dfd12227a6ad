"""What sources share: which names are pictures, where entries lie, and bounded reading of files."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from kaogen.errors import ImageError, LabelError
from kaogen.images import LARGEST_FILE

PICTURE_EXTENSIONS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif"})
SIDECAR_SUFFIXES: Final = (".txt", ".caption", ".json")
"""What may stand beside a picture and tell its tags."""
LARGEST_SIDECAR: Final = 2**20
"""Bytes of a sidecar at most."""

PICTURE_TOO_LARGE: Final = f"the file is larger than {LARGEST_FILE >> 20} MiB."
SIDECAR_TOO_LARGE: Final = f"is larger than {LARGEST_SIDECAR >> 20} MiB."
TWICE: Final = "its name stands there twice; the first counts."
_LITTER: Final = frozenset({"thumbs.db", "desktop.ini"})  # operating systems strew it about
# No waiting on a pipe that somebody put there; no translation of line ends.
_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Refused = list[tuple[str, str]]


def is_unsafe(name: str) -> bool:
    """Whether a name inside an archive could mean a place outside it, or is not for printing."""
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        return True
    return ".." in name.split("/") or not name.isprintable()


def is_unprintable(name: str) -> bool:
    """The only thing that can be wrong with the name of a file which the system itself lists."""
    return not name.isprintable()


def sample_key(name: str) -> str:
    """A WebDataset member's key: its path up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    # A leading dot begins no extension.
    return folder + slash + last[:1] + last[1:].partition(".")[0]


def beside(name: str, suffix: str, *, by_key: bool = False) -> list[str]:
    """Where a picture's sidecar may be: for a/b.c.png a/b.c.png.json, a/b.c.json, a/b.json."""
    places = [name + suffix, name.rpartition(".")[0] + suffix]
    if by_key:
        places.append(sample_key(name) + suffix)
    return list(dict.fromkeys(places))


def sift(
    found: Iterable[str], unsafe: Callable[[str], bool] = is_unsafe, *, by_key: bool = False
) -> tuple[list[str], Refused]:
    """Sort out what lies in a source: (pictures, sorted; what is none of ours, with reasons).

    Sidecars of a picture that is there, hidden files and litter are passed over in silence.
    """
    pictures: list[str] = []
    sidecars: list[str] = []
    refused: Refused = []
    for name in found:
        last = name.rpartition("/")[2]
        if name.startswith("__MACOSX/") or last.startswith(".") or last.lower() in _LITTER:
            continue
        if unsafe(name):
            refused.append((name, "its name is unsafe."))
        elif _extension(last) in PICTURE_EXTENSIONS:
            pictures.append(name)
        elif _extension(last) in SIDECAR_SUFFIXES:
            sidecars.append(name)
        else:
            refused.append((name, "not a picture file by its name."))
    if sidecars:
        known = set(pictures)
        known.update(name.rpartition(".")[0] for name in pictures)
        if by_key:
            known.update(map(sample_key, pictures))
        strays = (name for name in sidecars if name.rpartition(".")[0] not in known)
        refused.extend((name, "not a picture file by its name.") for name in strays)
    pictures.sort()
    return pictures, sorted(refused)


class Index:
    """Where entries lie: name -> a row of integers, kept compactly and found by bisection.

    A million names take about 100 MB, where a dictionary of tuples would take four times that.
    """

    def __init__(self, names: Sequence[str], rows: npt.NDArray[np.int64]) -> None:
        self.names = names
        self._rows = rows

    @classmethod
    def build(cls, entries: Iterable[tuple[str, tuple[int, ...]]]) -> tuple[Index, list[str]]:
        """``(the index, the names that came again)``; of a name that does, the first counts."""
        names: list[str] = []
        numbers = array("q")
        width = 1
        for name, row in entries:
            names.append(name)
            numbers.extend(row)
            width = len(row)
        order = sorted(range(len(names)), key=names.__getitem__)  # stable: the first stays first
        kept = [at for n, at in enumerate(order) if n == 0 or names[order[n - 1]] != names[at]]
        again = [names[at] for n, at in enumerate(order) if n and names[order[n - 1]] == names[at]]
        table = np.frombuffer(numbers, np.int64).reshape(-1, width)
        return cls([names[at] for at in kept], table[kept]), again

    def find(self, name: str) -> tuple[int, ...] | None:
        """The row of ``name``, or None."""
        at = bisect_left(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return None
        return tuple(self._rows[at].tolist())

    def digest(self) -> str:
        """SHA-256 of the names and where they lie."""
        digest = hashlib.sha256(self._rows.astype("<i8").tobytes())
        for name in self.names:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()

    def part(self, names: Iterable[str]) -> Index:
        """An index of those of ``names`` that are here."""
        chosen = sorted(set(names))
        places = [bisect_left(self.names, name) for name in chosen]
        here = [
            (name, at)
            for name, at in zip(chosen, places, strict=True)
            if at < len(self.names) and self.names[at] == name
        ]
        return Index([name for name, _ in here], self._rows[[at for _, at in here]])


def read_picture(path: str) -> bytes:
    """The bytes of a picture's file; ImageError when it is too large, no file, or unreadable."""
    try:
        data = _read(path, LARGEST_FILE)
    except OSError as error:
        raise ImageError(f"the file cannot be read ({error.strerror}).") from error
    if data is None:
        raise ImageError("not a regular file.")
    if len(data) > LARGEST_FILE:
        raise ImageError(PICTURE_TOO_LARGE)
    return data


def read_sidecar_file(path: str) -> bytes | None:
    """The bytes of a sidecar's file, None when there is none; LabelError when it is no good."""
    name = os.path.basename(path)  # noqa: PTH119 (no need of a Path for each of millions)
    try:
        data = _read(path, LARGEST_SIDECAR)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LabelError(f"{name} cannot be read ({error.strerror}).") from error
    if data is not None and len(data) > LARGEST_SIDECAR:
        raise LabelError(f"{name} {SIDECAR_TOO_LARGE}")
    return data


def _read(path: str, most: int) -> bytes | None:
    """Up to ``most`` + 1 bytes; None for what is no regular file."""
    descriptor = os.open(path, _OPEN_FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(most + 1)


def _extension(last: str) -> str:
    return "." + last.rpartition(".")[2].lower()
