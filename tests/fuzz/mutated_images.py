"""Picture files of many kinds, and seeded damage to them: number -> always the same bytes."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, features

SIZES = ((48, 40), (160, 128))


def _art(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Flat colours, edges, a gradient and noise, as drawings have them."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // width, (x // 7 + y // 5) % 2 * 200
    alpha = np.clip(y * 400 // height, 0, 255)
    pixels = np.stack([red, green, y * 255 // height, alpha], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (height // 4, width), dtype=np.uint8)
    pixels[: height // 4, :, 0] += noise
    whole = Image.fromarray(pixels)
    return whole if mode == "RGBA" else whole.convert("RGB").convert(mode)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _exif(turn: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010E] = "a drawing"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0comment"
    return exif


def _film(size: tuple[int, int], form: str, mode: str = "RGB") -> bytes:
    first = _art(size, mode)
    frames = [first.rotate(10 * n) for n in range(1, 4)]
    return _saved(first, form, save_all=True, append_images=frames, duration=80)


def _deep_png(colour: int, samples: int) -> bytes:
    """16 bits a sample in colour type `colour`, which Pillow cannot write."""
    width, height = 12, 9
    values = np.random.default_rng(1).integers(0, 65536, (height, width * samples))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _kinds(size: tuple[int, int]) -> dict[str, bytes]:
    art, alpha, grey = _art(size), _art(size, "RGBA"), _art(size, "L")
    cmyk, palette = _art(size, "CMYK"), _art(size).quantize(16)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    beside: dict[str, object] = {"exif": _exif(), "icc_profile": bytes(600)}
    kinds = {
        "jpeg": _saved(art, "JPEG", quality=85),
        "jpeg 4:4:4": _saved(art, "JPEG", subsampling=0, quality=95),
        "jpeg progressive": _saved(art, "JPEG", progressive=True),
        "jpeg grey": _saved(grey, "JPEG"),
        "jpeg cmyk": _saved(cmyk, "JPEG"),
        "jpeg cmyk progressive": _saved(cmyk, "JPEG", progressive=True),
        "jpeg restarts": _saved(art, "JPEG", restart_marker_blocks=2),
        "jpeg exif": _saved(art, "JPEG", **beside),
        "png": _saved(art, "PNG"),
        "png alpha": _saved(alpha, "PNG"),
        "png grey": _saved(grey, "PNG"),
        "png grey alpha": _saved(_art(size, "LA"), "PNG"),
        "png 1 bit": _saved(_art(size, "1"), "PNG"),
        "png palette": _saved(palette, "PNG"),
        "png palette alpha": _saved(palette, "PNG", transparency=b"\0\x80\xff"),
        "png 16 bit grey": _saved(deep, "PNG"),
        "png 16 bit rgb": _deep_png(2, 3),
        "png 16 bit rgba": _deep_png(6, 4),
        "png 16 bit grey alpha": _deep_png(4, 2),
        "png exif": _saved(art, "PNG", **beside),
        "png animated": _film(size, "PNG"),
        "webp": _saved(art, "WEBP"),
        "webp alpha": _saved(alpha, "WEBP"),
        "webp lossless": _saved(alpha, "WEBP", lossless=True),
        "webp exif": _saved(art, "WEBP", **beside),
        "webp animated": _film(size, "WEBP", "RGBA"),
    }
    if features.check("avif"):
        kinds |= {
            "avif": _saved(art, "AVIF", speed=10),
            "avif alpha": _saved(alpha, "AVIF", speed=10),
            "avif 4:4:4": _saved(art, "AVIF", subsampling="4:4:4", speed=10),
            "avif grey": _saved(grey, "AVIF", speed=10),
            "avif exif": _saved(art, "AVIF", exif=_exif(), speed=10),
            "avif animated": _film(size, "AVIF"),
        }
    return kinds


@cache
def sound_files() -> dict[str, bytes]:
    """Kind and size -> a file that is in order."""
    return {
        f"{kind}, {size[0]}x{size[1]}": data
        for size in SIZES
        for kind, data in _kinds(size).items()
    }


def mutated(number: int, seed: int = 0) -> tuple[str, bytes]:
    """``(kind, bytes)`` of mutated file `number`; every kind comes in turn."""
    rng = random.Random(f"{seed}/{number}")
    files = sound_files()
    kind = list(files)[number % len(files)]
    data = bytearray(files[kind])
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        rng.choice(_DAMAGE)(data, rng)
    if kind.startswith("png") and rng.random() < 0.7:
        _mend_png(data)  # else nearly all would end at the first wrong checksum
    return kind, bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    # Headers are small and matter most.
    end = len(data) if rng.random() < 0.5 else min(len(data), 200)
    return rng.randrange(end) if end else 0


def _byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def _bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random) -> None:
    """A two- or four-byte number that lengths and sizes do not expect."""
    at, wide = _place(data, rng), rng.choice([2, 4])
    value = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)])
    data[at : at + wide] = (value & (256**wide - 1)).to_bytes(wide, rng.choice(["big", "little"]))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.randrange(1, 65)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.randrange(1, 257)] * rng.choice([1, 2, 50])


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.randrange(1, 65))


def _move(data: bytearray, rng: random.Random) -> None:
    piece = data[(at := _place(data, rng)) : at + rng.randrange(1, 129)]
    to = _place(data, rng)
    data[to : to + len(piece)] = piece


def _graft(data: bytearray, rng: random.Random) -> None:
    """A piece of another kind of file."""
    other = rng.choice(list(sound_files().values()))
    start = rng.randrange(len(other))
    at = _place(data, rng)
    data[at : at + rng.randrange(65)] = other[start : start + rng.randrange(1, 513)]


_DAMAGE = (
    _byte,
    _byte,
    _bit,
    _bit,
    _number,
    _number,
    _cut,
    _remove,
    _repeat,
    _insert,
    _move,
    _graft,
)


def _mend_png(data: bytearray) -> None:
    """Make the checksums right again."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
