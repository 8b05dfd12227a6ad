"""A list of pictures: a CSV, TSV or JSON-lines file that names one in each row.

Only where each row lies is kept; what it says of a picture is read when it is asked for.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from kaogen.data.inputs.entries import (
    TWICE,
    Index,
    Refused,
    is_unprintable,
    read_picture,
    read_sidecar_file,
    sift,
)
from kaogen.data.inputs.sources import IndexedSource
from kaogen.errors import DataError, ImageError, LabelError

LIST_EXTENSIONS: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
PATH_COLUMNS: Final = ("file", "path", "image", "file_name", "filename", "file_path")
"""What names the picture; the first of these that there is."""

_CROOKED: Final = re.compile(r"^/|^[A-Za-z]:|//|/$|(?:^|/)\.\.?(?:/|$)")
_LONGEST_ROW: Final = 2**20
_OUTSIDE: Final = "it lies outside the list's folder."


class ListSource(IndexedSource):
    """A list of paths, relative to the list's folder.

    A list may come from a stranger, and its pictures may go on into a data set that is given away.
    So a path that leads out of the folder, absolute or by "..", is refused; whoever means it names
    a folder above as ``root``.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self._root = os.path.normpath((root or path.parent).absolute())
        self._file = str(path.absolute())
        self._header: list[str] = []
        self._json = path.suffix.lower() in {".jsonl", ".ndjson"}
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        refused: Refused = []
        try:
            with path.open("rb") as file:
                index, again = Index.build(self._entries(_Lines(file, path), refused))
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}).") from error
        names, others = sift(index.names, is_unprintable)
        others += [(name, TWICE) for name in again]
        super().__init__(path, index, names, sorted(refused + others))

    def read(self, name: str) -> bytes:
        """The bytes of a listed file."""
        if self._index.find(name) is None:
            raise ImageError("the list does not name it.")
        return read_picture(f"{self._root}/{name}")

    def row(self, name: str) -> Mapping[str, object] | None:
        """The picture's row, by column or key."""
        place = self._index.find(name)
        if place is None:
            return None
        offset, length = place
        try:
            with Path(self._file).open("rb") as file:
                file.seek(offset)
                row = self._parse(file.read(length))
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise LabelError(f"the row of {name} cannot be read ({_say(error)}).") from error
        if self._name(row) != name:
            raise LabelError(f"the row of {name} is not where it was.")
        return row

    def describe(self) -> dict[str, str | int]:
        """Name, kind, size and SHA-256 of the list."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        return {"name": self.path.name, "kind": "list", "bytes": size, "sha256": digest}

    def _peek(self, name: str) -> bytes | None:
        return read_sidecar_file(f"{self._root}/{name}")

    def _entries(self, lines: _Lines, refused: Refused) -> Iterator[tuple[str, tuple[int, ...]]]:
        for row, error in self._rows(lines):
            start, number = lines.take()
            where = f"{self.path.name} line {number}"
            if row is None:
                refused.append((where, f"it cannot be read ({error})."))
            elif row:
                name = self._name(row)
                if not name:
                    refused.append((where, "it names no file."))
                elif name == ".." or name.startswith("../"):
                    refused.append((where, f"{self._given(row)}: {_OUTSIDE}"))
                elif name.rpartition("/")[2].startswith("."):
                    refused.append((where, f"{name}: a hidden file."))
                else:
                    yield name, (start, lines.offset - start)

    def _rows(self, lines: _Lines) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
        """``(row, "")``, ``({}, "")`` for an empty line, or ``(None, what is wrong)``."""
        rows: Iterator[Mapping[str, Any]]
        if self._json:
            rows = map(_from_json, lines)
        else:
            reader = csv.reader(lines, delimiter=self._delimiter)
            self._header = [cell.strip().lower() for cell in next(reader, [])]
            lines.take()
            if not set(PATH_COLUMNS) & set(self._header):
                raise DataError(
                    f"{self.path} has no header with a column that names the files.",
                    hint=f"Name it one of: {', '.join(PATH_COLUMNS)}.",
                )
            rows = map(self._by_column, reader)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except (ValueError, RecursionError, csv.Error) as error:
                yield None, _say(error)
            else:
                yield row, ""

    def _parse(self, data: bytes) -> Mapping[str, Any]:
        text = _text(data)
        if self._json:
            return _from_json(text)
        reader = csv.reader(text.splitlines(keepends=True), delimiter=self._delimiter)
        return self._by_column(next(reader, []))

    def _by_column(self, cells: list[str]) -> Mapping[str, Any]:
        return dict(zip(self._header, cells, strict=False))

    def _name(self, row: Mapping[str, Any]) -> str:
        """The picture's path from the root; "" for none, beginning with ``../`` when outside."""
        given = self._given(row)
        if not given or "\0" in given:
            return ""
        if not _CROOKED.search(given):
            return given  # nearly always; a list may have millions of rows
        whole = os.path.normpath(os.path.join(self._root, given))  # noqa: PTH118
        return os.path.relpath(whole, self._root).replace(os.sep, "/")

    @staticmethod
    def _given(row: Mapping[str, Any]) -> str:
        given = next((row[key] for key in PATH_COLUMNS if row.get(key)), None)
        # Lists are written on Windows, too.
        return given.strip().replace("\\", "/") if isinstance(given, str) else ""


class _Lines:
    """The lines of a file, for csv or json, and where the row that was just read began."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.offset = 0
        self._row_offset = 0
        self._number = 0
        self._row_number = 1

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(_LONGEST_ROW + 1):
            self.offset += len(line)
            self._number += 1
            if self.offset - self._row_offset > _LONGEST_ROW:
                raise DataError(
                    f"{self._path} line {self._row_number} is longer than a MiB.",
                    hint="Is it a list of pictures? Or is a quotation mark never closed?",
                )
            yield _text(line)

    def take(self) -> tuple[int, int]:
        """``(offset, line number)`` of where the row began; the next begins here."""
        start = (self._row_offset, self._row_number)
        self._row_offset, self._row_number = self.offset, self._number + 1
        return start


def _text(data: bytes) -> str:
    # What is no UTF-8 makes a name that cannot be printed, and is refused as such.
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _from_json(line: str) -> Mapping[str, Any]:
    if not line.strip():
        return {}
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("not an object {...}")  # noqa: TRY004 (one kind for the caller)
    # An empty object is a line that names nothing, not an empty line.
    return row or {"file": ""}


def _say(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
