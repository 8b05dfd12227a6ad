"""What a data set file may hold: it comes from outside, so nothing in it has unbounded size."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.errors import ArchiveError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_EDGE = 4096
MAX_IMAGE_BYTES = 64 * 2**20
MAX_JSON_BYTES = 2**30
# What zipfile raises on files that are cut short, bent, encrypted or oddly packed.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    OSError,
)

_FORMATS = ("PNG", "JPEG", "WEBP")
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def decode_image(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    """An image file as uint8 ``[H, W, 1..4]``; ArchiveError, beginning with ``where``, if not."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if max(picture.size) > MAX_EDGE or picture.mode not in _CHANNELS:
                raise ArchiveError(
                    f"{where} is {picture.size[0]} x {picture.size[1]} {picture.mode}; "
                    f"at most {MAX_EDGE} pixels, L, LA, RGB or RGBA are read."
                )
            pixels = np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow names the object by its address.
        reason = str(error).partition("<")[0].strip()
        raise ArchiveError(f"{where} is a broken image ({reason}).") from error
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
