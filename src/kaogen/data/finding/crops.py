"""Cutting faces out with margin, so that hair, ears and shoulders stay.

A frame that reaches over the picture's border is first moved, then made smaller, and only what
is still missing is filled: plain borders go on as they are, others are mirrored and fade into a
blur. Nothing is ever filled with black.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from kaogen.data.finding.faces import Face

Pixels = npt.NDArray[np.uint8]

MARGIN: Final = 0.5
"""Default margin on each side, as a share of the face box's edge."""

_LIFT: Final = 0.16  # of the margin: there is more hair above a face than neck below
_BELOW: Final = 0.7  # share of a tall frame's extra height that goes to the shoulders
_MOVE: Final = 0.4  # of the room beside the face: how far a frame may move to stay inside
_SHRINK: Final = 0.6  # of the margin: what is left at least before anything is filled
_FILL: Final = 0.04  # of the frame's side: how much is filled at most before shrinking further
_CUT: Final = 0.12  # of the face box: how much of it is given up at most before filling more
_STEPS: Final = 24
_PLAIN: Final = 16  # grey levels that a border varies at most to be plain
_FADE: Final = 0.06  # of the frame's side: from here outward a filling is all blur
_BLUR: Final = 0.04  # of the frame's side
_STEEPEST: Final = 35.0  # degrees; a face turned further has no eyes to be trusted

# Above and below, before and after.
_Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Frame:
    """What is cut out: a rectangle, turned about its centre.

    Attributes:
        x: centre, in pixels of the picture.
        y: centre.
        width: in pixels of the picture.
        height: in pixels of the picture.
        angle: degrees clockwise that the face leans; the cut-out sets it upright.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, the turn left out."""
        half_width, half_height = self.width / 2, self.height / 2
        return (
            self.x - half_width,
            self.y - half_height,
            self.x + half_width,
            self.y + half_height,
        )


def crop(
    pixels: Pixels,
    face: Face,
    *,
    margin: float = MARGIN,
    aspect: float = 1.0,
    align: bool = False,
) -> Pixels:
    """Cut a face out of uint8 ``[H, W, 3]``, at the picture's own resolution.

    Args:
        pixels: the picture.
        face: from a finder.
        margin: added on each side, as a share of the face box's edge; 0 is the tight box.
        aspect: width by height.
        align: turn the picture so that the eyes lie level, where the finder told them.
    """
    return cut(pixels, frame(pixels, face, margin=margin, aspect=aspect, align=align))


def frame(
    pixels: Pixels,
    face: Face,
    *,
    margin: float = MARGIN,
    aspect: float = 1.0,
    align: bool = False,
) -> Frame:
    """The rectangle that :func:`crop` cuts out."""
    angle = _lean(face) if align else 0.0
    wanted = _framed(face, margin, aspect, angle)
    # A plain border can go on for ever, unseen: nothing is missing there.
    room = _room(pixels, wanted)
    # First only moved and made smaller, then also filled a little at the borders.
    least = -_CUT if margin > 0 else 0.0
    for most, low in ((0.0, margin * _SHRINK), (_FILL, least)):
        for step in range(_STEPS + 1):
            less = margin + (low - margin) * step / _STEPS
            moved = _moved(_framed(face, less, aspect, angle), room, face.edge)
            if _missing(moved, room) <= most:
                return moved
    return moved


def cut(pixels: Pixels, frame: Frame) -> Pixels:
    """Cut ``frame`` out of uint8 ``[H, W, 3]``, filling what lies outside the picture."""
    width, height = max(1, round(frame.width)), max(1, round(frame.height))
    if not frame.angle:
        left, top = round(frame.x - width / 2), round(frame.y - height / 2)
        return filled(pixels, left, top, width, height)
    # A piece that holds the turned frame, then the turn.
    reach = math.ceil(math.hypot(width, height) / 2) + 2
    left, top = round(frame.x) - reach, round(frame.y) - reach
    piece = Image.fromarray(filled(pixels, left, top, 2 * reach, 2 * reach))
    cos, sin = math.cos(math.radians(frame.angle)), math.sin(math.radians(frame.angle))
    x, y = frame.x - left, frame.y - top
    matrix = (
        *(cos, -sin, x - cos * width / 2 + sin * height / 2),
        *(sin, cos, y - sin * width / 2 - cos * height / 2),
    )
    turned = piece.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return np.asarray(turned, dtype=np.uint8)


def filled(pixels: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """A rectangle of uint8 ``[H, W, 3]`` that may reach over the border, or lie outside."""
    rows, cols = pixels.shape[:2]
    # At least one row and column of the picture to go on from.
    x0, x1 = min(max(left, 0), cols - 1), max(min(left + width, cols), 1)
    y0, y1 = min(max(top, 0), rows - 1), max(min(top + height, rows), 1)
    inner = pixels[y0:y1, x0:x1]
    pads = (
        (max(0, y0 - top), max(0, top + height - y1)),
        (max(0, x0 - left), max(0, left + width - x1)),
    )
    if not any(side for pad in pads for side in pad):
        return np.ascontiguousarray(inner)
    whole, mirrored = _extended(inner, pads)
    # The further out, the more blurred: a mirrored eye or ear must not stay one.
    depth = _depth(inner.shape[:2], pads, mirrored)[:, :, None] / (_FADE * max(width, height))
    blurred = _blur(whole, _BLUR * max(width, height)).astype(np.float32)
    mixed = whole + (blurred - whole) * np.minimum(depth, 1)
    # Where the rectangle lies wholly outside, a strip too much was kept.
    y, x = max(0, top - y0), max(0, left - x0)
    return np.asarray(np.rint(mixed[y : y + height, x : x + width]), dtype=np.uint8)


def whole(pixels: Pixels, aspect: float = 1.0) -> Pixels:
    """The middle of uint8 ``[H, W, 3]``, as large as ``aspect`` (width by height) allows."""
    rows, cols = pixels.shape[:2]
    width = max(1, min(cols, round(rows * aspect)))
    height = max(1, min(rows, round(cols / aspect)))
    left, top = (cols - width) // 2, (rows - height) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize uint8 ``[H, W, 3]`` to ``[height, width, 3]`` by Lanczos."""
    if pixels.shape[:2] == (height, width):
        return pixels
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)


def _framed(face: Face, margin: float, aspect: float, angle: float) -> Frame:
    left, top, right, bottom = face.box
    edge = max(right - left, bottom - top)
    side = edge * (1 + 2 * margin)
    width, height = (side * aspect, side) if aspect >= 1 else (side, side / aspect)
    down = (height - side) * (_BELOW - 0.5) - edge * margin * _LIFT
    lean = math.radians(angle)
    x = (left + right) / 2 - math.sin(lean) * down
    y = (top + bottom) / 2 + math.cos(lean) * down
    return Frame(x, y, width, height, angle)


def _lean(face: Face) -> float:
    if face.eyes is None:
        return 0.0
    (x0, y0), (x1, y1) = face.eyes
    # Eyes that nearly meet belong to a face seen from the side.
    if x1 - x0 < face.edge * 0.15:
        return 0.0
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    return angle if abs(angle) <= _STEEPEST else 0.0


def _room(pixels: Pixels, wanted: Frame) -> tuple[float, float, float, float]:
    """How far a frame may reach to the left, top, right and bottom without needing a filling."""
    rows, cols = pixels.shape[:2]
    left, top, right, bottom = (round(side) for side in wanted.sides)
    across = slice(min(max(left, 0), cols - 1), max(1, right))
    down = slice(min(max(top, 0), rows - 1), max(1, bottom))
    borders = (pixels[down, 0], pixels[0, across], pixels[down, -1], pixels[-1, across])
    plain = [_is_plain(border) for border in borders]
    return (
        -math.inf if plain[0] else 0.0,
        -math.inf if plain[1] else 0.0,
        math.inf if plain[2] else float(cols),
        math.inf if plain[3] else float(rows),
    )


def _moved(frame: Frame, room: tuple[float, float, float, float], edge: float) -> Frame:
    left, top, right, bottom = frame.sides

    def move(low: float, high: float, start: float, end: float) -> float:
        before, after = max(0.0, start - low), max(0.0, high - end)
        if before and after:
            return 0.0
        most = max(0.0, (high - low - edge) / 2 * _MOVE)
        return min(before, most) if before else -min(after, most)

    x = frame.x + move(left, right, room[0], room[2])
    y = frame.y + move(top, bottom, room[1], room[3])
    return replace(frame, x=x, y=y)


def _missing(frame: Frame, room: tuple[float, float, float, float]) -> float:
    """The largest part that lies outside, over any one side, as a share of the frame's side."""
    left, top, right, bottom = frame.sides
    return max(
        (room[0] - left) / frame.width,
        (room[1] - top) / frame.height,
        (right - room[2]) / frame.width,
        (bottom - room[3]) / frame.height,
    )


def _extended(inner: Pixels, pads: _Pads) -> tuple[Pixels, _Pads]:
    """``inner`` with borders, and which of them are mirrored (1); a plain one goes on (0)."""
    mirrored = [[0, 0], [0, 0]]
    for axis, sides in enumerate(pads):
        for end, size in enumerate(sides):
            if not size:
                continue
            plain = _is_plain(inner[-end] if axis == 0 else inner[:, -end])
            mirrored[axis][end] = 0 if plain else 1
            pad = [(0, 0), (0, 0), (0, 0)]
            pad[axis] = (0, size) if end else (size, 0)
            inner = np.pad(inner, pad, mode="edge" if plain else "symmetric")
    (above, below), (before, after) = mirrored
    return inner, ((above, below), (before, after))


def _is_plain(border: Pixels) -> bool:
    return int(np.ptp(border, axis=0).max()) <= _PLAIN


def _depth(inner: tuple[int, ...], pads: _Pads, mirrored: _Pads) -> npt.NDArray[np.float32]:
    """How far each pixel lies in a mirrored border, in pixels."""
    axes = []
    for size, (before, after), (first, last) in zip(inner, pads, mirrored, strict=True):
        place = np.arange(size + before + after, dtype=np.float32) - before
        axes.append(np.maximum(0, np.maximum(-place * first, (place - (size - 1)) * last)))
    return np.hypot(axes[0][:, None], axes[1][None, :])


def _blur(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
