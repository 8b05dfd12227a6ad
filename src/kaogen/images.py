"""One untrusted picture file -> RGB pixels, or the reason why not.

Only JPEG, PNG, WebP and, where Pillow has it, AVIF are opened, told apart by their first bytes
and never by name. Bombs of every kind (pixels, scans, chunks, frames within frames) are refused
before anything is decoded, so that one file costs at most about a second and 256 MiB.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    features,
)

from kaogen.avifsize import frame_pixels
from kaogen.errors import ImageError

LARGEST_FILE: Final = 32 * 2**20
"""Bytes of a file that are read at most."""
LARGEST_PICTURE: Final = 10**7
"""Pixels of a picture at most."""

_MOST_SCANS: Final = 100
_MOST_SCANNED: Final = 3 * 10**8
"""Pixels times scans of a progressive JPEG; encoders make about ten scans."""
_MOST_PIECES: Final = 20_000
"""Chunks of a PNG, segments of a JPEG; 32 MiB in libpng's chunks of 8 KiB are 4,096."""
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7})
_JPEG_ARITHMETIC: Final = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_JPEG_BARE: Final = frozenset({0x01, 0xD8, 0xD9})  # markers without a length
_MOST_JUNK: Final = 64 * 1024
_STRIP: Final = 256  # rows that are converted at a time
_ORIENTATION: Final = 0x0112
Pixels = npt.NDArray[np.uint8]

# EXIF's orientation -> what sets the picture upright; views, copied once.
_UPRIGHT: Final[dict[int, Callable[[Pixels], Pixels]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def read_image(
    source: bytes | str | Path,
    *,
    animated: Literal["refuse", "first"] = "refuse",
    largest: int = LARGEST_PICTURE,
) -> Pixels:
    """Decode one picture, upright, as uint8 RGB ``[H, W, 3]``.

    Transparency is laid onto white; 16 bits are rounded to 8; palettes, grey and CMYK become RGB.

    Args:
        source: the file's content, or its path.
        animated: refuse a file with several frames, or take its first.
        largest: pixels at most.

    Raises:
        ImageError: the file is refused; the message is the reason.
        OSError: the path cannot be read.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if len(data) > LARGEST_FILE:
        raise ImageError(f"the file is larger than {LARGEST_FILE >> 20} MiB.")
    form = sniff(data)
    _check_bytes(form, data, largest)
    try:
        with warnings.catch_warnings():
            # A stranger's broken EXIF is no news to whoever runs this.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with _open(form, io.BytesIO(data)) as image:
                _check(image, form, animated, largest)
                return _upright(image, _to_rgb(image))
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders raise nearly anything on broken files; all of it means this file.
        raise ImageError(f"the {form} file is damaged ({_reason(error)}).") from error


def sniff(data: bytes) -> str:
    """Tell "JPEG", "PNG", "WebP" or "AVIF" by the first bytes.

    Raises:
        ImageError: it is none of them, or this Pillow cannot read AVIF.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and b"avi" in data[8:32]:
        if not features.check("avif"):
            raise ImageError("this Pillow cannot read AVIF.")
        return "AVIF"
    raise ImageError("the file is empty." if not data else "not a JPEG, PNG, WebP or AVIF picture.")


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def _open(form: str, file: io.BytesIO) -> ImageFile.ImageFile:
    # The plugins are called directly: Image.open tries others and warns of large pictures, which
    # are refused anyway.
    if form == "JPEG":
        return JpegImagePlugin.JpegImageFile(file)
    if form == "PNG":
        return PngImagePlugin.PngImageFile(file)
    if form == "WebP":
        return WebPImagePlugin.WebPImageFile(file)
    return AvifImagePlugin.AvifImageFile(file)


def _check(image: ImageFile.ImageFile, form: str, animated: str, largest: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError("the picture has no pixels.")
    if width * height > largest:
        raise ImageError(_too_many_pixels(width, height, largest))
    if animated == "refuse" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"the {form} file is animated.")


def _check_bytes(form: str, data: bytes, largest: int) -> None:
    """Refuse what would cost much before Pillow could say how large it is."""
    if form == "JPEG":
        _check_jpeg(data)
    elif form == "PNG":
        _check_png(data)
    elif form == "WebP":
        width, height = _webp_size(data)
        if width * height > largest:
            raise ImageError(_too_many_pixels(width, height, largest))
    elif form == "AVIF" and frame_pixels(data) > 2.5 * largest:
        # A picture, its transparency, a preview.
        raise ImageError("the AVIF file holds more or larger frames than it says.")


def _check_jpeg(data: bytes) -> None:
    """Walk from marker to marker, as libjpeg will, up to the end of the picture.

    What follows it does not count: phones put whole films there.
    """
    at, junk, scans, pixels = 2, 0, 0, 0
    for _ in range(_MOST_PIECES):
        marker = _JPEG_MARKER.search(data, at)
        # Pillow passes over junk before the first scan byte by byte.
        junk += 0 if scans else (marker.start() if marker else len(data)) - at
        if junk > _MOST_JUNK:
            raise ImageError("the JPEG file is damaged (junk between its segments).")
        if marker is None or (marker[0] == b"\xff\xd9" and scans):
            return
        kind, at = marker[0][1], marker.end()
        if kind in _JPEG_ARITHMETIC:
            raise ImageError("the JPEG file has arithmetic coding.")  # rare, slow, and no use
        if kind in _JPEG_FRAMES:
            height, width = data[at + 3 : at + 5], data[at + 5 : at + 7]
            pixels = max(pixels, int.from_bytes(height) * int.from_bytes(width))
        scans += kind == 0xDA
        if scans > _MOST_SCANS or scans * pixels > max(_MOST_SCANNED, pixels):
            # Each scan goes over the whole picture: a small file could take minutes.
            raise ImageError(f"the JPEG file has {scans} scans or more, too many for its size.")
        at += 0 if kind in _JPEG_BARE else int.from_bytes(data[at : at + 2])
    raise ImageError(f"the JPEG file has more than {_MOST_PIECES:,} segments.")


def _check_png(data: bytes) -> None:
    at = 8
    for _ in range(_MOST_PIECES):
        if at + 8 > len(data):
            return
        at += 12 + int.from_bytes(data[at : at + 4])
    raise ImageError(f"the PNG file has more than {_MOST_PIECES:,} chunks.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Size by the first chunk, which the decoder makes room for; (0, 0) for an unknown one."""
    kind, head = data[12:16], data[20:30]
    if len(head) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = head[6:8], head[8:10]
        return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
    return 0, 0


def _upright(image: Image.Image, pixels: Pixels) -> Pixels:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        turn = None  # broken EXIF does not spoil the picture
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _to_rgb(image: ImageFile.ImageFile) -> Pixels:
    """The whole picture by strips, so that no second copy of it is made on the way."""
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        strip = image.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(_strip_to_rgb(strip))
    return pixels


def _strip_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips all above 255 to white.
    deep = np.asarray(image).astype(np.uint32).clip(0, 65535)
    grey = ((deep + 128) // 257).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[deep == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _too_many_pixels(width: int, height: int, largest: int) -> str:
    return f"the picture has {width}x{height} pixels; {largest:,} are allowed."


def _reason(error: Exception) -> str:
    text = str(error).partition("<")[0].strip(" .")  # Pillow's messages name objects by address
    return text[:80] or type(error).__name__
