"""How much of a training step augmentation takes: pictures a second, forward and backward.

    python benchmarks/augment.py --size 64 --batch 32

Each group of adaptive augmentation at p = 1 (its cost does not depend on p), the groups that
"ada" turns on by itself, and the light policy for comparison.
"""

from __future__ import annotations

import argparse
import time

import torch

from kaogen.training.augment import policy_of
from kaogen.training.config import ADA_GROUPS, TrainConfig


def rate(policy: str, groups: tuple[str, ...], size: int, batch: int, seconds: float) -> float:
    run = policy_of(policy, groups)
    assert run is not None
    x = (torch.rand(batch, 3, size, size) * 2 - 1).requires_grad_(True)
    count, start = 0, time.perf_counter()
    while True:
        run(x, torch.Generator().manual_seed(count), 1.0).sum().backward()
        if count == 0:
            start = time.perf_counter()  # the first one builds the filters
        count += 1
        passed = time.perf_counter() - start
        if passed > seconds:
            return (count - 1) * batch / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = [("shift+cut", "shift+cut", ()), *((g, "ada", (g,)) for g in ADA_GROUPS)]
    rows.append(("ada", "ada", TrainConfig().ada_groups))
    print(f"{given.size} px, batch {given.batch}, threads {given.threads}: pictures a second")
    for name, policy, groups in rows:
        found = rate(policy, groups, given.size, given.batch, given.seconds)
        print(f"{name:<12}{found:10,.0f}")


if __name__ == "__main__":
    main()
