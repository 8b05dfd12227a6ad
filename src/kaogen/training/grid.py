"""The grid of the same characters: one latent a row, one set of tags a column, with captions.

Its PNG says where its faces lie (`PLACES`), so that the evolution can be cut from the grids alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from kaogen.tags import tag
from kaogen.training.batches import rng
from kaogen.training.canvas import (
    ACCENT,
    FAINT,
    INK,
    PAPER,
    Pixels,
    as_rgb,
    font,
    save_whole,
    shortened,
)

Floats = npt.NDArray[np.float32]

PLACES = "kaogen-grid"  # the PNG's text chunk
ROOM = (1536, 1024)  # pixels that the faces may take, across and down
_LEAST, _MOST = 112, 384  # of a face's shorter and longer edge, as shown
_GAP, _MARGIN, _LEFT = 4, 24, 34
_TITLE, _NOTE, _TEXT, _LINE = 26, 14, 13, 17
_LINES = 6
# What the eye looks for first.
_FIRST = ("hair colour", "eye colour", "hair length and style", "mouth and expression", "ears")


@dataclass(frozen=True)
class Places:
    """Where the faces of a grid lie, in pixels.

    Attributes:
        seen: images that the run had seen.
        columns, rows: how many faces across and down.
        left, top: of the first face.
        width, height: of a face as shown.
        gap: between two faces.
        characters: a hash of latents and tags; grids that show the same ones have the same.

    """

    seen: int
    columns: int
    rows: int
    left: int
    top: int
    width: int
    height: int
    gap: int
    characters: str

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge of one face."""
        x = self.left + column * (self.width + self.gap)
        y = self.top + row * (self.height + self.gap)
        return x, y, x + self.width, y + self.height


def shown_size(width: int, height: int) -> tuple[int, int]:
    """A face's size on the grid: small ones are enlarged by a whole factor, large ones reduced."""
    if min(width, height) < _LEAST:
        times = -(-_LEAST // min(width, height))
        return width * times, height * times
    if max(width, height) > _MOST:
        share = _MOST / max(width, height)
        return max(1, round(width * share)), max(1, round(height * share))
    return width, height


def shape_for(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of a grid of faces of that size: 12 x 8 for 64 px, 4 x 3 at least."""
    w, h = shown_size(width, height)
    return min(12, max(4, ROOM[0] // w)), min(8, max(3, ROOM[1] // h))


def pick_characters(labels: Floats, count: int, seed: int) -> Floats:
    """Label rows of real faces that show as many different tags as they can.

    One after the other, that row of 1,024 random ones is taken whose tags were shown least so
    far, so that a dozen columns hold every common hair and eye colour.

    Args:
        labels: [N, num_tags], 0 or 1.
        count: how many rows to take.
        seed: of the choice.

    Returns:
        [count, num_tags].

    """
    pool = labels[rng("z", seed, 2**40, 1).integers(0, len(labels), 1024)]
    size = pool.sum(axis=1)
    fitting = (size >= min(3, size.max())) & (size <= np.quantile(size, 0.9))
    pool = pool[fitting] if fitting.any() else pool
    # Rare tags are worth showing, but a grid of nothing but rarities tells little.
    weight = np.clip(pool.mean(axis=0), 0.01, 0.2) ** 0.5
    shown, taken = np.zeros(labels.shape[1]), []
    for _ in range(count):
        gain = (pool * weight / (1 + shown) ** 2).sum(axis=1) / np.maximum(pool.sum(axis=1), 1)
        best = int(gain.argmax())
        taken.append(pool[best])
        shown = shown + pool[best]
    return np.stack(taken).astype(np.float32)


def captions_of(labels: Floats, vocabulary: Sequence[str]) -> list[list[str]]:
    """Each row's tags in words, what the eye looks for first in front."""
    order = {group: place for place, group in enumerate(_FIRST)}
    out = []
    for row in labels:
        names = [vocabulary[int(i)] for i in np.flatnonzero(row > 0.5)]
        out.append(sorted(names, key=lambda n: order.get(tag(n).group, len(order))))
    return out


def signature(z: Floats, labels: Floats) -> str:
    """A short hash of what a grid asks for."""
    return hashlib.sha256(z.tobytes() + labels.tobytes()).hexdigest()[:16]


def draw(
    pictures: Pixels,
    columns: int,
    captions: Sequence[Sequence[str]],
    title: str,
    note: str = "",
    *,
    warn: bool = False,
    characters: str = "",
    seen: int = 0,
) -> tuple[Image.Image, Places]:
    """The grid as a picture.

    Args:
        pictures: [N, H, W, C], row by row.
        columns: how many in a row.
        captions: above each column; empty without tags.
        title, note: above all.
        warn: whether the note must not be overlooked.
        characters: see `signature`.
        seen: images that the run had seen.

    """
    rows = len(pictures) // columns
    size = shown_size(pictures.shape[2], pictures.shape[1])
    lines = min(_LINES, max((len(c) for c in captions), default=0))
    left = _MARGIN + _LEFT
    top = _MARGIN + _TITLE + _NOTE + 18 + (lines * _LINE + 6 if lines else 0)
    places = Places(seen, columns, rows, left, top, *size, _GAP, characters)
    _, _, right, lower = places.box(rows - 1, columns - 1)
    page = Image.new("RGB", (right + _MARGIN, lower + _MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((left, _MARGIN - 6), title, INK, font(_TITLE))
    room = right - left
    words = shortened(note, font(_NOTE), room)
    pen.text((left, _MARGIN + _TITLE + 4), words, ACCENT if warn else FAINT, font(_NOTE))
    for column, names in enumerate(captions):
        x = places.box(0, column)[0]
        _write_column(pen, names, (x, top - 4), size[0], faint=warn)
    smooth = Image.Resampling.LANCZOS
    for number, pixels in enumerate(pictures[: rows * columns]):
        row, column = divmod(number, columns)
        face = as_rgb(pixels)
        box = places.box(row, column)
        page.paste(face if face.size == size else face.resize(size, smooth), box[:2])
    for row in range(rows):
        _, y, _, bottom = places.box(row, 0)
        pen.text((left - 10, (y + bottom) / 2), f"z{row + 1}", FAINT, font(_TEXT), anchor="rm")
    return page, places


def _write_column(
    pen: ImageDraw.ImageDraw,
    names: Sequence[str],
    foot: tuple[int, int],
    width: int,
    *,
    faint: bool,
) -> None:
    """A column's tags, the last line standing on `foot`; what does not fit is counted."""
    shown = list(names[:_LINES])
    if len(names) > _LINES:
        shown[-1] = f"and {len(names) - _LINES + 1} more"
    if not shown:
        shown = ["no tag"]
    for number, name in enumerate(shown):
        y = foot[1] - (len(shown) - number) * _LINE
        told = number < 2 and not faint
        words = shortened(name, font(_TEXT), width - 4)
        pen.text((foot[0] + 1, y), words, INK if told else FAINT, font(_TEXT))


def save(page: Image.Image, places: Places, path: Path) -> None:
    """Write a grid with its places."""
    told = PngInfo()
    told.add_text(PLACES, json.dumps(asdict(places)))
    save_whole(page, path, pnginfo=told, compress_level=4)


def places_of(path: Path) -> Places | None:
    """Where a grid's faces lie, or None where the file is not (or is an older kaogen's) grid."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            told = json.loads(image.info[PLACES])
            places = Places(**told)
            return places if image.size >= places.box(0, 0)[2:] else None
    except (OSError, KeyError, TypeError, ValueError, SyntaxError):
        return None


def thin(folder: Path, most: int = 128) -> list[Path]:
    """Keep at most `most` grids, evenly spread, first and last among them; returns the kept."""
    found = sorted(folder.glob("[0-9]*.png"))
    while len(found) > most:
        # Every second of the inner ones goes: what stays is as even as it was.
        gone = found[1:-1:2]
        for path in gone:
            path.unlink(missing_ok=True)
        found = [path for path in found if path not in gone]
    return found
