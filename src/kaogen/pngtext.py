"""The text inside a PNG file, read without decoding the picture.

The file is untrusted: only chunk headers and the text chunks asked for are looked at, everything
has a bound, and a chunk with a wrong checksum is refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

from kaogen.errors import ImageError

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS: Final = 10_000
_LONGEST_TEXT: Final = 64 * 1024


def read_text(source: bytes | Path, keywords: Collection[str]) -> dict[str, str]:
    """Read the tEXt and iTXt chunks with these keywords; the first of each counts.

    Args:
        source: a file's content, or its path.
        keywords: the chunks that are wanted; all others are skipped unread.

    Raises:
        ImageError: not a PNG file, cut off, damaged, or a wanted text is too long.
        OSError: the path cannot be opened.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), len(source), keywords)
    with source.open("rb") as file:
        return _read(file, source.stat().st_size, keywords)


def _read(file: BinaryIO, size: int, keywords: Collection[str]) -> dict[str, str]:
    if file.read(8) != _SIGNATURE:
        raise ImageError("this is not a PNG file.")
    found: dict[str, str] = {}
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or file.tell() + length + 4 > size:
            raise ImageError("the PNG file is cut off.")
        if kind == b"IEND":
            return found
        if kind not in (b"tEXt", b"iTXt"):
            file.seek(length + 4, io.SEEK_CUR)
            continue
        # A keyword has 79 bytes at most, so one look tells whether the rest is wanted.
        start = file.read(min(length, 80))
        keyword = start.partition(b"\0")[0].decode("latin-1")
        if keyword not in keywords or keyword in found:
            file.seek(length - len(start) + 4, io.SEEK_CUR)
            continue
        if length > _LONGEST_TEXT:
            raise ImageError(f'the PNG file\'s text "{keyword}" is too long.')
        data = start + file.read(length - len(start))
        if zlib.crc32(kind + data) != int.from_bytes(file.read(4)):
            raise ImageError(f'the PNG file\'s text "{keyword}" is damaged.')
        found[keyword] = _text(kind, data.partition(b"\0")[2])
    raise ImageError("the PNG file has too many chunks.")


def _text(kind: bytes, data: bytes) -> str:
    if kind == b"tEXt":
        return data.decode("latin-1")
    packed = data[:1] == b"\x01"
    body = data[2:].partition(b"\0")[2].partition(b"\0")[2]  # past language and translated keyword
    try:
        if packed:
            inflate = zlib.decompressobj()
            body = inflate.decompress(body, _LONGEST_TEXT)
            if not inflate.eof:
                raise ImageError("a text of the PNG file is too long or cut off.")
        return body.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise ImageError("a text of the PNG file is damaged.") from error
