"""Small pictures inside a page: thumbnails and sheets of faces, as WebP in ``data:`` addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.page.report_html import Html, h
from kaogen.errors import ImageError
from kaogen.images import read_image

Pixels = npt.NDArray[np.uint8]

THUMB: Final = 64
"""Longer edge of a face on a sheet, in pixels."""
# A page of a thousand faces must stay small: noisy ones are pressed harder, then drawn smaller.
_TRIES = ((1, 82), (1, 50), (2, 60), (4, 60))
_BYTES_PER_FACE = 1500


def rgb(pixels: Pixels) -> Pixels:
    """``[H, W, 1..4]`` as RGB ``[H, W, 3]``; transparency is laid onto white."""
    channels = pixels.shape[2]
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        colours = np.broadcast_to(pixels[..., :-1], (*pixels.shape[:2], 3))
        mixed = (colours * alpha + 255 * (255 - alpha) + 127) // 255
        return mixed.astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if channels == 1 else pixels


def thumbnail(pixels: Pixels, edge: int = THUMB) -> Image.Image:
    """The face in RGB, its longer edge ``edge`` pixels at most."""
    picture = Image.fromarray(rgb(pixels))
    scale = edge / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def image(pixels: Pixels, alt: str, edge: int = 112) -> Html:
    """One face as an ``<img>``."""
    return _img(thumbnail(pixels, edge), alt, 3 * _BYTES_PER_FACE)


def from_file(data: bytes | None, alt: str, edge: int = 112) -> Html | None:
    """One face given as a file's bytes, or None where it cannot be shown."""
    if not data:
        return None
    try:
        return image(read_image(data), alt, edge)
    except ImageError:
        return None


def sheet(faces: Sequence[Pixels], columns: int, alt: str, edge: int = THUMB) -> Html:
    """Faces of one size side by side, as one ``<img>``; what is left of the last row is clear."""
    small = [thumbnail(face, edge) for face in faces]
    rows = -(-len(small) // columns)
    width, height = small[0].size
    full = len(small) == rows * columns
    whole = Image.new("RGB" if full else "RGBA", (columns * width, rows * height))
    for place, face in enumerate(small):
        whole.paste(face, (place % columns * width, place // columns * height))
    return _img(whole, alt, len(small) * _BYTES_PER_FACE)


def _img(picture: Image.Image, alt: str, limit: int) -> Html:
    for divisor, quality in _TRIES:
        out = io.BytesIO()
        small = picture if divisor == 1 else picture.reduce(divisor)
        small.save(out, format="WEBP", quality=quality, method=2)
        if out.tell() <= limit:
            break
    source = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    return h("img", src=source, alt=alt, width=picture.width, height=picture.height)
