"""What all pictures of a run share: type, colours, and files that are never half there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFont

Pixels = npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER, CARD, INK, FAINT, RULE = "#f4f5f8", "#ffffff", "#23242b", "#777a86", "#dfe1e8"
ACCENT = "#b3256b"
# Told apart by colour-blind eyes too (after Okabe & Ito 2008).
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777a86")


@cache
def font(size: int) -> Font:
    """Pillow brings this typeface along, so that pictures look the same everywhere."""
    return ImageFont.load_default(size)


def shortened(words: str, face: Font, width: float) -> str:
    """`words`, cut to `width` pixels with an ellipsis where they are longer."""
    if face.getlength(words) <= width:
        return words
    while words and face.getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"


def as_rgb(pixels: Pixels) -> Image.Image:
    """[H, W, C] with 1 to 4 channels (grey, grey + alpha, RGB, RGBA) -> RGB on white."""
    channels = pixels.shape[2]
    # Pillow tells the mode (L, LA, RGB, RGBA) by the number of channels.
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    if channels in (1, 3):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, CARD)
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def save_whole(image: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture beside its place and move it there: a viewer never sees a part of it."""
    work = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        image.save(work, format=path.suffix.lstrip(".").upper(), **options)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
