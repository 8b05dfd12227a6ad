"""What came of a picture: one :class:`Found` for each face, or one for a picture that gave none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kaogen.data.inputs.sidecars import Words
from kaogen.data.preparing.filters import FaceStats

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """One face on its way into the data set, or one picture or face that is left out.

    Attributes:
        name: the picture's name in its source.
        index: number of the face within the picture, from 0; the finder's best comes first.
        faces: how many faces of the picture were taken.
        reason: why it is left out; "" when it is fine.
        sha256: hex digest of the picture's file; "" where that could not be read.
        png: the face as it goes into the data set. Of what is left out, a small PNG to look at,
            or None where there is nothing to see.
        enlarged: whether the face was smaller than the data set's size.
        upscaled: whether the network for enlarging did that.
        box: left, top, right, bottom of the face in the picture's pixels; None without a finder.
        finder_score: how sure the finder was; None without a finder.
        picture_size: the picture's (height, width).
        stats: what the filters look at.
        words: what stands beside the picture.
        scores: what the tagger gave it, float16 ``[T]``; None without one.
        tight: a PNG of the same face without margin, of a few faces only, for the report.
    """

    name: str
    index: int = 0
    faces: int = 0
    reason: str = ""
    sha256: str = ""
    png: bytes | None = None
    enlarged: bool = False
    upscaled: bool = False
    box: Box | None = None
    finder_score: float | None = None
    picture_size: tuple[int, int] | None = None
    stats: FaceStats | None = None
    words: Words | None = None
    scores: npt.NDArray[np.float16] | None = None
    tight: bytes | None = None
