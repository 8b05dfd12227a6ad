"""What two ranks with one thread each are worth against one process with two threads.

Real training steps (data, augmentation, both networks, EMA) on noise, the two kinds in turn, so
that a busy moment of the machine strikes both; the best round of each counts.

    python benchmarks/ranks.py                        # tiny64, some minutes
    python benchmarks/ranks.py --preset base128 --ranks 4 --steps 5
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np


def rate(preset: str, steps: int, threads: int) -> float | None:
    """Images a second of this rank and the others; None but on the first."""
    import torch

    from kaogen.nets.build import build_critic
    from kaogen.nets.config import PRESETS
    from kaogen.training.config import RECIPES
    from kaogen.training.loop import Data, Trainer
    from kaogen.training.workers import Workers

    workers = Workers.from_environment()
    workers.meet()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net, config = PRESETS[preset], replace(RECIPES[preset], tag_weight=0.0, lr_g=1e-5, lr_d=1e-5)
    source = np.random.default_rng(0)
    size = (4 * config.batch, net.resolution, net.resolution, net.img_channels)
    labels = (source.random((size[0], net.num_tags)) < 0.1).astype(np.float32)
    data = Data(source.integers(0, 255, size, dtype=np.uint8), labels)
    trainer = Trainer(net, config, data, build_critic(net), workers=workers)
    for _ in range(2):
        trainer.step()
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    took = time.perf_counter() - start
    workers.part()
    return steps * config.batch / took if workers.first else None


def measured(launcher: list[str], words: list[str]) -> float:
    """The rate that a child process or its ranks print."""
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, __file__, "--child", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=quiet,
    )
    return float(done.stdout)


def main() -> None:
    """Run as a script does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--preset", default="tiny64", help="networks and recipe (tiny64)")
    parser.add_argument("--ranks", type=int, default=2, help="processes with one thread each (2)")
    parser.add_argument("--steps", type=int, default=10, help="measured steps (10)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (3)")
    parser.add_argument("--child", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        found = rate(args.preset, args.steps, args.child)
        if found is not None:
            print(found)
        return
    words = ["--preset", args.preset, "--steps", str(args.steps)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(args.ranks)]
    alone, shared = [], []
    for _ in range(args.rounds):
        alone.append(measured([sys.executable], [str(args.ranks), *words]))
        shared.append(measured(torchrun, ["1", *words]))
        print(f"one process {alone[-1]:.2f} images/s, {args.ranks} ranks {shared[-1]:.2f}")
    ratio = max(shared) / max(alone)
    print(f"{args.preset}: {args.ranks} ranks of one thread run at {ratio:.2f} times", end=" ")
    print(f"the rate of one process with {args.ranks} threads")


if __name__ == "__main__":
    main()
