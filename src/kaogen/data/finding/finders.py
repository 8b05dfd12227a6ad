"""The finders of faces: animeface over several sizes, and imgutils."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from kaogen.data.finding.animeface import Library
from kaogen.data.finding.faces import LEAST, Face, FaceFinder, Pixels, Point, distinct, merged
from kaogen.errors import DataError

_FINEST_AREA: Final = 450_000  # pixels: about half a second, and float32 sums still hold
_COARSEST: Final = 96  # of the shorter side, where a face fills the picture
_PADDING: Final = 0.35
_SMALLEST_SIDE: Final = 12


@dataclass(frozen=True)
class Look:
    """One way to look at a picture.

    Attributes:
        scale: how much larger or smaller the picture is made.
        padding: border added on each side, as a share of the shorter side.
        sharp: whether it is sharpened: the detector passes over what has few edges.
        turn: degrees counterclockwise that it is turned, for tilted heads.
    """

    scale: float
    padding: float = 0.0
    sharp: bool = False
    turn: float = 0.0


class AnimefaceFinder(FaceFinder):
    """The ``animeface`` detector over several sizes of the picture.

    It sees faces of about 43 px and more that are not much blurred, and none that fills more
    than three quarters of the picture. So it looks at the picture made small and padded, where
    even a tight crop's face fits and is sharp, then at finer sizes for smaller faces. Where
    nothing is found it looks again: sharpened, smaller, larger, and turned a little either way.
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
        looks, again = looks_at(height, width)
        finest = max(look.scale for look in looks)
        picture = _scaled(Image.fromarray(pixels), min(1.0, finest))
        picture = ImageOps.autocontrast(picture, cutoff=1, preserve_tone=True)
        faces = merged(face for look in looks for face in self._at(pixels, picture, look))
        for look in again if not faces else ():
            faces = merged(self._at(pixels, picture, look))
            if faces:
                break
        return faces

    def _at(self, pixels: Pixels, picture: Image.Image, look: Look) -> list[Face]:
        """Faces of ``picture``, which shows ``pixels`` at some size, in pixels of ``pixels``."""
        height, width = pixels.shape[:2]
        size = (max(1, round(width * look.scale)), max(1, round(height * look.scale)))
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        border = round(min(size) * look.padding)
        padded = np.pad(
            np.asarray(picture), ((border, border), (border, border), (0, 0)), mode="edge"
        )
        picture = Image.fromarray(padded)
        if look.sharp:
            picture = picture.filter(ImageFilter.UnsharpMask(1, 150, 0))
        if look.turn:
            picture = picture.rotate(look.turn, Image.Resampling.BICUBIC)
        middle = (picture.width / 2, picture.height / 2)
        cos, sin = math.cos(math.radians(look.turn)), math.sin(math.radians(look.turn))

        def back(point: Point) -> Point:
            x, y = point[0] - middle[0], point[1] - middle[1]
            x, y = middle[0] + cos * x - sin * y, middle[1] + sin * x + cos * y
            return (x - border) * width / size[0], (y - border) * height / size[1]

        faces = []
        for found in self._library.find(np.asarray(picture)):
            if found.likelihood < self.least:
                continue
            left, top, right, bottom = found.box
            x, y = back(((left + right) / 2, (top + bottom) / 2))
            across, down = (right - left) / 2 / look.scale, (bottom - top) / 2 / look.scale
            box = (x - across, y - down, x + across, y + down)
            eyes = sorted(back(eye) for eye in found.eyes)
            faces.append(Face(found.likelihood, box, (eyes[0], eyes[1])))
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
                hint="It is the package dghs-imgutils. Releases that ask for numpy<2 go in with "
                "pip's --no-deps, then what they miss by hand.",
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


def looks_at(height: int, width: int) -> tuple[list[Look], list[Look]]:
    """How a picture is looked at: always, coarse to fine; and again where nothing was found."""
    short, area = min(height, width), height * width
    finest = min(1.0, math.sqrt(_FINEST_AREA / area))
    # The coarsest is enlarged where need be, and small enough whatever the picture's shape.
    coarsest = min(_COARSEST / short, math.sqrt(_FINEST_AREA / 4 / area))
    finer = []
    scale = finest
    while scale > coarsest * 1.5:
        finer.append(Look(scale))
        scale /= 2
    small = [Look(2.0)] if area * 4 <= _FINEST_AREA else []
    again = [
        Look(coarsest, _PADDING, sharp=True),
        Look(coarsest * 0.75, _PADDING),
        *small,
        Look(coarsest, _PADDING, sharp=True, turn=20),
        Look(coarsest, _PADDING, sharp=True, turn=-20),
    ]
    return [Look(coarsest, _PADDING), *reversed(finer)], again


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC) if scale < 1 else picture


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
