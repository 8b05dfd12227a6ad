"""A tar's members and where their bytes lie: a small reader of our own.

`tarfile` trusts what it reads: a long header is read whole, and damage makes it stop or loop. This
one looks only at headers, in bounded memory, and what it does not know it refuses. It reads
POSIX.1-2001 (pax), ustar and GNU headers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kaogen.errors import ArchiveError, DataError

_BLOCK: Final = 512
_LONGEST_HEADER: Final = 64 * 1024  # of a long name, or of pax records
_CUT_SHORT: Final = "the tar is cut short."
_NO_END: Final = "the tar has no mark at its end; was it cut short?"
_MORE: Final = "more follows behind the tar's end and is not read; are they several tars in one?"
# Type flag -> why such an entry is refused; what stands in neither table is passed over.
_REASONS: Final = {
    b"1": "a link; links in a tar are not followed.",
    b"2": "a link; links in a tar are not followed.",
    b"3": "a device, no file.",
    b"4": "a device, no file.",
    b"6": "a pipe, no file.",
    b"M": "a part of a file; the rest is in another tar.",
    b"S": "a sparse file; pack it again without --sparse.",
}
_FILES: Final = (b"0", b"\0", b"7")
_NO_TAR: Final = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"(\xb5/\xfd": "unzstd",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tar: where its bytes lie, or why it is refused.

    Attributes:
        name: as the tar says it, without a leading ``./``.
        offset: of its first byte in the tar.
        size: in bytes.
        reason: "" for a file that can be read.
    """

    name: str
    offset: int
    size: int
    reason: str = ""


class _BadTarError(Exception):
    """The tar is damaged from here on."""


def scan(path: Path) -> Iterator[Member]:
    """The files of a tar, and what is refused in it, in the tar's order.

    A tar that is damaged or cut short gives what comes before, then one refused member of its name.

    Raises:
        ArchiveError: it cannot be opened, or its first header already is none.
    """
    try:
        with path.open("rb") as file:
            yield from _scan(file, path)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror}).") from error


def is_tar(path: Path) -> bool:
    """Whether the file begins as a tar does.

    Raises:
        DataError: it is compressed as a whole, so that nothing in it can be reached directly.
    """
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    for magic, command in _NO_TAR.items():
        if head.startswith(magic):
            raise DataError(
                f"{path} is compressed as a whole, so single pictures in it cannot be reached.",
                hint=f"Unpack it to a plain .tar first, with {command}.",
            )
    if path.suffix.lower() == ".tar":
        return True
    return len(head) == _BLOCK and _checksum_holds(head)


def _scan(file: BinaryIO, path: Path) -> Iterator[Member]:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise ArchiveError(f"{path} is empty.")
    place = 0
    said: dict[str, str] = {}  # what extended headers say of the next member
    try:
        while (head := _header(file, place)).strip(b"\0"):
            kind = head[156:157]
            length = _number(said.pop("size", None), head)
            data = place + _BLOCK
            if kind == b"S":
                data = _after_sparse_headers(file, head, data)
            following = data + -(-length // _BLOCK) * _BLOCK
            if kind in (b"x", b"L"):
                said |= _extended(file, kind, length)
            elif kind not in (b"K", b"g"):
                yield from _member(head, kind, data, length, said, size)
                said = {}
            if data + length > size:
                return
            place = following
        reason = _after_end(file, head)
        if reason:
            yield Member(path.name, place, 0, reason)
    except _BadTarError as error:
        if place == 0:
            raise ArchiveError(f"{path} is no readable tar ({error}).") from error
        yield Member(path.name, place, 0, f"the tar is damaged at byte {place:,}: {error}.")


def _header(file: BinaryIO, place: int) -> bytes:
    """The block at ``place``: a header, zeros at the tar's end, nothing at the file's."""
    file.seek(place)
    head = file.read(_BLOCK)
    if 0 < len(head) < _BLOCK:
        raise _BadTarError("it is cut short")
    if head.strip(b"\0") and not _checksum_holds(head):
        raise _BadTarError("a header's checksum is wrong")
    return head


def _after_end(file: BinaryIO, head: bytes) -> str:
    """What is wrong with the end of a tar whose last block was ``head``; "" when all is well."""
    if not head:
        return _NO_END
    return _MORE if file.read(_LONGEST_HEADER).strip(b"\0") else ""


def _checksum_holds(head: bytes) -> bool:
    try:
        said = int(head[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return said == sum(head) - sum(head[148:156]) + 8 * 32


def _number(said: str | None, head: bytes) -> int:
    """A member's size: as pax says, or in octal digits, or in GNU's base 256."""
    field = head[124:136]
    try:
        if said is not None:
            value = int(said)
        elif field[0] & 0x80:
            value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
        else:
            value = int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise _BadTarError("a size is no number") from error
    if not 0 <= value < 2**62:
        raise _BadTarError("a size cannot be")
    return value


def _extended(file: BinaryIO, kind: bytes, length: int) -> dict[str, str]:
    """What a pax or GNU header says of the next member's name and size."""
    if length > _LONGEST_HEADER:
        raise _BadTarError("a header is too long")
    data = file.read(length)
    if len(data) < length:
        raise _BadTarError("it is cut short")
    if kind == b"L":
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    said: dict[str, str] = {}
    while data:
        # "25 path=deep/picture.png\n": a record's length in bytes, itself included.
        digits, space, _ = data[:8].partition(b" ")
        end = int(digits) if space and digits.isdigit() else 0
        if not len(digits) + 2 < end <= len(data) or data[end - 1 : end] != b"\n":
            raise _BadTarError("a pax header is damaged")
        key, _, value = data[len(digits) + 1 : end - 1].partition(b"=")
        said[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[end:]
    return said


def _after_sparse_headers(file: BinaryIO, head: bytes, data: int) -> int:
    """Where the data of an old GNU sparse file begins: after the further maps of its holes."""
    more = head[482]
    while more:
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise _BadTarError("it is cut short")
        more = block[504]
        data += _BLOCK
    return data


def _member(
    head: bytes, kind: bytes, data: int, length: int, said: dict[str, str], size: int
) -> Iterator[Member]:
    name = said.get("path") or _name(head)
    reason = _REASONS.get(kind, "")
    if any(key.startswith("GNU.sparse.") for key in said):
        name, reason = said.get("GNU.sparse.name", name), _REASONS[b"S"]
    if not reason and (kind not in _FILES or name.endswith("/")):
        return  # a folder, or what some program keeps for itself
    if data + length > size:
        reason = _CUT_SHORT
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    yield Member(name, data, length, reason)


def _name(head: bytes) -> str:
    name = head[:100].partition(b"\0")[0]
    # Only POSIX's own form has a prefix there; GNU's keeps times in the same place.
    if head[257:263] == b"ustar\0":
        prefix = head[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "surrogateescape")
