"""Are these pictures faces already, or pictures to find faces in?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kaogen.data.faces import FaceFinder, open_finder
from kaogen.data.sources import Source
from kaogen.errors import DataError, ImageError, MissingExtraError
from kaogen.images import read_image

_SAMPLE: Final = 16
_SMALL: Final = 256  # pixels; nobody keeps whole scenes that small
_FILLS: Final = 0.3  # of the picture's edge, for the face of a ready crop


def are_ready(
    source: Source, names: Sequence[str], *, aspect: float, finder: str
) -> tuple[bool, str]:
    """Judge by a few pictures, spread evenly: ``(ready faces, why)``.

    Ready are pictures that all have the data set's own shape and are small, or, when they are
    larger, mostly filled by one face. The same pictures are always judged the same.

    Args:
        source: the pictures.
        names: those that are to be looked at.
        aspect: width by height of the data set's faces.
        finder: kind of the finder, where one is needed to tell.
    """
    step = max(1, len(names) // _SAMPLE)
    opened: FaceFinder | None = None
    seen = filled = small = 0
    for name in names[::step][:_SAMPLE]:
        try:
            pixels = read_image(source.read(name))
        except ImageError:
            continue
        height, width = pixels.shape[:2]
        if abs(width / height / aspect - 1) > 0.02:
            return False, "not all pictures have the shape of the data set's faces"
        seen += 1
        if max(height, width) <= _SMALL:
            small += 1
            continue
        if opened is None:
            opened = open_finder(finder)
        faces = opened.find(pixels)
        filled += bool(faces) and faces[0].edge >= _FILLS * min(height, width)
    if small == seen:
        return True, f"all pictures looked at have their shape and at most {_SMALL} pixels"
    if 2 * (filled + small) > seen:
        return True, "most pictures looked at are filled by one face"
    return False, "most pictures looked at are more than one face"


def open_for(finder: str) -> FaceFinder:
    """Open the finder; where that fails, the error also says how to do without."""
    try:
        return open_finder(finder)
    except (MissingExtraError, DataError) as error:
        error.hint = f"{error.hint} For faces that are ready: --no-detect.".strip()
        raise
