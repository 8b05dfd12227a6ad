"""Are these pictures faces already, or pictures to find faces in?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kaogen.data.finding.faces import FaceFinder, open_finder
from kaogen.data.inputs.sources import Source
from kaogen.data.preparing.engine import Lost, open_engine
from kaogen.errors import DataError, ImageError, MissingExtraError
from kaogen.images import read_image

_SAMPLE: Final = 16
_SMALL: Final = 256  # pixels; nobody keeps whole scenes that small
_FILLS: Final = 0.3  # of the picture's edge, for the face of a ready crop


@dataclass(frozen=True)
class _Sample:
    """One picture to judge by."""

    source: Source
    aspect: float
    finder: str


def are_ready(
    source: Source, names: Sequence[str], *, aspect: float, finder: str, here: bool = False
) -> tuple[bool, str]:
    """Judge by a few pictures, spread evenly: ``(ready faces, why)``.

    Ready are pictures that all have the data set's own shape and are small, or, when they are
    larger, mostly filled by one face. The same pictures are always judged the same.

    Args:
        source: the pictures.
        names: those that are to be looked at.
        aspect: width by height of the data set's faces.
        finder: kind of the finder, where one is needed to tell.
        here: look in this process; else in one that a hostile picture may bring down.
    """
    step = max(1, len(names) // _SAMPLE)
    samples = [_Sample(source.part([name]), aspect, finder) for name in names[::step][:_SAMPLE]]
    looked = open_engine("local", workers=0 if here else 1).run(_judge, samples)
    kinds = Counter(kind for _, kind in looked if not isinstance(kind, Lost))
    if kinds["other shape"]:
        return False, "not all pictures have the shape of the data set's faces"
    if kinds["large"] == kinds["face"] == 0:
        return True, f"all pictures looked at have their shape and at most {_SMALL} pixels"
    if kinds["large"] < kinds["face"] + kinds["small"]:
        return True, "most pictures looked at are filled by one face"
    return False, "most pictures looked at are more than one face"


def _judge(sample: _Sample) -> str:
    """What kind of picture it is: "other shape", "small", "face", "large" or "none"."""
    try:
        pixels = read_image(sample.source.read(sample.source.names[0]))
    except ImageError:
        return "none"
    height, width = pixels.shape[:2]
    if abs(width / height / sample.aspect - 1) > 0.02:
        return "other shape"
    if max(height, width) <= _SMALL:
        return "small"
    faces = _open(sample.finder).find(pixels)
    return "face" if faces and faces[0].edge >= _FILLS * min(height, width) else "large"


@lru_cache(maxsize=1)
def _open(finder: str) -> FaceFinder:
    return open_finder(finder)


def open_for(finder: str) -> FaceFinder:
    """Open the finder; where that fails, the error also says how to do without."""
    try:
        return open_finder(finder)
    except (MissingExtraError, DataError) as error:
        error.hint = f"{error.hint} For faces that are ready: --no-detect.".strip()
        raise
