"""Looking at pictures: read, cut square, resize, tag; in this process or in many.

The work comes in fixed chunks, and what was seen goes back in the order of the chunks, so the
result has the same bytes whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.archive_writer import encode_png
from kaogen.data.sources import open_source
from kaogen.data.taggers import Tagger
from kaogen.errors import DataError, ImageError
from kaogen.images import read_image

_IN_FLIGHT_PER_WORKER = 4

# ``(name, shall the tagger see it)`` of some pictures.
Chunk = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Job:
    """What a worker must know; small and hashable, so that it is sent and kept cheaply.

    Attributes:
        source: folder or zip of the pictures.
        size: edge of the square faces, in pixels.
        tagger: "builtin", the path of a tagger's ``.onnx``, or None.
    """

    source: Path
    size: int
    tagger: str | None


@dataclass(frozen=True)
class Look:
    """What came of one picture: a PNG, or the reason why not.

    Attributes:
        name: the picture's name in the source.
        reason: why it is left out; "" when it is fine.
        sha256: hex digest of the picture's file.
        png: the square face.
        enlarged: whether the picture was smaller than the face.
        tags: what the tagger saw; None when it was not asked.
    """

    name: str
    reason: str = ""
    sha256: str = ""
    png: bytes = b""
    enlarged: bool = False
    tags: tuple[str, ...] | None = None


class _Worker:
    def __init__(self, job: Job) -> None:
        self.size = job.size
        self.source = open_source(job.source)
        self.tagger = Tagger.load(job.tagger) if job.tagger is not None else None

    def look(self, chunk: Chunk) -> list[Look]:
        looks: list[Look] = []
        asked: list[npt.NDArray[np.uint8]] = []
        asked_at: list[int] = []
        for name, to_tag in chunk:
            try:
                data = self.source.read(name)
                pixels = read_image(data)
            except ImageError as error:
                looks.append(Look(name, reason=error.message))
                continue
            if to_tag and self.tagger is not None:
                asked_at.append(len(looks))
                # As large as the tagger needs: 64 whole pictures could fill the memory.
                asked.append(square(pixels, self.tagger.size))
            png = encode_png(square(pixels, self.size))
            enlarged = min(pixels.shape[:2]) < self.size
            looks.append(Look(name, "", hashlib.sha256(data).hexdigest(), png, enlarged))
        if self.tagger is not None and asked:
            for index, scores in zip(asked_at, self.tagger.scores(asked), strict=True):
                seen = tuple(name for name, _ in self.tagger.tags(scores))
                looks[index] = replace(looks[index], tags=seen)
        return looks


def square(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Middle square of uint8 ``[H, W, 3]``, resized by Lanczos to ``[size, size, 3]``.

    Cut rather than squeezed, so that a face keeps its proportions.
    """
    height, width = pixels.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    if (height, width) == (size, size):
        return pixels
    box = (left, top, left + edge, top + edge)
    small = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(small, dtype=np.uint8)


@lru_cache(maxsize=1)
def _worker(job: Job) -> _Worker:
    return _Worker(job)


def _look(job: Job, chunk: Chunk) -> list[Look]:
    return _worker(job).look(chunk)


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the whole group; the parent alone decides, workers print no traces.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def look_in_order(job: Job, chunks: Sequence[Chunk], workers: int) -> Iterator[list[Look]]:
    """What was seen in each chunk, in their order, by up to ``workers`` processes.

    Raises:
        DataError: a worker was killed.
        ModelError: the tagger cannot be used.
    """
    workers = min(workers, len(chunks))
    if workers <= 1:
        worker = _Worker(job)
        yield from map(worker.look, chunks)
        return
    # spawn: a fork beside the threads of a progress bar or of onnxruntime can hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_ignore_interrupt)
    waiting: deque[Future[list[Look]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_look, job, chunk))
            if len(waiting) >= workers * _IN_FLIGHT_PER_WORKER:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "A worker process was killed.", hint="Short of memory? Try --workers 1."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
