"""`progress.jsonl`: one line a tick, and the history that can be read back from it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "progress.jsonl"


def append(run: Path, **values: Any) -> None:
    """Add one line, with the time of day in seconds since 1970."""
    entry = {"time": round(time.time(), 1), **values}
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    with (run / NAME).open("ab+") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":  # a kill has cut the last line short: it ends here
                line = "\n" + line
        handle.write(line.encode())


def history(run: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The ticks that led to where the run is, oldest first, and where it was started again.

    A run that was killed goes on from its last checkpoint: what had been told beyond it is
    told anew, and left out here. A line that was cut short by the kill is passed over.
    """
    ticks: dict[int, dict[str, Any]] = {}
    starts: list[int] = []
    try:
        lines = (run / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return [], []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        if isinstance(entry.get("start"), int):
            ticks = {seen: tick for seen, tick in ticks.items() if seen <= entry["start"]}
            starts = [seen for seen in starts if seen < entry["start"]] + [entry["start"]]
        elif isinstance(entry.get("seen"), int):
            ticks[entry["seen"]] = entry
    return [ticks[seen] for seen in sorted(ticks)], [seen for seen in starts if seen]
