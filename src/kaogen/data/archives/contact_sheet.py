"""Faces of a data set on one picture, each with its tags below: the quickest look at a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from kaogen.data.archives.archive_writer import Item
from kaogen.data.archives.sets import FaceSet, decode
from kaogen.errors import ConfigError

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MOST_FACES = 1024
_PAPER, _CARD, _INK, _FAINT, _ACCENT = "#f1f2f6", "#ffffff", "#23242b", "#777a86", "#b3256b"
_LEAST_EDGE, _MOST_EDGE = 112, 192  # of a face as shown
_GAP, _PAD, _MARGIN = 10, 7, 20
_LINES = 4
_TEXT, _TITLE = 12, 22


@dataclass(frozen=True)
class Caption:
    """Words below a face; those that were asked for stand out.

    Attributes:
        words: in order.
        marked: which of them stand out.
    """

    words: tuple[str, ...]
    marked: frozenset[str] = frozenset()


def choose(
    faces: FaceSet, count: int, *, tags: str = "", seed: int = 0
) -> tuple[list[int], int, Sequence[str]]:
    """Faces to show: a random sample, the same for the same seed, in the set's order.

    Args:
        faces: the set.
        count: how many at most.
        tags: only faces that have these, such as ``"pink hair, -glasses"``.
        seed: another seed shows other faces.

    Returns:
        Their places, how many there are to choose from, and the canonical names of the tags.

    Raises:
        ConfigError: a count that cannot be, or tags although the set's labels have no names.
        UnknownTagError: a word that is no tag of the set.
    """
    if not 1 <= count <= MOST_FACES:
        raise ConfigError(f"-n {count} cannot be.", hint=f"1 to {MOST_FACES} faces fit a sheet.")
    fitting = np.arange(len(faces))
    yes: tuple[str, ...] = ()
    if tags.strip():
        if faces.vocabulary is None or faces.labels is None:
            raise ConfigError(f"{faces.path} has no tags by name.", hint="Leave --tag out.")
        yes, no = faces.vocabulary.parse(tags, where="--tag")
        has = faces.labels >= 0.5
        keep = np.ones(len(faces), dtype=bool)
        for name in yes:
            keep &= has[:, faces.vocabulary.index(name)]
        for name in no:
            keep &= ~has[:, faces.vocabulary.index(name)]
        fitting = np.flatnonzero(keep)
    if len(fitting) == 0:
        raise ConfigError(f"{faces.path} has no face with {tags.strip()}.")
    picked = np.random.default_rng(seed).permutation(fitting)[:count]
    return sorted(int(place) for place in picked), len(fitting), yes


def caption(faces: FaceSet, item: Item, marked: Sequence[str] = ()) -> Caption:
    """What stands below a face: its tags, or its columns, or its source."""
    if item.label is None:
        return Caption((item.source.rpartition("/")[2] or "no label",))
    if faces.vocabulary is None:
        set_ = [n for n, value in enumerate(item.label) if value >= 0.5]
        return Caption(tuple(f"column {n}" for n in set_) or ("no column set",))
    words = faces.vocabulary.decode(item.label)
    first = tuple(word for word in marked if word in words)
    rest = tuple(word for word in words if word not in marked)
    return Caption((*first, *rest) or ("no tag",), frozenset(first))


def contact_sheet(
    cells: Sequence[tuple[Item, Caption]], title: str, subtitle: str = ""
) -> Image.Image:
    """The faces as cards in rows, with a title above."""
    images = [_shown(decode(item)) for item, _ in cells]
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    text, heading = _font(_TEXT), _font(_TITLE)
    line = _TEXT + 4
    texts = [_lines(told, text, width) for _, told in cells]
    lines = max(len(rows) for rows in texts)
    card = (width + 2 * _PAD, height + 2 * _PAD + 5 + lines * line)
    across = _columns(len(cells), card)
    down = math.ceil(len(cells) / across)
    top = _MARGIN + _TITLE + 10 + (line + 8 if subtitle else 0)
    page = Image.new(
        "RGB",
        (
            2 * _MARGIN + across * (card[0] + _GAP) - _GAP,
            top + down * (card[1] + _GAP) - _GAP + _MARGIN,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(page)
    room = page.width - 2 * _MARGIN
    draw.text((_MARGIN, _MARGIN - 4), _cut(title, heading, room), _INK, heading)
    draw.text((_MARGIN, _MARGIN + _TITLE + 6), _cut(subtitle, text, room), _FAINT, text)
    for number, (image, rows) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(number, across)
        left, upper = _MARGIN + column * (card[0] + _GAP), top + row * (card[1] + _GAP)
        draw.rounded_rectangle((left, upper, left + card[0], upper + card[1]), 7, _CARD)
        page.paste(image, (left + _PAD + (width - image.width) // 2, upper + _PAD))
        _write(draw, rows, (left + _PAD, upper + _PAD + height + 5), text, line)
    return page


def _write(
    draw: ImageDraw.ImageDraw,
    rows: Sequence[Sequence[tuple[str, bool]]],
    place: tuple[int, int],
    font: Font,
    line: int,
) -> None:
    for number, row in enumerate(rows):
        x = float(place[0])
        for word, marked in row:
            draw.text((x, place[1] + number * line), word, _ACCENT if marked else _INK, font)
            x += font.getlength(word)


def _lines(told: Caption, font: Font, width: int) -> list[list[tuple[str, bool]]]:
    """The words in lines of at most ``width`` pixels; what does not fit is counted."""
    rows: list[list[tuple[str, bool]]] = [[]]
    used = 0.0
    for number, word in enumerate(told.words):
        last = number == len(told.words) - 1
        piece = word if last else f"{word}, "
        needs = font.getlength(piece.rstrip())
        if used and used + needs > width:
            if len(rows) == _LINES:
                left = len(told.words) - number
                return _counted(rows, left, font, width)
            rows.append([])
            used = 0.0
        rows[-1].append((_cut(piece, font, width), word in told.marked))
        used += font.getlength(piece)
    return rows


def _counted(
    rows: list[list[tuple[str, bool]]], left: int, font: Font, width: int
) -> list[list[tuple[str, bool]]]:
    """Make room in the last line for how many words are left out."""
    last = rows[-1]
    while last:
        more = f"+{left}"
        if sum(font.getlength(word) for word, _ in last) + font.getlength(more) <= width:
            break
        last.pop()
        left += 1
    last.append((f"+{left}", False))
    return rows


def _cut(words: str, font: Font, width: int) -> str:
    if font.getlength(words.rstrip()) <= width:
        return words
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"


def _columns(count: int, card: tuple[int, int]) -> int:
    """So many that the sheet is about as wide as a screen."""
    return max(1, min(count, round(math.sqrt(count * 1.45 * card[1] / card[0]))))


def _shown(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, _CARD)
        white.paste(image, mask=image.getchannel("A"))
        image = white
    edge = max(image.size)
    factor = 1.0
    if edge < _LEAST_EDGE:
        factor = math.ceil(_LEAST_EDGE / edge)
    elif edge > _MOST_EDGE:
        factor = _MOST_EDGE / edge
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> Font:
    # Pillow brings this one along, so that sheets look the same everywhere.
    return ImageFont.load_default(size)
