"""Read mutated picture files by the hundred thousand: each must be read or refused with a reason.

    python scripts/fuzz_images.py                    # 100,000 files, under a minute of CPU
    python scripts/fuzz_images.py --count 5000 --seed 7

The files are read in a child process. A watchdog ends it when one file takes too long; a file that
kills it, hangs, is slow or needs much memory is named and saved, and the run goes on behind it.
Exit status 1 when there was any such file.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SLOW_SECONDS = 1.0  # of CPU: what else the machine does is not the file's fault
MOST_MEMORY = 256 << 10  # KiB above the base
HANG_SECONDS = 10.0  # of CPU, too; then the file's process is ended
STILL_SECONDS = 900.0  # by the clock without a sign: waiting for nothing at all
_RESTARTS = 100


@dataclass
class Findings:
    """What came of the files.

    Attributes:
        read: files that gave pixels.
        refused: reason, without its figures -> files.
        bad: ``(number, what happened)`` of files that broke a rule.
        slowest: ``(CPU seconds, number, kind)``.
        longest: the longest wall time of a file, in seconds.
        peak: ``(KiB above the base, number, kind)``.
        base: KiB that the reading process had before its first file.
    """

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int, str] = (0.0, 0, "")
    longest: float = 0.0
    peak: tuple[int, int, str] = (0, 0, "")
    base: int = 0

    @property
    def count(self) -> int:
        """Files that something came of."""
        return self.read + sum(self.refused.values()) + len(self.bad)

    def add(self, line: str) -> int:
        """Take a line of the child's; gives the number of the file."""
        number_, reason, cpu_, wall_, memory_, base_, kind = line.split("\t")
        number, cpu, memory = int(number_), float(cpu_), int(memory_)
        self.base = self.base or int(base_)
        self.slowest = max(self.slowest, (cpu, number, kind))
        self.longest = max(self.longest, float(wall_))
        self.peak = max(self.peak, (memory, number, kind))
        if reason.startswith("!"):
            self.bad.append((number, reason[1:]))
        elif cpu > SLOW_SECONDS:
            self.bad.append((number, f"took {cpu:.2f} s of CPU"))
        elif memory > MOST_MEMORY:
            self.bad.append((number, f"needed {memory >> 10} MiB"))
        elif reason:
            plain = re.sub(r" ?\(.*", "", reason).rstrip(".")
            self.refused[re.sub(r"\d[\d,]*", "N", plain)] += 1
        else:
            self.read += 1
        return number


def watch(command: list[str], first: int, count: int, still: float = STILL_SECONDS) -> Findings:
    """Run `command` START STOP for the files from `first` on, again behind each that kills it."""
    findings = Findings()
    start, stop = first, first + count
    for _ in range(_RESTARTS):
        if start >= stop:
            break
        child = subprocess.Popen([*command, str(start), str(stop)], stdout=subprocess.PIPE)
        try:
            start, stood_still = _follow(child, start, findings, still)
        except KeyboardInterrupt:
            child.kill()
            break  # the figures so far are figures
        if start < stop:
            how = f"ended the process ({child.returncode})"
            if stood_still:
                how = f"stood still for {still:g} s"
            elif child.returncode == -signal.SIGPROF:
                how = f"hung: {HANG_SECONDS:g} s of CPU and no end"
            findings.bad.append((start, how))
            start += 1
    return findings


def _follow(
    child: subprocess.Popen[bytes], start: int, findings: Findings, still: float
) -> tuple[int, bool]:
    """``(the file that the child ended at, whether it stood still there)``."""
    assert child.stdout is not None
    rest = b""
    stood_still = False
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(still):
                stood_still = True
                child.kill()
                break
            data = os.read(child.stdout.fileno(), 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                start = findings.add(line.decode()) + 1
                if start % 2000 == 0 and sys.stderr.isatty():
                    print(f"\r{start:,} files", end="", file=sys.stderr, flush=True)
    child.stdout.close()
    child.wait()
    return start, stood_still


def read_all(start: int, stop: int, seed: int) -> None:
    """The child: read the files, one line of standard output for each."""
    from fuzz.mutated_images import mutated, sound_files
    from kaogen.errors import ImageError
    from kaogen.images import read_image

    for data in sound_files().values():  # loads every decoder, so that the base holds them
        read_image(data, animated="first")
    base = _peak(reset=True)
    for number in range(start, stop):
        kind, data = mutated(number, seed)
        reason = ""
        # When its time is up the system ends the process, wherever in a decoder it may be.
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            pixels = read_image(data, animated="first" if number % 2 else "refuse")
            if pixels.ndim != 3 or pixels.shape[2] != 3 or str(pixels.dtype) != "uint8":
                reason = f"!gave pixels of the shape {pixels.shape}"
            del pixels
        except ImageError as error:
            reason = error.message or "!was refused without a reason"
        except Exception as error:
            reason = f"!raised {type(error).__name__}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        over = _peak() - base
        if over > 0:
            _peak(reset=True)
        told = (number, reason, f"{cpu:.6f}", f"{wall:.6f}", max(0, over), base, kind)
        sys.stdout.write("\t".join(map(str, told)) + "\n")
        sys.stdout.flush()


def _peak(*, reset: bool = False) -> int:
    """The process's peak memory in KiB, from now on with `reset`; 0 where Linux does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0])


def show(findings: Findings, seconds: float) -> None:
    """Print the figures."""
    print(f"{findings.count:,} mutated files in {seconds:,.1f} s: {len(findings.bad)} broke a rule")
    print(f"  read {findings.read:,}, refused {sum(findings.refused.values()):,}")
    for reason, count in findings.refused.most_common():
        print(f"    {count:7,}  {reason}")
    cpu, number, kind = findings.slowest
    print(f"  slowest {cpu * 1000:.1f} ms of CPU (file {number}: {kind});", end=" ")
    print(f"longest by the clock {findings.longest * 1000:.1f} ms")
    memory, number, kind = findings.peak
    print(f"  peak memory {memory / 1024:.1f} MiB above {findings.base / 1024:.1f} MiB", end=" ")
    print(f"(file {number}: {kind})" if memory else "")


def main(words: list[str] | None = None) -> int:
    """Run as a script does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="files (100,000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other files (0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file (0)")
    parser.add_argument("--save", type=Path, default="fuzz-findings", help="folder for bad ones")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.child:
        read_all(*args.child, args.seed)
        return 0
    began = time.perf_counter()
    command = [sys.executable, __file__, "--seed", str(args.seed), "--child"]
    findings = watch(command, args.first, args.count)
    show(findings, time.perf_counter() - began)
    for number, happened in findings.bad:
        from fuzz.mutated_images import mutated

        kind, data = mutated(number, args.seed)
        args.save.mkdir(parents=True, exist_ok=True)
        path = args.save / f"{args.seed}-{number}.bin"
        path.write_bytes(data)
        print(f"  {path} ({kind}): {happened}")
    return 1 if findings.bad or findings.count < args.count else 0


if __name__ == "__main__":
    sys.exit(main())
