"""A progress bar with rate and time left, on stderr so that what is told can be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Rate(TextColumn):
    """How many a second; `fine` gives slow work a decimal."""

    def __init__(self, *, fine: bool = False) -> None:
        super().__init__("")
        self._fine = fine

    def render(self, task: Task) -> Text:
        """Such as "1,234/s"."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{speed:.1f}/s" if self._fine and speed < 10 else f"{speed:,.0f}/s")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; the function it gives takes (done, total). It appears at the first call.

    So what fails at once is one line and no bar.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )
    task = progress.add_task(what, total=None)

    def tell(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        if progress.live.is_started:
            progress.stop()
