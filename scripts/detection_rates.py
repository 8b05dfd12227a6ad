"""How many faces a finder finds in pictures that hold one each, and how fast.

    python scripts/detection_rates.py portraits.zip booru.zip getchu.zip
    python scripts/detection_rates.py ~/pictures --finder imgutils -n 1000

Without a source it takes portraits.zip, booru.zip and getchu.zip from the folder that the
environment's KAOGEN_DATA names, else from ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kaogen.data.finding.faces import KINDS, Face, FaceFinder, open_finder
from kaogen.data.inputs.sources import Source, open_source
from kaogen.errors import ImageError, KaogenError
from kaogen.images import read_image

_SETS = ("portraits.zip", "booru.zip", "getchu.zip")
_SURE = 0.99


@dataclass
class Rates:
    """What was found in one source.

    Attributes:
        faces: of each picture, best first.
        refused: pictures that could not be read.
        cpu: seconds of the processor, spent on finding alone.
        wall: the same by the clock.
    """

    faces: list[list[Face]] = field(default_factory=list)
    refused: int = 0
    cpu: float = 0.0
    wall: float = 0.0

    def share(self, least: float = 0.0) -> float:
        """Share of the pictures with a face of at least this score."""
        return sum(bool(f) and f[0].score >= least for f in self.faces) / max(1, len(self.faces))


def measure(source: Source, names: Sequence[str], finder: FaceFinder) -> Rates:
    """Look for faces in the pictures ``names``; the progress goes to standard error."""
    rates = Rates()
    for count, name in enumerate(names, 1):
        try:
            pixels = read_image(source.read(name))
        except ImageError:
            rates.refused += 1
            continue
        cpu, wall = time.process_time(), time.perf_counter()
        rates.faces.append(finder.find(pixels))
        rates.cpu += time.process_time() - cpu
        rates.wall += time.perf_counter() - wall
        if sys.stderr.isatty() and (count % 20 == 0 or count == len(names)):
            left = rates.wall / count * (len(names) - count)
            print(f"\r{count}/{len(names)}, {left:.0f} s left ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return rates


def table_row(name: str, rates: Rates) -> str:
    """One source's line of the table."""
    count = max(1, len(rates.faces))
    several = sum(len(faces) > 1 for faces in rates.faces)
    return (
        f"{name:<20}{len(rates.faces):>8}{rates.refused:>9}{rates.share():>9.1%}"
        f"{rates.share(_SURE):>9.1%}{several:>9}{count / max(rates.wall, 1e-9):>10.1f}"
        f"{1000 * rates.cpu / count:>8.0f}"
    )


def sample(source: Source, number: int, seed: int) -> list[str]:
    """``number`` names, spread by chance, always the same ones; 0 takes all."""
    names = source.names
    if number <= 0 or number >= len(names):
        return list(names)
    rows = np.random.default_rng(seed).choice(len(names), number, replace=False)
    return [names[row] for row in sorted(rows)]


def default_sources() -> list[Path]:
    """The three sets, where they are."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("KAOGEN_DATA") or beside)
    return [folder / name for name in _SETS if (folder / name).is_file()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", type=Path, help="folders, zips, tars, lists")
    parser.add_argument("-n", type=int, default=300, help="pictures of each source; 0 for all")
    parser.add_argument("--finder", choices=KINDS, default="animeface")
    parser.add_argument("--least", type=float, help="lowest score; else the finder's default")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    given = parser.parse_args(arguments)
    try:
        sources = given.sources or default_sources()
        if not sources:
            print("no sources: name some, or set KAOGEN_DATA.", file=sys.stderr)
            return 2
        finder = open_finder(given.finder, least=given.least)
        print(" ".join(f"{key}: {value}" for key, value in finder.describe().items()))
        print(
            f"{'source':<20}{'read':>8}{'refused':>9}{'found':>9}{f'>={_SURE}':>9}{'several':>9}"
            f"{'images/s':>10}{'cpu ms':>8}"
        )
        for path in sources:
            source = open_source(path)
            rates = measure(source, sample(source, given.n, given.seed), finder)
            print(table_row(path.name, rates), flush=True)
    except KaogenError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
