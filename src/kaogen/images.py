"""One untrusted picture file -> RGB pixels, or the reason why not.

Only JPEG, PNG, WebP and, where Pillow has it, AVIF are opened, told apart by their first bytes
and never by name. Pixel bombs and scan bombs are refused before anything is decoded, so that one
file costs at most about a second and 256 MiB.
"""

from __future__ import annotations

import io
import warnings
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

from kaogen.errors import ImageError

LARGEST_FILE: Final = 32 * 2**20
"""Bytes of a file that are read at most."""
LARGEST_PICTURE: Final = 10**7
"""Pixels of a picture at most."""

_MOST_SCANS: Final = 100
_ORIENTATION: Final = 0x0112
# EXIF's orientation -> what sets the picture upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = npt.NDArray[np.uint8]


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
    if form == "JPEG" and data.count(b"\xff\xda") > _MOST_SCANS:
        # Each scan goes over the whole picture: a small file could take minutes.
        raise ImageError(f"the JPEG file has more than {_MOST_SCANS} scans.")
    try:
        with warnings.catch_warnings():
            # A stranger's broken EXIF is no news to whoever runs this.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with _open(form, io.BytesIO(data)) as image:
                _check(image, form, animated, largest)
                return np.array(_upright(image))
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
        raise ImageError(f"the picture has {width}x{height} pixels; {largest:,} are allowed.")
    if animated == "refuse" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"the {form} file is animated.")


def _upright(image: Image.Image) -> Image.Image:
    rgb = _to_rgb(image)
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        turn = None  # broken EXIF does not spoil the picture
    return rgb.transpose(turn) if turn is not None else rgb


def _to_rgb(image: Image.Image) -> Image.Image:
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


def _reason(error: Exception) -> str:
    text = str(error).partition("<")[0].strip(" .")  # Pillow's messages name objects by address
    return text[:80] or type(error).__name__
