"""From the command to the first step: how long a person waits before `kaogen train` learns.

    python benchmarks/start.py faces.zip [options of kaogen train]

Each start is a process of its own, with everything that a real one does: Python, torch, the data
set's pictures decoded, networks built, the first grid drawn. Prints seconds to the beginning and to
the end of the first step, the median of three after one that warms the disk's cache.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTS = 3

# Runs the program as it is, up to the end of its first step.
CHILD = """
import os, sys, time
from kaogen.cli import main

def watch():
    from kaogen.training.loop import Trainer
    step = Trainer.step
    def once(self):
        begun = time.time()
        step(self)
        print(begun, time.time(), flush=True)
        os._exit(0)
    Trainer.step = once

import importlib.abc
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "kaogen.training.report":  # imported before the first step, after the loop
            sys.meta_path.remove(self)
            watch()
sys.meta_path.insert(0, Watch())
main.run()
"""


def start(data: str, options: list[str]) -> tuple[float, float]:
    """Seconds until the first step begins and ends."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", data, "--out", str(Path(folder) / "run"), *options]
        begun = time.time()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    first, second = map(float, done.stdout.split()[-2:])
    return first - begun, second - begun


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    data, options = sys.argv[1], sys.argv[2:]
    start(data, options)
    found = [start(data, options) for _ in range(STARTS)]
    before, after = (statistics.median(times) for times in zip(*found, strict=True))
    print(f"first step begins after {before:.1f} s, ends after {after:.1f} s")
    print("all:", ", ".join(f"{first:.1f}" for first, _ in found))


if __name__ == "__main__":
    main()
