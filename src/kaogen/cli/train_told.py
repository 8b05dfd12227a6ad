"""What ``kaogen train`` says while it trains: a live line, or a line a tick where nobody looks."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # torch is loaded later, while pictures are decoded
    from kaogen.training.forecast import Forecast
    from kaogen.training.health import Trouble
    from kaogen.training.run import Run, Tick

_WINDOW = 600.0  # seconds that a rate is the mean of

# Figures of a step -> as they are told, in order.
NAMES = {
    "d": "D",
    "g": "G",
    "tags": "tags",
    "rt": "r_t",
    "p": "p",
    "r1": "R1",
    "r2": "R2",
    "gp": "GP",
    "path": "path",
}


def show(run: Run, console: Console) -> bool:
    """Train under a live line with kimg, rate, time left and losses; whether it came to its end."""
    total = int(run.config.kimg * 1000)
    columns = (
        TextColumn("{task.fields[kimg]}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        seen = run.trainer.seen
        bar = progress.add_task(
            "",
            total=total,
            completed=seen,
            kimg=kimg(seen, total),
            pace="",
            losses="first step ...",
        )
        clock, known = Clock(seen), dict[str, str]()

        def tell(tick: Tick) -> None:
            clock.see(tick.seen)
            pace, losses = clock.pace(tick.total), figures(tick.losses)
            where = kimg(tick.seen, tick.total)
            progress.update(bar, completed=tick.seen, kimg=where, pace=pace, losses=losses)
            if tick.saved is None:
                return
            if not console.is_terminal:
                line = f"{where}, {pace}, {losses}"
                console.print(line, soft_wrap=True, highlight=False, markup=False)
            warn(console, tick.troubles, known)

        return run.train(tell)


def beginning(run: Run, name: str, console: Console) -> None:
    """What is trained, and where to look."""
    from kaogen.training import curves

    trainer, folder = run.trainer, run.folder
    seen = f"going on at {trainer.seen:,} images" if trainer.seen else "from the beginning"
    console.print(
        f"{name}: {len(trainer.data.images):,} faces, {len(run.vocabulary)} tags, "
        f"activations in {str(trainer.dtype).removeprefix('torch.')}, {seen}",
        soft_wrap=True,
    )
    console.print(
        f"Look at {folder / 'grids'} and {folder / curves.NAME} after each {run.config.tick_kimg:g}"
        f" kimg; for TensorBoard: tensorboard --logdir {folder}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def end(run: Run, console: Console, finished: bool) -> None:
    """How it ended, and what to do next."""
    from kaogen.training import evolution

    seen, hours = run.trainer.seen, duration(run.minutes * 60)
    done = f"{'Done' if finished else 'Stopped'} at {seen:,} images after {hours} of training; "
    next_ = "run the same command to go on."
    if finished:
        next_ = f"next: kaogen export {run.folder} --archive {run.archive.path} -o model.kaogen"
    # A command to copy stays in one piece.
    console.print(done + next_, soft_wrap=True, highlight=False, markup=False)
    film = run.folder / evolution.NAME
    if film.exists():
        console.print(f"How it came about: {film}", soft_wrap=True, highlight=False, markup=False)


def foretell(told: Forecast, console: Console) -> None:
    """The whole configuration, and what the run would take."""
    text = json.dumps(told.to_dict(), indent=1)
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    g, d, trunk = told.parameters
    draws, judges = told.gflop
    night = told.rate * 8 * 3.6
    frozen = f" beside a frozen trunk of {trunk:,}" if trunk else ""
    rows = [
        ("Data", f"{told.faces:,} faces, {told.tags} tags, {told.data:.2f} GiB as pixels"),
        (
            "Parameters",
            f"G {g:,}, D {d:,}{frozen}",
        ),
        ("GFLOP a picture", f"G {draws:.3g}, D {judges:.3g} (one pass forward; x and + count two)"),
        ("Activations", told.activations),
        ("Memory", "unknown" if told.memory is None else f"{told.memory:.1f} GiB"),
        ("Disk", f"{told.disk:.2f} GiB for checkpoints and grids, about"),
        ("Speed", f"{told.rate:.3g} images a second, measured now in {told.steps} steps"),
        ("Time", f"{duration(told.hours * 3600)} for {told.config.kimg:,.10g} kimg"),
        ("A night of 8 hours", f"{night:,.0f} kimg"),
    ]
    table = Table.grid(padding=(0, 3))
    for name, words in rows:
        table.add_row(name, words)
    console.print(table, highlight=False)
    console.print("Nothing was written.", highlight=False)


def warn(console: Console, troubles: list[Trouble], known: dict[str, str]) -> None:
    """Say what is new among the troubles and what has passed.

    Args:
        console: where to.
        troubles: of the last tick.
        known: what was said before, by name; brought up to date here.

    """
    now = {trouble.name: str(trouble) for trouble in troubles}
    for name, words in now.items():
        if name not in known:
            line = Text.assemble(("Warning: ", "bold yellow"), words)
            console.print(line, soft_wrap=True, highlight=False)
    for name in known.keys() - now.keys():
        console.print(f"No longer so: {name}.", soft_wrap=True, highlight=False, markup=False)
    known.clear()
    known.update(now)


def kimg(seen: int, total: int) -> str:
    """Such as "12.4/200 kimg"."""
    places = 1 if total >= 10_000 else 3
    return f"{seen / 1000:,.{places}f}/{total / 1000:,.10g} kimg"


def figures(losses: dict[str, float]) -> str:
    """Such as "D 1.334 G 0.698 r_t 0.21"."""
    return " ".join(f"{name} {losses[key]:.3f}" for key, name in NAMES.items() if key in losses)


def duration(seconds: float) -> str:
    """Such as "40 s", "12 min", "2 h 13 min", "3 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


class Clock:
    """How fast it goes, everything included, and how long it will take.

    Args:
        seen: images seen at the start.

    """

    def __init__(self, seen: int) -> None:
        self.points = deque([(time.monotonic(), seen)])

    def see(self, seen: int, now: float | None = None) -> None:
        """Take note of where the run is; `now` in seconds of a clock that never goes back."""
        now = time.monotonic() if now is None else now
        last = self.points[-1][0]
        if len(self.points) > 1 and now - self.points[-2][0] < 1:
            self.points.pop()  # one point a second is enough
        self.points.append((max(now, last), seen))
        while self.points[-1][0] - self.points[0][0] > _WINDOW and len(self.points) > 2:
            self.points.popleft()

    @property
    def rate(self) -> float:
        """Images a second."""
        (start, first), (end, last) = self.points[0], self.points[-1]
        return (last - first) / max(end - start, 1e-9)

    def pace(self, total: int) -> str:
        """Such as "62.1 img/s, 51 min left"."""
        if self.rate <= 0:
            return ""
        left = duration((total - self.points[-1][1]) / self.rate)
        return f"{self.rate:.3g} img/s, {left} left"
