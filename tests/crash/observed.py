"""A training process that says where it is, so that it can be killed there.

Its words go to a file, a line each: process id, rank, images seen, and the point it has come to. It
waits at the point that it is told to, for the kill to find it there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP = "step"
# Inside a save, in their order. All but the second are told by the interpreter's audit hook, which
# is called before a file is made, renamed or removed.
SAVE = (
    "before the folder",
    "half the weights",
    "weights without state",
    "before the commit",
    "before tidying up",
    "half tidied up",
)


@dataclass(frozen=True)
class Word:
    """One line of the log."""

    pid: int
    rank: int
    seen: int
    point: str


def watch(log: Path, pause: str = "", after: int = 0) -> Callable[[str], None]:
    """Make this process say each step and each point of a save; returns what says a word.

    Args:
        log: file to append to.
        pause: the point at which to wait for the end.
        after: and the images that must have been seen by then.

    """
    from kaogen.training import checkpoint
    from kaogen.training.loop import Trainer

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    rank, seen = os.environ.get("RANK", "0"), 0

    def say(point: str) -> None:
        os.write(handle, f"{os.getpid()} {rank} {seen} {point}\n".encode())
        if point == pause and seen >= after:
            time.sleep(120)

    def step(trainer: Trainer) -> dict[str, float]:
        nonlocal seen
        losses = one_step(trainer)
        seen = trainer.seen
        say(STEP)
        return losses

    def save_file(tensors: dict[str, Any], path: Path) -> None:
        whole(tensors, path)
        if pause == "half the weights" and seen >= after:
            os.truncate(path, path.stat().st_size // 2)  # as a write that is under way
            say(pause)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        point = point_of(event, args)
        if point:
            say(point)

    one_step, whole = Trainer.step, checkpoint.save_file
    Trainer.step = step  # type: ignore[method-assign]
    checkpoint.save_file = save_file  # type: ignore[assignment]
    sys.addaudithook(hook)
    return say


def point_of(event: str, args: tuple[Any, ...]) -> str:
    """The point of a save that an audit event stands for, or nothing."""
    if event == "os.mkdir" and "/.tmp-" in str(args[0]):
        return "before the folder"
    if event == "open" and str(args[0]).endswith("/state.json") and "w" in str(args[1]):
        return "weights without state"
    if event == "os.rename" and Path(str(args[1])).name.isdecimal():
        return "before the commit"
    if event == "shutil.rmtree" and "/.tmp-old-" in str(args[0]):
        return "before tidying up"
    if event == "os.rmdir" and ".tmp-old-" in str(args[0]):
        return "half tidied up"
    return ""


def words(log: Path) -> list[Word]:
    """All that has been said."""
    if not log.exists():
        return []
    lines = log.read_text().splitlines()
    split = [line.split(" ", 3) for line in lines]
    return [Word(int(pid), int(rank), int(seen), point) for pid, rank, seen, point in split]


def wait_for(
    log: Path, known: int, fits: Callable[[Word], bool], alive: Callable[[], bool]
) -> Word:
    """The first word after the `known` first ones that fits; AssertionError when none will."""
    deadline = time.monotonic() + 120
    while True:
        running = alive()  # asked first: what is said before the end is still read
        for word in words(log)[known:]:
            if fits(word):
                return word
        assert running, f"ended without coming there; it said {words(log)[known:][-3:]}"
        assert time.monotonic() < deadline, "never came there"
        time.sleep(0.002)
