"""Near-duplicates among a million hashes: seconds, and how many times quicker than all pairs.

    python benchmarks/duplicates.py --data faces.zip --count 1000000

The hashes are those of real faces, which are unevenly spread, each with 14 random bits flipped so
that there are as many as asked for; without --data they are spread evenly, which is easier.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from kaogen.data.archives.archive import Archive
from kaogen.data.page.report_pictures import rgb
from kaogen.data.preparing.duplicates import DISTANCE, near_duplicates
from kaogen.data.preparing.filters import face_stats

FLIPS = 14
SAMPLE = 20_000


def hashes_of(path: Path | None, count: int) -> np.ndarray:
    """uint64 `[count]`."""
    rng = np.random.default_rng(0)
    if path is None:
        return rng.integers(0, 2**64, count, dtype=np.uint64)
    with Archive.open(path) as archive:
        faces = (rgb(archive.image(i)) for i in range(len(archive)))
        known = np.array([face_stats(face).phash for face in faces], np.uint64)
    many = np.resize(known, count)
    for _ in range(FLIPS if count > len(known) else 0):
        many ^= np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    return many


def all_pairs(hashes: np.ndarray) -> float:
    """Seconds for comparing each hash with each later one."""
    start = time.perf_counter()
    for i in range(len(hashes) - 1):
        (np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= DISTANCE).any()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a data set file whose faces are hashed")
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    hashes = hashes_of(options.data, options.count)
    names = [f"{i:08d}" for i in range(options.count)]
    start = time.perf_counter()
    dropped = near_duplicates(hashes, DISTANCE, names)
    taken = time.perf_counter() - start
    sample = hashes[: min(SAMPLE, options.count)]
    plain = all_pairs(sample) * (options.count / len(sample)) ** 2
    print(f"{options.count:,} hashes, {len(dropped):,} dropped within {DISTANCE} bits")
    print(f"{taken:.1f} s; all pairs would take {plain:,.0f} s: {plain / taken:,.0f} times as long")


if __name__ == "__main__":
    main()
