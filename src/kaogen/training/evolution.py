"""`evolution.webp`: the same faces from the first image on (the paper's Figure 8, moving)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kaogen.training.canvas import ACCENT, FAINT, INK, PAPER, RULE, font, save_whole
from kaogen.training.grid import Places, places_of

NAME = "evolution.webp"
FRAMES = 40  # at most
WIDE = 800  # pixels, about
_HEAD, _MARGIN, _GAP = 46, 14, 4
_EACH, _LAST = 180, 2600  # milliseconds


@dataclass(frozen=True)
class Cut:
    """Which part of the grids is shown, and how large.

    Attributes:
        columns, rows: faces, from the grid's corner.
        width, height: of a face.

    """

    columns: int
    rows: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole frame."""
        across = self.columns * (self.width + _GAP) - _GAP
        down = self.rows * (self.height + _GAP) - _GAP
        return across + 2 * _MARGIN, _HEAD + down + _MARGIN


def build(run: Path) -> Path | None:
    """Write the animation of a run's grids, as many as show the newest one's characters.

    Args:
        run: the run folder.

    Returns:
        The file, or None where there are not two such grids.

    """
    found = [(path, places_of(path)) for path in sorted((run / "grids").glob("[0-9]*.png"))]
    known = [(path, places) for path, places in found if places is not None]
    if not known:
        return None
    same = [(p, q) for p, q in known if q.characters == known[-1][1].characters]
    if len(same) < 2:
        return None
    chosen = [same[i] for i in spread(len(same), FRAMES)]
    last = chosen[-1][1]
    cut = cut_of(last)
    frames = [frame(path, places, cut, last.seen) for path, places in chosen]
    times = [_EACH * 4, *[_EACH] * (len(frames) - 2), _LAST]
    save_whole(
        frames[0],
        run / NAME,
        save_all=True,
        append_images=frames[1:],
        duration=times,
        loop=0,
        quality=80,
        method=2,
    )
    return run / NAME


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def cut_of(places: Places) -> Cut:
    """Six by four faces, or what there is, about `WIDE` pixels across."""
    columns, rows = min(6, places.columns), min(4, places.rows)
    share = min(1.0, (WIDE / columns - _GAP) / places.width)
    size = max(1, round(places.width * share)), max(1, round(places.height * share))
    return Cut(columns, rows, *size)


def frame(path: Path, places: Places, cut: Cut, end: int) -> Image.Image:
    """One grid's faces under the number of images seen and a bar."""
    page = Image.new("RGB", cut.size, PAPER)
    pen = ImageDraw.Draw(page)
    told = f"{places.seen / 1000:,.0f}" if end >= 10_000 else f"{places.seen / 1000:.3g}"
    pen.text((_MARGIN, 9), told, INK, font(24))
    after = _MARGIN + font(24).getlength(told) + 6
    pen.text((after, 18), "thousand images seen", FAINT, font(14))
    right, y = cut.size[0] - _MARGIN, 26
    left = round(right - cut.size[0] * 0.4)
    pen.rounded_rectangle((left, y - 2, right, y + 2), 2, RULE)
    if places.seen:
        done = left + max(4, (right - left) * places.seen / max(end, 1))
        pen.rounded_rectangle((left, y - 2, done, y + 2), 2, ACCENT)
    with Image.open(path, formats=("PNG",)) as grid:
        whole = grid.convert("RGB")
    for row, column in np.ndindex(cut.rows, cut.columns):
        face = whole.crop(places.box(row, column))
        if face.size != (cut.width, cut.height):
            face = face.resize((cut.width, cut.height), Image.Resampling.LANCZOS)
        at = _MARGIN + column * (cut.width + _GAP), _HEAD + row * (cut.height + _GAP)
        page.paste(face, at)
    return page
