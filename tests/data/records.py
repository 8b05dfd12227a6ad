"""TFRecords as StyleGAN2's tools write them, made byte by byte for the tests."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def _bitwise(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_TABLE = [_bitwise(octet) for octet in range(256)]


def crc32c(data: bytes) -> int:
    """The plain loop over the bytes: slow, and surely right."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def int64s(numbers: Iterable[int], *, packed: bool = True) -> bytes:
    if packed:
        content = field(1, b"".join(varint(n) for n in numbers))
    else:
        content = b"".join(varint(1 << 3) + varint(n) for n in numbers)
    return field(3, content)


def example(features: dict[str, bytes]) -> bytes:
    entries = (
        field(1, field(1, key.encode()) + field(2, value)) for key, value in features.items()
    )
    return field(1, b"".join(entries))


def picture(pixels: np.ndarray, *, packed: bool = True) -> bytes:
    """The example of uint8 ``[H, W, C]``."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    data = field(1, field(1, planes.tobytes()))
    return example({"data": data, "shape": int64s(planes.shape, packed=packed)})


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def write_tfrecords(
    folder: Path,
    images: Iterable[np.ndarray],
    labels: np.ndarray | None = None,
    name: str | None = None,
) -> Path:
    """A data set with all its resolutions down to 4 pixels, each the mean of four above."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = name or folder.name
    level = [image.astype(np.float32) for image in images]
    while level[0].shape[0] >= 4:
        number = level[0].shape[0].bit_length() - 1
        rounded = [np.rint(image).astype(np.uint8) for image in level]
        path = folder / f"{prefix}-r{number:02d}.tfrecords"
        path.write_bytes(b"".join(record(picture(image)) for image in rounded))
        level = [(i[0::2, 0::2] + i[0::2, 1::2] + i[1::2, 0::2] + i[1::2, 1::2]) / 4 for i in level]
    if labels is not None:
        with (folder / f"{prefix}-rxx.labels").open("wb") as file:
            np.save(file, labels)
    return folder
