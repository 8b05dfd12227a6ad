"""Looking at a shard of pictures, in a worker: read, find faces, cut, judge, tag, resize, encode.

What comes of a shard is a pure function of its pictures' bytes and the :class:`Job`: the tagger
sees fixed batches, and nothing depends on which worker it was, or on what it did before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.finding.crops import crop, resize, whole
from kaogen.data.finding.faces import Face, FaceFinder, open_finder
from kaogen.data.inputs.sidecars import read_sidecar
from kaogen.data.inputs.sources import Source
from kaogen.data.preparing import shards
from kaogen.data.preparing.filters import Filters, NsfwScorer, face_stats
from kaogen.data.preparing.found import Found
from kaogen.data.tagging.taggers import AnyTagger, Combine, open_tagger
from kaogen.errors import ImageError
from kaogen.images import read_image
from kaogen.tags import Vocabulary

if TYPE_CHECKING:
    from kaogen.data.finding.upscale import Upscaler

Pixels = npt.NDArray[np.uint8]

_BATCH = 32  # faces that the tagger sees at once
_PAIRS = 2  # faces of a shard that are kept without margin too, for the report
_SHOWN = 4  # of a shard's left-out pictures, how many can be looked at in the report
_THUMB = 160  # pixels


@dataclass(frozen=True)
class Job:
    """What is done to every picture; hashable, and all in JSON's types but for the filters.

    Attributes:
        height: of the faces, in pixels.
        width: of the faces, in pixels.
        finder: kind of the face finder; None for none.
        detect: take the faces that the finder finds; else the middle of each picture.
        margin: around a face, as a share of its edge.
        align: turn faces upright.
        faces: how many of a picture are taken at most; 0 for all.
        upscale: enlarge small faces by a network.
        tagger: what :func:`open_tagger` opens; None for no scores.
        combine: how several taggers become one.
        vocabulary: what foreign taggers' tags are mapped onto; None keeps them all.
        sidecars: whether tags beside the pictures are read.
        filters: what is left out.
        keep: whether everything that is left out is kept to be looked at.
    """

    height: int
    width: int
    finder: str | None
    detect: bool
    margin: float
    align: bool
    faces: int
    upscale: bool
    tagger: str | None
    combine: Combine
    vocabulary: tuple[str, ...] | None
    sidecars: bool
    filters: Filters
    keep: bool


@dataclass(frozen=True)
class Parcel:
    """One shard's work.

    Attributes:
        job: what is done.
        source: the pictures, and no others.
        path: the shard's file; None hands its content back instead.
        skip: pictures of which it is known that they kill a worker, with what happened.
    """

    job: Job
    source: Source
    path: Path | None
    skip: tuple[tuple[str, str], ...] = ()


def look_at(parcel: Parcel) -> bytes | None:
    """Work through a shard; its file is written, or its content handed back."""
    looker = _looker(parcel.job)
    data = shards.pack(looker.look(parcel.source, dict(parcel.skip)))
    if parcel.path is None:
        return data
    shards.write(parcel.path, data)
    return None


@lru_cache(maxsize=1)
def _looker(job: Job) -> Looker:
    return Looker(job)


class Looker:
    """The tools that a job needs, opened once in a process.

    Raises:
        MissingExtraError, ModelError, DataError: one of them cannot be used.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.finder: FaceFinder | None = open_finder(job.finder) if job.finder else None
        self.nsfw = NsfwScorer.open() if job.filters.nsfw is not None else None
        self.tagger: AnyTagger | None = None
        if job.tagger is not None:
            words = None if job.vocabulary is None else Vocabulary(job.vocabulary)
            self.tagger = open_tagger(job.tagger, words, combine=job.combine)
        self.upscaler: Upscaler | None = None
        if job.upscale:
            from kaogen.data.finding.upscale import Upscaler

            self.upscaler = Upscaler.open()
        self._pairs = self._shown = 0

    def look(self, source: Source, skip: Mapping[str, str]) -> list[Found]:
        """What is found in all pictures of ``source``, in their order."""
        self._pairs, self._shown = _PAIRS, _SHOWN
        found: list[Found] = []
        waiting: list[tuple[int, Pixels]] = []
        for name in source.names:
            for one, pixels in self._picture(source, name, skip.get(name, "")):
                if pixels is not None and self.tagger is not None:
                    waiting.append((len(found), _shrunk(pixels, self.tagger.size)))
                found.append(one)
            if len(waiting) >= _BATCH:
                self._tag(found, waiting)
        self._tag(found, waiting)
        return found

    def _picture(
        self, source: Source, name: str, skip: str
    ) -> Iterator[tuple[Found, Pixels | None]]:
        """One picture's faces; those that are kept, with the pixels that a tagger is to see."""
        if skip:
            yield Found(name, reason=skip), None
            return
        digest = ""
        try:
            data = source.read(name)
            digest = hashlib.sha256(data).hexdigest()
            pixels = read_image(data)
        except ImageError as error:
            yield Found(name, reason=error.message, sha256=digest), None
            return
        words = read_sidecar(source, name) if self.job.sidecars else None
        nsfw = self.nsfw.score(pixels) if self.nsfw is not None else None
        size = (pixels.shape[0], pixels.shape[1])
        one = Found(name, sha256=digest, picture_size=size, words=words)
        faces = self.finder.find(pixels) if self.finder is not None else []
        if not self.job.detect:
            score = faces[0].score if faces else None
            cut = whole(pixels, self._aspect)
            yield self._judge(replace(one, faces=1), cut, cut.shape[1::-1], score, nsfw)
            return
        if not faces:
            yield replace(one, reason="no face was found.", png=self._thumb(pixels)), None
        chosen = faces[: self.job.faces or None]
        for index, face in enumerate(chosen):
            left, top, right, bottom = (round(side, 1) for side in face.box)
            told = replace(one, index=index, faces=len(chosen), finder_score=round(face.score, 4))
            yield self._face(replace(told, box=(left, top, right, bottom)), pixels, face, nsfw)

    @property
    def _aspect(self) -> float:
        return self.job.width / self.job.height

    def _face(
        self, one: Found, pixels: Pixels, face: Face, nsfw: float | None
    ) -> tuple[Found, Pixels | None]:
        def cut(margin: float) -> Pixels:
            return crop(pixels, face, margin=margin, aspect=self._aspect, align=self.job.align)

        left, top, right, bottom = face.box
        size = (max(1, round(right - left)), max(1, round(bottom - top)))
        one, kept = self._judge(one, cut(self.job.margin), size, face.score, nsfw)
        if kept is not None and self._pairs:
            self._pairs -= 1
            one = replace(one, tight=_thumb(cut(0.0)))
        if kept is not None and self.tagger is not None and self.tagger.margin is not None:
            # A tagger judges best what looks like the faces it learnt from, and those are square:
            # with the data set's margin ours sees the mouth and the length of hair worse.
            kept = crop(pixels, face, margin=self.tagger.margin, align=self.job.align)
        return one, kept

    def _judge(
        self,
        one: Found,
        cut: Pixels,
        size: tuple[int, int],
        score: float | None,
        nsfw: float | None,
    ) -> tuple[Found, Pixels | None]:
        """Keep and encode what is cut out, or say why not; ``size`` is the face's (w, h)."""
        stats = face_stats(cut, width=size[0], height=size[1])
        reason = self.job.filters.reason(stats, found=score, nsfw=nsfw)
        if reason:
            return replace(one, reason=reason, stats=stats, png=self._thumb(cut)), None
        height, width = self.job.height, self.job.width
        need = max(height / cut.shape[0], width / cut.shape[1])
        large = cut
        if need > 1 and self.upscaler is not None:
            large = self.upscaler.up(cut, need)
        png = encode_png(resize(large, height, width))
        one = replace(one, png=png, stats=stats, enlarged=need > 1, upscaled=large is not cut)
        return one, cut

    def _tag(self, found: list[Found], waiting: list[tuple[int, Pixels]]) -> None:
        if self.tagger is not None and waiting:
            scores = self.tagger.scores([pixels for _, pixels in waiting])
            for (at, _), row in zip(waiting, scores, strict=True):
                found[at] = replace(found[at], scores=row.astype(np.float16))
        waiting.clear()

    def _thumb(self, pixels: Pixels) -> bytes | None:
        """What is left out, small, while anybody will look at it."""
        if not self.job.keep and self._shown <= 0:
            return None
        self._shown -= 1
        return _thumb(pixels)


def _shrunk(pixels: Pixels, size: int) -> Pixels:
    """As large as the tagger needs: 32 whole pictures could fill the memory."""
    scale = size / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    return resize(pixels, *(max(size, round(side * scale)) for side in pixels.shape[:2]))


def _thumb(pixels: Pixels) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    return encode_png(np.asarray(picture))
