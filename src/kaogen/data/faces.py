"""Finding faces behind one small interface.

``animeface`` works offline and is the default. ``imgutils`` (dghs-imgutils) finds more on busy
pictures and fetches its model from a hub when it is first used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from kaogen.data.animeface import Library
from kaogen.errors import ConfigError, DataError

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
Point = tuple[float, float]
Kind = Literal["animeface", "imgutils"]

KINDS: Final[tuple[Kind, ...]] = ("animeface", "imgutils")
LEAST: Final[dict[str, float]] = {"animeface": 0.9, "imgutils": 0.4}
"""The default least score of each kind."""

_FINEST_AREA: Final = 450_000
_COARSEST: Final = 96
_PADDING: Final = 0.35
_SMALLEST_SIDE: Final = 12
_SAME_FACE: Final = 0.3


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
    finder: Callable[[float], FaceFinder]
    finder = AnimefaceFinder if kind == "animeface" else ImgutilsFinder
    return finder(LEAST[kind] if least is None else least)


class AnimefaceFinder(FaceFinder):
    """The ``animeface`` detector over several sizes of the picture.

    It sees faces of about 43 px and more that are not much blurred, and none that fills more
    than three quarters of the picture. So it looks at the picture made small and padded, where
    even a tight crop's face fits and is sharp, then at finer sizes for smaller faces.
    """

    name = "animeface"

    def __init__(self, least: float = LEAST["animeface"]) -> None:
        super().__init__(least)
        self._library = Library()
        if not self.find(drawn_face()):
            raise DataError(
                f"the animeface library {self._library.path} does not find a drawn test face.",
                hint="Try: pip install --force-reinstall 'animeface>=2.0.3'",
            )

    def find(self, pixels: Pixels) -> list[Face]:
        """Faces, best first; see :class:`FaceFinder`."""
        height, width = pixels.shape[:2]
        if min(height, width) < _SMALLEST_SIDE:
            return []
        found: list[Face] = []
        for scale, padding in levels(height, width):
            found += self._at(pixels, scale, padding)
        return distinct(face for face in found if face.score >= self.least)

    def _at(self, pixels: Pixels, scale: float, padding: float) -> list[Face]:
        """Faces of the picture enlarged by ``scale`` with a border of ``padding`` of its side."""
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        small = np.asarray(
            Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
            if (height, width) != pixels.shape[:2]
            else pixels
        )
        border = round(min(height, width) * padding)
        if border:
            small = np.pad(small, ((border, border), (border, border), (0, 0)), mode="edge")
        across, down = pixels.shape[1] / width, pixels.shape[0] / height

        def back(x: float, y: float) -> Point:
            return (x - border) * across, (y - border) * down

        faces = []
        for found in self._library.find(small):
            left, top, right, bottom = found.box
            box = (*back(left, top), *back(right, bottom))
            eyes = (back(*found.eyes[0]), back(*found.eyes[1]))
            faces.append(Face(found.likelihood, box, eyes))
        return faces

    def describe(self) -> dict[str, Any]:
        """Name, library and least score."""
        return {"finder": self.name, "library": self._library.path.name, "least": self.least}


class ImgutilsFinder(FaceFinder):
    """``imgutils.detect.detect_faces``: a YOLO network, fetched from its hub when first used."""

    name = "imgutils"

    def __init__(self, least: float = LEAST["imgutils"]) -> None:
        super().__init__(least)
        try:
            from imgutils.detect import detect_faces
        except ImportError as error:
            raise DataError(
                f"the finder imgutils cannot be loaded ({error}).",
                hint="Install it with: pip install dghs-imgutils",
            ) from error
        self._detect: Callable[..., Any] = detect_faces
        try:
            self._ask(drawn_face())
        except Exception as error:
            raise DataError(
                f"the finder imgutils does not work ({type(error).__name__}: {error}).",
                hint="Its model comes from a hub when first used: is this machine connected?",
            ) from error

    def find(self, pixels: Pixels) -> list[Face]:
        """Faces, best first; see :class:`FaceFinder`."""
        if min(pixels.shape[:2]) < _SMALLEST_SIDE:
            return []
        return distinct(self._ask(pixels))

    def _ask(self, pixels: Pixels) -> list[Face]:
        answer = self._detect(Image.fromarray(pixels), conf_threshold=self.least)
        faces = [
            Face(float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
            for box, _, score in answer
        ]
        return [f for f in faces if f.score >= self.least and f.edge > 0]

    def describe(self) -> dict[str, Any]:
        """Name, version and least score."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            release = version("dghs-imgutils")
        except PackageNotFoundError:
            release = "unknown"
        return {"finder": self.name, "version": release, "least": self.least}


def levels(height: int, width: int) -> list[tuple[float, float]]:
    """The sizes at which a picture is looked at, coarse to fine, as ``(scale, padding)``."""
    short = min(height, width)
    finest = min(1.0, (_FINEST_AREA / (height * width)) ** 0.5)
    # The coarsest is enlarged where need be, and small enough whatever the picture's shape.
    coarsest = min(_COARSEST / short, (_FINEST_AREA / 4 / (height * width)) ** 0.5)
    steps = [(coarsest, _PADDING)]
    scale = finest
    while scale > coarsest * 1.5:
        steps.insert(1, (scale, 0.0))
        scale /= 2
    return steps


def distinct(faces: Any) -> list[Face]:
    """Best first, without those that overlap a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, -face.edge, face.box)):
        if all(_overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Common area as a share of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / smaller if smaller > 0 else 0.0


def drawn_face(size: int = 160) -> Pixels:
    """A simple anime face, uint8 ``[size, size, 3]``: what a finder that works must find."""
    unit = size / 160
    picture = Image.new("RGB", (size, size), (232, 240, 248))
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, rx: float, ry: float, fill: str, line: str | None = None) -> None:
        box = ((x - rx) * unit, (y - ry) * unit, (x + rx) * unit, (y + ry) * unit)
        draw.ellipse(box, fill=fill, outline=line, width=max(1, round(1.5 * unit)))

    def shape(*points: Point, fill: str) -> None:
        draw.polygon([(x * unit, y * unit) for x, y in points], fill=fill)

    shape((40, 160), (60, 132), (100, 132), (120, 160), fill="#33415c")  # shoulders
    oval(80, 76, 52, 58, "#5a3a2e", "#2c1a14")  # hair
    shape((68, 115), (92, 115), (94, 138), (66, 138), fill="#f0cdb8")  # neck
    oval(80, 86, 38, 40, "#fbe3d4", "#5a3a2e")
    shape((43, 92), (117, 92), (80, 130), fill="#fbe3d4")  # cheeks to chin
    shape(
        (40, 84),
        (44, 44),
        (80, 30),
        (116, 44),
        (120, 84),
        (108, 62),
        (96, 74),
        (86, 58),
        (74, 74),
        (62, 60),
        (52, 74),
        fill="#5a3a2e",
    )  # fringe
    for x in (62, 98):
        oval(x, 88, 10, 12, "#ffffff", "#2c1a14")
        oval(x, 89, 7, 10.5, "#2f5fb0", "#14213d")
        oval(x, 90, 3.5, 6, "#0b1020")
        oval(x - 2.5, 84, 2.5, 3, "#ffffff")
        draw.line(
            [((x - 12) * unit, 79 * unit), (x * unit, 74 * unit), ((x + 12) * unit, 79 * unit)],
            fill="#2c1a14",
            width=max(1, round(3 * unit)),
        )
    draw.arc(
        (70 * unit, 104 * unit, 90 * unit, 116 * unit),
        20,
        160,
        fill="#a5483f",
        width=max(1, round(2 * unit)),
    )
    return np.array(picture)
