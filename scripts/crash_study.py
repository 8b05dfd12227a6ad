"""Kill training by real signals, many times, and compare its weights with an undisturbed run's.

    python scripts/crash_study.py

Trains the smallest networks on noise by the real command. Alone: `kill -9` at observed steps and
inside saves, then SIGTERM; by torchrun with two ranks: one rank killed, the command started again,
and once with `--max-restarts`, which starts it by itself. Each time the run must have got further
than the time before, and in the end the weights must be those of the undisturbed run, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from crash.observed import SAVE, STEP, Word, wait_for, watch, words
from crash.runs import NET, weights, write_faces

BATCH, TICK, STEPS = 4, 6, 160  # images a step; steps between two checkpoints, and in all
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
PAIR = "of two ranks"


@dataclass(frozen=True)
class Kill:
    """Where to strike.

    Attributes:
        point: of `observed`; inside a save, the process waits there for the kill.
        seen: images by then.
        rank: which process.

    """

    point: str
    seen: int
    rank: int = 0


class Study:
    """One run folder and what is done to it.

    Args:
        work: folder of everything.
        name: of the run.
        launcher: what starts `kaogen train`'s processes.
        options: of `kaogen train`.

    """

    def __init__(self, work: Path, name: str, launcher: list[str], options: list[str]) -> None:
        self.work, self.launcher = work, launcher
        self.folder, self.log = work / name, work / f"{name}.log"
        self.errors = work / f"{name}.stderr"
        self.options = [str(work / "faces.zip"), "--out", str(self.folder), *options]

    def start(self, pause: Kill | None = None) -> subprocess.Popen[bytes]:
        """The command, its processes watched."""
        told = json.dumps([pause.rank, pause.point, pause.seen] if pause else [0, "", 0])
        child = [__file__, "--child", str(self.log), told, "train", *self.options]
        self.known = len(words(self.log))
        with self.errors.open("a") as errors:
            return subprocess.Popen([*self.launcher, *child], stderr=errors)

    def finish(self) -> int:
        """Run to the end; returns the exit status."""
        return self.start().wait()

    def strike(self, kill: Kill, number: signal.Signals) -> tuple[Word, float, int]:
        """Where a signal found a process, the seconds to the command's end, and its status."""
        child = self.start(kill if kill.point != STEP else None)

        def fits(word: Word) -> bool:
            return word.point == kill.point and word.seen >= kill.seen and word.rank == kill.rank

        word = wait_for(self.log, self.known, fits, lambda: child.poll() is None)
        os.kill(word.pid, number)
        since = time.monotonic()
        status = child.wait()
        return word, time.monotonic() - since, status

    def steps(self) -> list[int]:
        """Images seen after each step of the last start, of rank 0."""
        last = words(self.log)[self.known :]
        return [word.seen for word in last if word.point == STEP and word.rank == 0]


def plan(kills: int, inside: int, seed: int) -> list[Kill]:
    """`kills` places, each later than the one before; `inside` of them in saves."""
    draw = random.Random(seed)
    stride = STEPS / (kills + 4)
    saves = sorted(draw.sample(range(kills), inside))
    out: list[Kill] = []
    for i in range(kills):
        step = int((i + 1) * stride) + draw.randrange(max(1, int(stride) - 2))
        if i in saves:
            step += -step % TICK
            out.append(Kill(SAVE[saves.index(i) % len(SAVE)], step * BATCH))
        else:
            out.append(Kill(STEP, step * BATCH))
    return out


def kill_alone(study: Study, kills: list[Kill], end: str) -> bool:
    """kill -9 at every place, SIGTERM three times, then the end."""
    before, good = 0, True
    for kill in kills:
        word, _, status = study.strike(kill, signal.SIGKILL)
        start = study.steps()[0] - BATCH
        further = word.seen > before and start >= before - TICK * BATCH
        good &= further and status == -signal.SIGKILL
        print(f"  kill -9 at {word.seen:5} images, {word.point:22} went on from {start:5}", end="")
        print("" if further else "  NO PROGRESS")
        before = word.seen
    for i in range(3):
        word, seconds, status = study.strike(Kill(STEP, before + 12 + 8 * i), signal.SIGTERM)
        saved = study.steps()[-1] == int(newest(study.folder))
        good &= saved and status == 130 and seconds < 10
        print(f"  SIGTERM at {word.seen:5} images: saved {saved}, ended in {seconds:.1f} s")
    good &= study.finish() == 0
    return compare(study.folder, end) and good


def kill_one_of_two(study: Study, end: str) -> bool:
    """One rank killed, three times; the same command again each time."""
    good, before = True, 0
    places = [Kill(STEP, 72, 1), Kill(STEP, 200, 0), Kill("weights without state", 360, 0)]
    for kill in places:
        word, seconds, status = study.strike(kill, signal.SIGKILL)
        good &= status != 0 and word.seen > before
        print(f"  rank {word.rank} killed at {word.seen:5} images, {word.point:22}", end="")
        print(f"the other ended, the command with {status}, in {seconds:.1f} s")
        before = word.seen
    good &= study.finish() == 0
    return compare(study.folder, end) and good


def kill_and_restart(study: Study, end: str) -> bool:
    """One rank killed; torchrun starts both again by itself."""
    word, seconds, status = study.strike(Kill(STEP, 200, 1), signal.SIGKILL)
    print(f"  rank {word.rank} killed at {word.seen:5} images; {seconds:.1f} s later the", end=" ")
    print(f"command ended with {status}")
    return compare(study.folder, end) and status == 0


def newest(folder: Path) -> str:
    """Name of the newest checkpoint."""
    from kaogen.training import checkpoint

    return checkpoint.latest(folder).name


def compare(folder: Path, end: str) -> bool:
    """Whether a run has come to the end that it must come to."""
    equal = weights(folder) == end
    left = [p.name for p in (folder / "checkpoints").glob(".*")]
    print(f"  weights {'EQUAL' if equal else 'NOT EQUAL'} to the undisturbed run's", end="")
    print(f"; left behind: {', '.join(left) or 'nothing'}")
    return equal and not left


def everything(work: Path, kills: int, inside: int, seed: int) -> bool:
    """All of it; returns whether all held."""
    write_faces(work / "faces.zip")
    alone, pair = [sys.executable], TORCHRUN
    options = ["--kimg", str(STEPS * BATCH / 1000), "--tick", str(TICK * BATCH / 1000)]
    options += ["--batch", str(BATCH), "--threads", "1", "--preset"]
    for critic in ("features", "stylegan2"):
        described = {**NET.to_dict(), "critic": critic}
        (work / f"{critic}.json").write_text(json.dumps(described))
    one = [*options, str(work / "features.json")]
    # The paper's recipe, and all else that has a state of its own.
    two = [*options, str(work / "stylegan2.json"), "--augment", "ada", "--ada-kimg", "0.1"]
    two += ["--path", "2", "--tag-dropout", "0.3"]
    ends = []
    for name, launcher, given in (("alone", alone, one), ("pair", pair, two)):
        study = Study(work, f"{name}-undisturbed", launcher, given)
        if study.finish() != 0:
            sys.exit(study.errors.read_text())
        ends.append(weights(study.folder))
    places = plan(kills, inside, seed)
    print(f"One process: {kills} times kill -9, {inside} of them inside a save; 3 times SIGTERM")
    good = kill_alone(Study(work, "alone", alone, one), places, ends[0])
    print("Two ranks: one of them killed, 3 times; the same command again each time")
    good &= kill_one_of_two(Study(work, "pair", pair, two), ends[1])
    print("Two ranks: one of them killed, torchrun --max-restarts 3")
    restarting = [*pair, "--max-restarts", "3"]
    return kill_and_restart(Study(work, "restarted", restarting, two), ends[1]) and good


def child(log: Path, told: str, line: list[str]) -> int:
    """A training process that says where it is."""
    from kaogen.cli.main import main as kaogen

    rank, point, seen = json.loads(told)
    mine = int(os.environ.get("RANK", "0")) == rank
    watch(log, point if mine else "", seen)
    return kaogen(line)


def main() -> int:
    """Run as a script does."""
    if sys.argv[1:2] == ["--child"]:
        return child(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kill -9 so many times (20)")
    parser.add_argument("--inside", type=int, default=6, help="so many of them in saves (6)")
    parser.add_argument("--seed", type=int, default=0, help="of the places (0)")
    args = parser.parse_args()
    work, began = Path(tempfile.mkdtemp(prefix="crash-study-")), time.monotonic()
    good = everything(work, args.kills, args.inside, args.seed)
    print(f"{'All held' if good else 'NOT all held'}, in {time.monotonic() - began:.0f} s")
    if good:
        shutil.rmtree(work)
    else:
        print(f"Everything is left in {work}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
