"""WebDataset: plain tars whose files of one key (the path up to the first dot) are one sample."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

from kaogen.data.inputs.entries import (
    LARGEST_SIDECAR,
    PICTURE_TOO_LARGE,
    SIDECAR_TOO_LARGE,
    TWICE,
    Index,
    Refused,
    sift,
)
from kaogen.data.inputs.sources import IndexedSource
from kaogen.data.inputs.tars import scan
from kaogen.errors import DataError, ImageError, LabelError
from kaogen.images import LARGEST_FILE

_MOST_TARS: Final = 100_000


class TarSource(IndexedSource):
    """One tar or several; with several, a name begins with its tar's, as in ``00000/1.jpg``."""

    by_key = True

    def __init__(self, path: Path, tars: Iterable[Path]) -> None:
        self._tars = [str(tar.absolute()) for tar in sorted(tars)]
        prefixes = _prefixes(self._tars)
        refused: Refused = []
        index, again = Index.build(self._entries(prefixes, refused))
        names, others = sift(index.names, by_key=True)
        others += [(name, TWICE) for name in again]
        super().__init__(path, index, names, sorted(refused + others))

    def read(self, name: str) -> bytes:
        """The bytes of the member ``name``."""
        row = self._index.find(name)
        if row is None:
            raise ImageError("the tar has no such member.")
        if row[2] > LARGEST_FILE:
            raise ImageError(PICTURE_TOO_LARGE)
        try:
            return self._bytes(row)
        except OSError as error:
            raise ImageError(f"the tar cannot be read ({error}).") from error

    def describe(self) -> dict[str, str | int]:
        """Name, kind, tars, bytes, and the SHA-256 of the listing: tars may be too large to hash.

        Each picture's own SHA-256 stands with the picture.
        """
        return {
            "name": self.path.name,
            "kind": "webdataset",
            "tars": len(self._tars),
            "bytes": sum(os.stat(tar).st_size for tar in self._tars),  # noqa: PTH116
            "listing_sha256": self._index.digest(),
        }

    def _peek(self, name: str) -> bytes | None:
        row = self._index.find(name)
        if row is None:
            return None
        if row[2] > LARGEST_SIDECAR:
            raise LabelError(f"{name} {SIDECAR_TOO_LARGE}")
        try:
            return self._bytes(row)
        except OSError as error:
            raise LabelError(f"{name} cannot be read ({error}).") from error

    def _bytes(self, row: tuple[int, ...]) -> bytes:
        tar, offset, size = row
        with Path(self._tars[tar]).open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) < size:
            raise OSError("it is shorter than when it was listed")
        return data

    def _entries(
        self, prefixes: list[str], refused: Refused
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        for number, tar in enumerate(self._tars):
            for member in scan(Path(tar)):
                name = prefixes[number] + member.name
                if re.match(r"__[^/]*__(/|$)", member.name):
                    continue  # what WebDataset says of the shard itself
                if member.reason:
                    refused.append((name, member.reason))
                else:
                    yield name, (number, member.offset, member.size)


def expand(path: Path) -> list[Path]:
    """The tars that a pattern with ``{000..009}``, ``{a,b}`` or ``*`` names; none without one.

    Raises:
        DataError: the pattern names too many, none that is there, or some that are missing.
    """
    pattern = str(path)
    if not re.search(r"\{[^{}]*(?:\.\.|,)[^{}]*\}", pattern):
        folder, name = path.parent, path.name
        return sorted(folder.glob(name)) if "*" in name and folder.is_dir() else []
    pieces = re.split(r"\{([^{}]*(?:\.\.|,)[^{}]*)\}", pattern)
    choices = [_choices(piece) if n % 2 else [piece] for n, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_TARS:
        raise DataError(f"{path} names {count:,} tars; {_MOST_TARS:,} are allowed.")
    tars = [Path("".join(words)) for words in product(*choices)]
    missing = [tar for tar in tars if not tar.is_file()]
    if missing:
        raise DataError(
            f"{path} names {len(tars):,} tars, of which {len(missing):,} are not there, "
            f"such as {missing[0].name}."
        )
    return tars


def _choices(piece: str) -> list[str]:
    span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", piece)
    if span is None:
        return piece.split(",")
    first, last = span.groups()
    width = len(first) if first.startswith("0") else 0
    if int(last) - int(first) >= _MOST_TARS:
        raise DataError(f"{{{piece}}} names more than {_MOST_TARS:,} tars.")
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _prefixes(tars: list[str]) -> list[str]:
    if len(tars) == 1:
        return [""]
    common = os.path.commonpath([os.path.dirname(tar) for tar in tars])  # noqa: PTH120
    return [os.path.relpath(tar, common).removesuffix(".tar") + "/" for tar in tars]
