"""Finding faces behind one small interface.

``animeface`` works offline and is the default. ``imgutils`` (dghs-imgutils) finds more on busy
pictures and fetches its model from a hub when it is first used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from kaogen.errors import ConfigError

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
Point = tuple[float, float]
Kind = Literal["animeface", "imgutils"]

KINDS: Final[tuple[Kind, ...]] = ("animeface", "imgutils")
LEAST: Final[dict[str, float]] = {"animeface": 0.95, "imgutils": 0.4}
"""The default least score of each kind."""

_SAME_FACE: Final = 0.3
_SAME_BOX: Final = 0.6


@dataclass(frozen=True)
class Face:
    """One face that was found.

    Attributes:
        score: how sure the finder is, 0 to 1.
        box: left, top, right, bottom in pixels of the picture, from the brows or the hair line
            to the chin; may reach a little over the border.
        eyes: centres of the two eyes, picture-left first; None where the finder does not tell.
    """

    score: float
    box: Box
    eyes: tuple[Point, Point] | None = None

    @property
    def edge(self) -> float:
        """Mean of the box's width and height, in pixels."""
        left, top, right, bottom = self.box
        return (right - left + bottom - top) / 2


class FaceFinder(ABC):
    """Finds faces. The same picture gives the same faces, whatever was seen before.

    Attributes:
        name: the kind.
        least: the lowest score that is told.
    """

    name: str

    def __init__(self, least: float) -> None:
        if not 0 <= least <= 1:
            raise ConfigError(f"the least score of a face is {least}; 0 to 1 is needed.")
        self.least = least

    @abstractmethod
    def find(self, pixels: Pixels) -> list[Face]:
        """Faces in uint8 RGB ``[H, W, 3]``, best first; never raises on any such picture."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the data set's provenance tells of this finder."""


def open_finder(kind: str = "animeface", *, least: float | None = None) -> FaceFinder:
    """Open a finder and try it, so that one that cannot work is refused here.

    Args:
        kind: "animeface" or "imgutils".
        least: the lowest score of a face, 0 to 1; None takes the kind's default.

    Raises:
        ConfigError: no such kind or score.
        MissingExtraError: what it needs is not installed.
        DataError: it is installed and does not work.
    """
    if kind not in LEAST:
        raise ConfigError(f'there is no face finder "{kind}".', hint=f"Known: {', '.join(KINDS)}.")
    from kaogen.data.finding.finders import AnimefaceFinder, ImgutilsFinder

    least = LEAST[kind] if least is None else least
    return AnimefaceFinder(least) if kind == "animeface" else ImgutilsFinder(least)


def distinct(faces: Iterable[Face]) -> list[Face]:
    """Best first, without those that overlap a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, -face.edge, face.box)):
        if all(_overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept


def merged(faces: Iterable[Face]) -> list[Face]:
    """As :func:`distinct`, but each box and its eyes are the mean over the finds of one face.

    A finder that looks at several sizes is a little off at each, differently.
    """
    every = list(faces)
    return [_mean(face, every) for face in distinct(every)]


def _mean(best: Face, every: Iterable[Face]) -> Face:
    same = [
        face
        for face in every
        if _overlap(face.box, best.box) > _SAME_BOX and 0.6 < face.edge / best.edge < 1.7
    ]
    left, top, right, bottom = (float(x) for x in np.mean([face.box for face in same], axis=0))
    eyes = best.eyes
    told = [face.eyes for face in same if face.eyes is not None]
    if told:
        (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in np.mean(told, axis=0))
        eyes = ((x0, y0), (x1, y1))
    return Face(best.score, (left, top, right, bottom), eyes)


def _overlap(a: Box, b: Box) -> float:
    """Common area as a share of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / smaller if smaller > 0 else 0.0
