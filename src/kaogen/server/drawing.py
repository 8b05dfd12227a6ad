"""The one thread that draws, the bounded queue before it, and the cache of finished pictures."""

import math
import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from kaogen.errors import KaogenError
from kaogen.recipe import Recipe
from kaogen.studio.draw import Character, Studio

Form = Literal["png", "webp", "json"]

WAITING = 32
"""How many pictures may wait; the next request is told to come back."""
CACHE_BYTES = 64 * 1024 * 1024
"""How many bytes of encoded pictures are kept."""
RECENT = 4
"""How many drawn characters are kept to be encoded in another form (3 MiB each at most)."""
PROBE = Recipe(seed=0, size=32)
"""Drawn to see whether the model draws."""


class BusyError(KaogenError):
    """The queue is full or the server is stopping; try again in `retry_after` seconds."""

    status: ClassVar[int] = 503

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=f"Try again in {retry_after} s.")


class ByteCache:
    """The most recently used values, as many as fit into `limit` bytes. Not thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._values: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: tuple[str, str]) -> bytes | None:
        """Return the value and mark it as just used."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: tuple[str, str], value: bytes) -> None:
        """Keep the value, and drop the least recently used ones that no longer fit."""
        self.size += len(value) - len(self._values.pop(key, b""))
        self._values[key] = value
        while self.size > self.limit:
            _, dropped = self._values.popitem(last=False)
            self.size -= len(dropped)


@dataclass
class Counts:
    """What the drawing thread has done since its start; read by ``/metrics``."""

    drawn: int = 0
    seconds: float = 0.0
    failed: int = 0
    refused: int = 0
    hits: int = 0
    misses: int = 0


@dataclass
class _Job:
    recipe: Recipe
    key: tuple[str, str]  # the recipe's digest and the form
    form: Form
    keep: bool = True  # a probe is drawn afresh each time
    answer: "Future[bytes]" = field(default_factory=Future)


class Drawing:
    """Draws recipes one after the other in a thread of its own.

    One thread, because one picture already uses all the cores the model may use; what waits is
    bounded, so that a crowd is refused quickly instead of served late. The same picture asked
    for twice at once is drawn once.

    Args:
        studio: draws.
        describe: what ``.json`` says of a character.
        waiting: how many pictures may wait.
        cache_bytes: how many bytes of encoded pictures are kept.
    """

    def __init__(
        self,
        studio: Studio,
        describe: Callable[[Character], bytes],
        *,
        waiting: int = WAITING,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.limit = waiting
        self.counts = Counts()
        self.cache = ByteCache(cache_bytes)
        self._studio = studio
        self._describe = describe
        self._jobs: deque[_Job] = deque()
        self._recent: OrderedDict[str, Character] = OrderedDict()  # only the thread touches it
        self._lately: deque[float] = deque(maxlen=16)
        self._under_way: dict[tuple[str, str], Future[bytes]] = {}
        self._change = threading.Condition()
        self._closing = False
        self._succeeded_at = -math.inf
        self._thread = threading.Thread(target=self._work, name="drawing")

    def start(self) -> None:
        """Start the thread; its first job is a probe, so the first visitor finds a warm model."""
        self._thread.start()
        self.probe()

    def close(self) -> None:
        """Refuse what is new, finish what waits, and stop the thread."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """How many pictures wait now."""
        return len(self._jobs)

    def picture(self, recipe: Recipe, form: Form) -> "Future[bytes]":
        """Return the encoded picture (or its description) of a recipe, now or later.

        Raises:
            BusyError: the queue is full or closing.
        """
        key = (recipe.digest(), form)
        with self._change:
            kept = self.cache.get(key)
            if kept is not None:
                self.counts.hits += 1
                done: Future[bytes] = Future()
                done.set_result(kept)
                return done
            self.counts.misses += 1
            return self._enqueue(_Job(recipe, key, form))

    def probe(self) -> "Future[bytes]":
        """Draw a small picture afresh; raises BusyError as `picture` does."""
        with self._change:
            return self._enqueue(_Job(PROBE, ("probe", "png"), "png", keep=False))

    def drew_within(self, seconds: float) -> bool:
        """Whether a picture was finished so recently; true under load, when probing costs."""
        return not self._closing and time.monotonic() - self._succeeded_at < seconds

    def _enqueue(self, job: _Job) -> "Future[bytes]":
        """Append a job, or join the same one under way; the caller holds the lock."""
        if self._closing:
            raise self._busy("The server is stopping.")
        if job.key in self._under_way:
            return self._under_way[job.key]
        if len(self._jobs) >= self.limit:
            raise self._busy("Too many pictures are waiting.")
        # Shared by all who wait for it, so that none of them may cancel it.
        job.answer.set_running_or_notify_cancel()
        self._under_way[job.key] = job.answer
        self._jobs.append(job)
        self._change.notify()
        return job.answer

    def _busy(self, why: str) -> BusyError:
        """Refuse until the queue as it stands is drawn, at the usual pace of late."""
        self.counts.refused += 1
        usual = statistics.median(self._lately) if self._lately else 0.0
        return BusyError(why, max(1, math.ceil(len(self._jobs) * usual)))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                answer = self._finish(job)
            except Exception as error:  # the thread outlives every picture
                self._settle(job)
                self.counts.failed += 1
                job.answer.set_exception(error)
            else:
                self._settle(job)
                job.answer.set_result(answer)

    def _next(self) -> _Job | None:
        """Wait for a job; None when closing and all are done."""
        with self._change:
            self._change.wait_for(lambda: self._jobs or self._closing)
            return self._jobs.popleft() if self._jobs else None

    def _settle(self, job: _Job) -> None:
        with self._change:
            self._under_way.pop(job.key, None)

    def _finish(self, job: _Job) -> bytes:
        """Draw, encode and keep."""
        began = time.perf_counter()
        character = self._character(job)
        data = self._encode(character, job.form)
        seconds = time.perf_counter() - began
        self.counts.seconds += seconds
        if job.keep:  # the first probe loads the model, and would tell of minutes
            self._lately.append(seconds)
        self._succeeded_at = time.monotonic()
        if job.keep:
            with self._change:
                self.cache.put(job.key, data)
        return data

    def _character(self, job: _Job) -> Character:
        """Draw, or take one just drawn: who asks for the description asks for the picture too."""
        character = self._recent.pop(job.key[0], None)
        if character is None:
            character = self._studio.draw(job.recipe)
            self.counts.drawn += 1
        if job.keep:
            self._recent[job.key[0]] = character
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return character

    def _encode(self, character: Character, form: Form) -> bytes:
        if form == "json":
            return self._describe(character)
        return character.png() if form == "png" else character.webp()
