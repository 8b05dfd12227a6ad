"""How fast `kaogen prepare` is, whether its bytes hold, and what memory and disk it takes.

    python benchmarks/prepare.py --data ../shared/data
    python benchmarks/prepare.py --data ../shared/data --quick

--data is a folder with portraits.zip (256 px with margin: faces are looked for in them) and
getchu.zip (ready faces). Printed are: images a second of each stage, in one process; whether the
data set has the same bytes with 1, 2 and 4 workers, with a worker killed midway (kill -9) and on
Ray with 2 CPUs; peak memory for more and more faces; bytes of the file against those of its images.
"""

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kaogen.data.archives.archive import Archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.finding.crops import crop, resize
from kaogen.data.finding.faces import open_finder
from kaogen.data.inputs.sources import open_source
from kaogen.data.preparing.filters import face_stats
from kaogen.data.preparing.prepare import Preparation, prepare
from kaogen.data.tagging.taggers import open_tagger
from kaogen.images import read_image

SIZE = 64


def stages(source_path: Path, count: int) -> None:
    """Images a second of each stage, one process, one thread."""
    source = open_source(source_path)
    names = source.names[:count]

    def timed(what: str, call: Callable[[Any], Any], things: Sequence[Any]) -> list[Any]:
        start = time.perf_counter()
        results = [call(thing) for thing in things]
        rate = len(things) / (time.perf_counter() - start)
        print(f"| {what} | {rate:,.0f} |", flush=True)
        return results

    finder, tagger = open_finder(), open_tagger("builtin")
    tagger.scores([read_image(source.read(names[0]))])  # loads the graph
    print(f"\nstage, {len(names)} pictures of {source_path.name}, one process\n")
    print("| stage | images/s |\n|---|---|")
    pixels = timed("read and decode", lambda name: read_image(source.read(name)), names)
    faces = timed("find faces", finder.find, pixels)
    pairs = [(p, face) for p, found in zip(pixels, faces, strict=True) for face in found]
    cut = timed("cut with margin", lambda pair: crop(*pair), pairs)
    timed("measure (filters, hash)", face_stats, cut)
    batches = [cut[i : i + 32] for i in range(0, len(cut), 32)]
    start = time.perf_counter()
    for batch in batches:
        tagger.scores(batch)
    print(f"| tag | {len(cut) / (time.perf_counter() - start):,.0f} |")
    small = timed(f"resize to {SIZE} px", lambda face: resize(face, SIZE, SIZE), cut)
    timed("encode as PNG", encode_png, small)
    print(f"\nfaces: {len(cut)} in {sum(map(bool, faces))} of {len(names)} pictures")


def one(words: list[str]) -> None:
    """Prepare once, in a process of its own; prints what the parent wants to know."""
    source, out, limit, workers, engine, detect, kill = words
    killed: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        team = multiprocessing.active_children()
        if kill == "kill" and not killed and done > total / 3 and len(team) > 1:
            killed.append(team[0].pid or 0)
            team[0].kill()

    plan = Preparation(
        Path(source),
        Path(out),
        size=SIZE,
        tagger="builtin",
        limit=int(limit),
        workers=int(workers),
        engine=engine,
        detect=detect == "detect",
    )
    report = prepare(plan, progress)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {
        "faces": report.written,
        "pictures": report.pictures,
        "seconds": report.seconds,
        "killed": len(killed),
        "parent": usage[0].ru_maxrss / 1024,
        "worker": usage[1].ru_maxrss / 1024,  # of the largest one
    }
    print(json.dumps(told))


def run(source: Path, out: Path, limit: int, workers: int, **options: str) -> dict[str, Any]:
    given = {"engine": "local", "detect": "detect", "kill": ""} | options
    words = [source, out, limit, workers, given["engine"], given["detect"], given["kill"]]
    call = [sys.executable, __file__, "--one", *map(str, words)]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told["sha256"] = hashlib.sha256(out.read_bytes()).hexdigest()[:16]
    return told


def same_bytes(source: Path, out: Path, count: int) -> bool:
    """The same bytes, however they are made; and pictures a second in all."""
    ways: list[tuple[str, int, dict[str, str]]] = [(f"{n} workers", n, {}) for n in (1, 2, 4)]
    ways.append(("2 workers, one killed midway", 2, {"kill": "kill"}))
    if importlib.util.find_spec("ray") is not None:
        ways.append(("Ray, 2 CPUs", 2, {"engine": "ray"}))
    print(f"\nthe whole way, {count} pictures of {source.name}: faces found, cut, tagged\n")
    print("| how | pictures/s | faces | killed | SHA-256 of the file |\n|---|---|---|---|---|")
    seen = set()
    for what, workers, options in ways:
        told = run(source, out, count, workers, **options)
        seen.add(told["sha256"])
        rate = told["pictures"] / told["seconds"]
        row = (what, f"{rate:.1f}", told["faces"], told["killed"], told["sha256"])
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print(f"\nthe same bytes: {'yes' if len(seen) == 1 else 'NO'}")
    return len(seen) == 1


def memory(source: Path, out: Path, counts: Sequence[int], workers: int) -> bool:
    """Peak memory and bytes, of ready faces."""
    print(f"\nready faces of {source.name}, tagged, {workers} workers\n")
    print("| faces | faces/s | parent's peak, MiB | a worker's, MiB | file / images |")
    print("|---|---|---|---|---|")
    fine = True
    for count in counts:
        told = run(source, out, count, workers, detect="ready")
        with Archive.open(out) as archive:
            images = (archive.stats() or {})["image_bytes"]
        ratio = out.stat().st_size / images
        fine &= ratio <= 1.05
        rate = told["faces"] / told["seconds"]
        row = (f"{told['faces']:,}", f"{rate:.0f}", f"{told['parent']:.0f}")
        print("| " + " | ".join((*row, f"{told['worker']:.0f}", f"{ratio:.4f}")) + " |", flush=True)
    return fine


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
        return 0
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two zips")
    parser.add_argument("--quick", action="store_true", help="few pictures: does it all work?")
    parser.add_argument("--workers", type=int, default=2, help="for the memory's figures")
    options = parser.parse_args()
    portraits, getchu = options.data / "portraits.zip", options.data / "getchu.zip"
    few, counts = (24, [100, 200]) if options.quick else (600, [1000, 4000, 12000, 28000])
    stages(portraits, few)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "faces.zip"
        fine = same_bytes(portraits, out, few)
        fine &= memory(getchu, out, counts, options.workers)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
