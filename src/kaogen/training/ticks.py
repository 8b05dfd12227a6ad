"""Between two ticks: the time and losses so far, and the wish to stop."""

from __future__ import annotations

import signal
import time
from types import FrameType


class Stop:
    """Turns SIGINT and SIGTERM into a wish that is met after the step under way.

    Who presses Ctrl-C again, a second or more later, does not want to wait: that ends the process
    where it is. (Sooner, it may be the same Ctrl-C, sent on by a launcher.)

    Attributes:
        wanted: whether a signal came.
        pressing: whether it was SIGTERM: a machine goes down or gives the place to another job,
            and what is not done in seconds is lost.

    """

    def __init__(self) -> None:
        self.wanted = self.pressing = False
        self.since = 0.0

    def __enter__(self) -> Stop:
        self.previous = {s: signal.signal(s, self._notice) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.wanted and number == signal.SIGINT and now > self.since + 1:
            raise KeyboardInterrupt
        self.pressing |= number == signal.SIGTERM
        if not self.wanted:
            self.wanted, self.since = True, now


class Window:
    """The time and losses since the last tick, which ended at `since` images."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.start = time.perf_counter()
        self.losses = Means()

    def seconds(self) -> float:
        """Since the last tick."""
        return time.perf_counter() - self.start

    def rate(self, seen: int) -> float:
        """Images a second since the last tick."""
        return (seen - self.since) / self.seconds()


class Means:
    """Running means of the losses."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: dict[str, float]) -> None:
        """Add one step's losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each."""
        return {name: value / self.counts[name] for name, value in self.sums.items()}

    def rounded(self) -> dict[str, float]:
        """Means for `progress.jsonl`."""
        return {name: round(value, 4) for name, value in self.means().items()}
