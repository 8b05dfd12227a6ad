"""What is evaluated, and looking at its pictures as a stream: none is kept longer than a block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.metrics.features import cores
from kaogen.tags import Vocabulary

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

Tell = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, of how many)."""
Look = Callable[[Pixels], tuple[Array, ...]]
"""Something that is read off pictures: uint8 [n, H, W, 3] -> arrays with n rows each."""

BLOCK = 32
"""Pictures in one piece of work. Fixed: how pictures are cut into batches decides roundings."""
THUMB = 32
"""Edge in pixels of what is compared pixel by pixel."""


class Subject(Protocol):
    """A model that draws characters from label rows.

    Attributes:
        name: of the model, as reports print it.
        resolution: height and width of its pictures in pixels.
        vocabulary: the L tags that its label rows have, in order.
        tags: those that it has learnt.
        psi: the truncation that it recommends.
        real_rows: bool [R, L], the label rows of real faces, in the archive's order.
    """

    name: str
    resolution: int
    vocabulary: Vocabulary
    tags: tuple[str, ...]
    psi: float
    real_rows: Bits

    def draw(self, rows: Floats, seeds: Sequence[int], psi: float) -> Pixels:
        """Label rows [n, L] and n seeds -> uint8 [n, H, W, 3]; the same input, the same bytes."""
        ...

    def interpolate(self, row: Floats, seeds: tuple[int, int], steps: int, psi: float) -> Pixels:
        """A straight walk in w between two seeds of one label row [L].

        Returns uint8 [steps + 1, H, W, 3], both ends included.
        """
        ...


def look_through(
    source: Callable[[int, int], Pixels],
    count: int,
    looks: Sequence[Look],
    tell: Callable[[int, int], None] = lambda done, total: None,
    workers: int | None = None,
) -> list[tuple[Array, ...]]:
    """Let every look see `count` pictures, block by block, on all cores.

    Args:
        source: (start, stop) -> pictures [stop - start, H, W, 3]; called from several threads.
        count: how many pictures, at least 1.
        looks: what is read off them; called from several threads.
        tell: called with (done, count) from the calling thread.
        workers: threads; by default one per core. The result does not depend on it.

    Returns:
        One tuple per look: its arrays with `count` rows, in the pictures' order.
    """
    threads = workers or cores()

    def work(start: int) -> list[tuple[Array, ...]]:
        pictures = source(start, min(start + BLOCK, count))
        return [look(pictures) for look in looks]

    found: list[list[tuple[Array, ...]]] = []
    waiting: deque[Future[list[tuple[Array, ...]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, count, BLOCK):
                waiting.append(pool.submit(work, start))
                if len(waiting) > 2 * threads:
                    found.append(waiting.popleft().result())
                    tell(len(found) * BLOCK, count)
            while waiting:
                found.append(waiting.popleft().result())
                tell(min(len(found) * BLOCK, count), count)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [
        tuple(np.concatenate([block[i][j] for block in found]) for j in range(len(found[0][i])))
        for i in range(len(looks))
    ]


def drawn(
    subject: Subject, rows: Floats, seeds: Sequence[int], psi: float
) -> Callable[[int, int], Pixels]:
    """The `source` of `look_through` that draws these characters."""

    def source(start: int, stop: int) -> Pixels:
        return subject.draw(rows[start:stop], seeds[start:stop], psi)

    return source


def thumbs(images: Pixels) -> tuple[Pixels]:
    """Pictures [n, H, W, 3] -> [n, THUMB, THUMB, 3], each pixel the mean of those it covers."""
    n, height, width, _ = images.shape
    if height % THUMB == 0 and width % THUMB == 0:
        boxes = images.reshape(n, THUMB, height // THUMB, THUMB, width // THUMB, 3)
        return (np.rint(boxes.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8),)
    small = (
        Image.fromarray(image).resize((THUMB, THUMB), Image.Resampling.BOX) for image in images
    )
    return (np.stack([np.asarray(picture) for picture in small]),)
