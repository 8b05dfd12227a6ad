"""How large the frames inside an AVIF file are, before a decoder makes room for them.

An AVIF file says its size twice: in its container, which libraries tell, and in the AV1 frames,
for which the decoder allocates. A file of a kilobyte may say 64x64 outside and 16384x16384 within.
So the frames' own headers are read here: ISO/IEC 23008-12 (boxes ``iinf``, ``iloc``), ISO/IEC
14496-12 (tracks of animations) and the AV1 specification, 5.5 (sequence header).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kaogen.errors import ImageError

_MOST_BOXES: Final = 20_000
_MOST_UNITS: Final = 10_000  # AV1's OBUs
_MOST_FRAMES: Final = 16  # of one item: a still has one, a layered one four
_DAMAGED: Final = "the AVIF file is damaged (its boxes)."
_HOLDERS: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")

Boxes = dict[bytes, list[tuple[int, int]]]


def frame_pixels(data: bytes) -> int:
    """Pixels, by their own headers, of all the frames that the first picture may be made of.

    The picture and its transparency are two frames; a grid has one for each tile.

    Raises:
        ImageError: the file is damaged, or is made to waste time.
    """
    try:
        boxes = _boxes(data)
        # A decoder takes one of the two, whichever.
        return max(_sum(_items(data, boxes), data), _sum(_first_samples(data, boxes), data))
    except (IndexError, ValueError) as error:
        raise ImageError(_DAMAGED) from error


def _sum(pieces: Iterable[bytes], data: bytes) -> int:
    total = read = 0
    for piece in pieces:
        read += len(piece)
        if read > 4 * len(data):
            raise ImageError("the AVIF file uses the same bytes many times over.")
        total += _pixels(piece)
    return total


def _boxes(data: bytes) -> Boxes:
    """Kind -> ``(begin, end)`` of the contents of each box of that kind, at any depth."""
    found: Boxes = {}
    waiting = [(0, len(data))]
    count = 0
    while waiting:
        at, end = waiting.pop()
        while at + 8 <= end:
            count += 1
            if count > _MOST_BOXES:
                raise ImageError(f"the AVIF file has more than {_MOST_BOXES:,} boxes.")
            size, kind, begin = _int(data, at, 4), data[at + 4 : at + 8], at + 8
            if size == 1:
                size, begin = _int(data, at + 8, 8), at + 16
            stop = at + size if size else end
            if stop > end or stop < begin:
                break  # cut off: what comes before may do
            found.setdefault(kind, []).append((begin, stop))
            if kind == b"meta" or kind in _HOLDERS:
                waiting.append((begin + 4 * (kind == b"meta"), stop))
            at = stop
    return found


def _items(data: bytes, boxes: Boxes) -> Iterator[bytes]:
    """The bytes of each AV1 item."""
    kinds = _item_kinds(data, boxes)
    store = boxes.get(b"idat", [(0, 0)])[0][0]
    seen = 0
    for begin, _ in boxes.get(b"iloc", []):
        version, sizes, base_size = data[begin], data[begin + 4], data[begin + 5] >> 4
        offset_size, length_size = sizes >> 4, sizes & 15
        index_size = data[begin + 5] & 15 if version else 0
        wide = 4 if version == 2 else 2
        count, at = _int(data, begin + 6, wide), begin + 6 + wide
        for _ in range(count):
            item, at = _int(data, at, wide), at + wide
            method = 0
            if version:
                method, at = _int(data, at, 2) & 15, at + 2
            base, at = _int(data, at + 2, base_size), at + 2 + base_size
            extents, at = _int(data, at, 2), at + 2
            piece = b""
            # An extent may take no bytes to name, so that a short file could have billions.
            seen += 1 + extents
            if seen > _MOST_BOXES:
                raise ImageError(f"the AVIF file has more than {_MOST_BOXES:,} pieces.")
            for _ in range(extents):
                at += index_size
                offset = base + _int(data, at, offset_size) + (store if method == 1 else 0)
                length = _int(data, at + offset_size, length_size) or len(data)
                at += offset_size + length_size
                if kinds.get(item) == b"av01" and len(piece) < len(data):
                    piece += data[offset : offset + length]
            if piece:
                yield piece


def _item_kinds(data: bytes, boxes: Boxes) -> dict[int, bytes]:
    kinds = {}
    for begin, stop in boxes.get(b"iinf", []):
        at = begin + (8 if data[begin] else 6)
        while at + 8 <= stop:
            size = _int(data, at, 4)
            if size < 8:
                raise ValueError("a box without end")
            wide = 4 if data[at + 8] == 3 else 2
            kinds[_int(data, at + 12, wide)] = data[at + 14 + wide : at + 18 + wide]
            at += size
    return kinds


def _first_samples(data: bytes, boxes: Boxes) -> Iterator[bytes]:
    """The first frame of each track of an animation."""
    sizes = boxes.get(b"stsz", [])
    chunks = [(at, 4) for at, _ in boxes.get(b"stco", [])]
    chunks += [(at, 8) for at, _ in boxes.get(b"co64", [])]
    largest = max((_int(data, at + 4, 4) or _int(data, at + 12, 4) for at, _ in sizes), default=0)
    for at, wide in chunks:
        offset = _int(data, at + 8, wide)
        yield data[offset : offset + largest]


def _pixels(piece: bytes) -> int:
    """The pixels that a sequence header in a run of AV1's OBUs allows for, times the frames."""
    at = frames = most = units = 0
    while at < len(piece):
        units += 1
        if units > _MOST_UNITS:
            raise ImageError(f"the AVIF file has more than {_MOST_UNITS:,} units in one picture.")
        head = piece[at]
        kind, extended, sized = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        at += 1 + extended
        length = len(piece) - at
        if sized:
            length = shift = 0
            while True:
                byte = piece[at]
                length |= (byte & 127) << shift
                at, shift = at + 1, shift + 7
                if byte < 128 or shift > 56:
                    break
        if kind == 1:
            most = max(most, _sequence_pixels(piece[at : at + min(length, 1024)]))
        frames += kind in (3, 6)
        if frames > _MOST_FRAMES:
            raise ImageError(f"the AVIF file has more than {_MOST_FRAMES} frames in one picture.")
        at += length
    return most * max(frames, 1)


def _sequence_pixels(header: bytes) -> int:
    bits = _Bits(header)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        delay = 0
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):
                bits.skip_uvlc()
            if bits.take(1):  # decoder model
                delay = bits.take(5) + 1
                bits.take(42)
        display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay and bits.take(1):
                bits.take(2 * delay + 1)
            if display_delay and bits.take(1):
                bits.take(4)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(wide) + 1) * (bits.take(high) + 1)


class _Bits:
    """Bits of a byte string, first the highest; ValueError beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header is cut short")
        return self._value >> self._left & ((1 << count) - 1)

    def skip_uvlc(self) -> None:
        zeros = 0
        while not self.take(1):
            zeros += 1
        self.take(zeros if zeros < 32 else 0)


def _int(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError("beyond the end")
    return int.from_bytes(data[at : at + size], "big")
