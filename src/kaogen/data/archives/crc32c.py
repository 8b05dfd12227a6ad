"""CRC-32C (Castagnoli) in numpy, as TFRecords are checked.

A checksum without its first and last inversion is linear: that of ``A + B`` is that of ``A``, moved
on by ``len(B)`` zero bytes, xor that of ``B``. So all bytes are looked up at once, then neighbours
are joined, then pairs of those, and so on: a dozen array operations for a picture, where a loop
over its bytes would be a hundred times slower.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_MASK_DELTA = 0xA282EAD8
_SHORT = 64  # bytes, below which a plain loop is quicker


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of ``data`` (RFC 3720), 0 to 2**32 - 1."""
    if len(data) < _SHORT:
        return _slowly(data)
    octets = np.frombuffer(data, dtype=np.uint8)
    # Zeros in front change nothing once the first inversion is taken as what it is: the same as
    # inverting the first four bytes.
    odd = len(octets) % 2
    padded = np.zeros(len(octets) + odd, dtype=np.uint8)
    padded[odd:] = octets
    padded[odd : odd + 4] ^= 0xFF
    sums = _pair_table()[padded.view("<u2")]
    level = 1
    while len(sums) > 1:
        if len(sums) % 2:
            sums = np.concatenate([np.zeros(1, np.uint32), sums])
        sums = _moved(_zeros_table(level), sums[0::2]) ^ sums[1::2]
        level += 1
    return int(sums[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of ``data`` as TFRecords store it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_crc32c_of_length(length: int) -> int:
    """The checksum of a record's length field: eight bytes, least first."""
    return masked_crc32c(struct.pack("<Q", length))


def _slowly(data: bytes | memoryview) -> int:
    table, crc = _byte_list(), 0xFFFFFFFF
    for octet in bytes(data):
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _byte_table() -> Words:
    table: Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> np.uint32(1) ^ (table & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return table


@cache
def _byte_list() -> list[int]:
    return [int(value) for value in _byte_table()]


@cache
def _pair_table() -> Words:
    """Uint32 ``[65536]``: the checksum of two bytes, the first one the low one."""
    first, second = np.arange(65536) & 0xFF, np.arange(65536) >> 8
    table = _byte_table()
    pairs: Words = _moved(_zeros_table(0), table[first]) ^ table[second]
    return pairs


@cache
def _zeros_table(level: int) -> Words:
    """Uint32 ``[4, 256]``: what 2**level zero bytes make of each byte of a checksum."""
    if level == 0:
        states = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32)[:, None])
        return np.asarray(_byte_table()[states & 0xFF] ^ (states >> 8), dtype=np.uint32)
    half = _zeros_table(level - 1)
    return _moved(half, half)


def _moved(table: Words, sums: Words) -> Words:
    octets = sums.astype("<u4").view(np.uint8).reshape(*sums.shape, 4)
    moved: Words = table[0][octets[..., 0]]
    for place in range(1, 4):
        moved ^= table[place][octets[..., place]]
    return moved
