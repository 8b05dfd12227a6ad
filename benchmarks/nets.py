"""How much of the machine's own convolution peak the networks reach.

Everything is a ratio within one run: times are compared with the fastest 3x3 convolution of the
same type that this very process measures (oneDNN), and with a plain grouped-convolution fp32
formulation of the same networks (`nets_plain.py`). Floating-point operations are counted by torch
as they are dispatched, two for a multiply-add.

    python benchmarks/nets.py                                # every row, about ten minutes
    python benchmarks/nets.py --presets tiny64 paper256 --plain
    python benchmarks/nets.py --memory paper512 --batch 4    # peak memory of a training step
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch.utils.flop_counter import FlopCounterMode

import nets_plain
from kaogen.nets.build import build_critic
from kaogen.nets.config import PRESETS, NetConfig
from kaogen.nets.generator import Generator
from kaogen.nets.memory import keep_freed_memory
from kaogen.training.loop import pick_dtype
from kaogen.training.losses import LOSSES
from kaogen.training.pairs import score_pairs

# Batch of a training step; the smaller presets as their recipes have it.
BATCHES = {"tiny64": 32, "base128": 16, "paper256": 8, "paper512": 4, "paper1024": 1}
PEAK_SHAPES = ((8, 512, 32), (8, 256, 64), (8, 128, 128))  # batch, channels, pixels


def best(run: Callable[[], object], seconds: float = 2.0, least: int = 3) -> float:
    """Seconds of the fastest of several runs, after one that is not counted."""
    run()
    fastest, spent, count = float("inf"), 0.0, 0
    while spent < seconds or count < least:
        start = time.perf_counter()
        run()
        took = time.perf_counter() - start
        fastest, spent, count = min(fastest, took), spent + took, count + 1
    return fastest


def flops(run: Callable[[], object]) -> float:
    """Floating-point operations of one run."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


@torch.no_grad()
def peak(dtype: torch.dtype) -> float:
    """FLOP/s of the fastest 3x3 convolution of this type on this machine, now."""
    reached = []
    for n, c, size in PEAK_SHAPES:
        x = torch.randn(n, c, size, size, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(c, c, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        took = best(lambda x=x, w=w: F.conv2d(x, w, padding=1), 1.0)
        reached.append(2 * 9 * n * c * c * size * size / took)
    return max(reached)


def inputs(net: NetConfig, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents, and label rows of three tags."""
    labels = torch.zeros(count, net.num_tags)
    labels[:, :3] = 1
    return torch.randn(count, net.z_dim), labels


class Drawing:
    """The generator, drawing."""

    def __init__(self, net: NetConfig, dtype: torch.dtype, count: int) -> None:
        torch.manual_seed(0)
        self.g = Generator(net).eval().requires_grad_(False)
        self.dtype, (self.z, self.labels) = dtype, inputs(net, count)

    @torch.no_grad()
    def __call__(self) -> torch.Tensor:
        picture: torch.Tensor = self.g(self.z, self.labels, "const", self.dtype)
        return picture


class Training:
    """The bare training step: one of D and one of G, no data, regularisation or average.

    As in training, the fakes are drawn once and serve both.
    """

    def __init__(self, net: NetConfig, dtype: torch.dtype, count: int) -> None:
        torch.manual_seed(0)
        self.g, self.d, self.dtype = Generator(net), build_critic(net), dtype
        self.z, self.labels = inputs(net, count)
        h, w = net.shape(net.resolution)
        self.real = torch.randn(count, net.img_channels, h, w).clamp(-1, 1)
        self.loss = LOSSES["hinge" if net.critic == "features" else "nonsaturating"]
        self.opt_g = torch.optim.Adam(self.g.parameters(), 1e-3, (0.0, 0.99), fused=True)
        learns = [p for p in self.d.parameters() if p.requires_grad]
        self.learns, self.opt_d = learns, torch.optim.Adam(learns, 1e-3, (0.0, 0.99), fused=True)

    def __call__(self) -> None:
        fake = self.g(self.z, self.labels, "random", self.dtype)
        with torch.no_grad():
            real_features = self.d.features(self.real, self.dtype)
        fake_features = self.d.features(fake, self.dtype)
        self.train_d(real_features, [f.detach() for f in fake_features])
        for parameter in self.learns:
            parameter.requires_grad_(False)
        scores = self.d.score(fake_features, self.labels, self.dtype)
        self.opt_g.zero_grad(set_to_none=True)
        self.loss.g([], scores).backward()
        self.opt_g.step()

    def train_d(self, real: list[torch.Tensor], fake: list[torch.Tensor]) -> None:
        for parameter in self.learns:
            parameter.requires_grad_(True)
        if isinstance(self.d, nets_plain.Discriminator):
            scores = [self.d.score(f, self.labels, self.dtype) for f in (real, fake)]
        else:
            labels = self.labels, self.labels
            scores = score_pairs(self.d, real, fake, labels, self.dtype)
        self.opt_d.zero_grad(set_to_none=True)
        self.loss.d(*scores).backward()
        self.opt_d.step()


@dataclass(frozen=True)
class Row:
    """One measurement: `share` is of the peak of its type; `plain` is times as fast as that."""

    preset: str
    what: str
    batch: int
    gflop: float
    ms: float
    rate: float
    share: float
    plain: float | None

    def cells(self) -> list[str]:
        plain = "" if self.plain is None else f"{self.plain:.1f}"
        numbers = [f"{self.gflop:.2f}", f"{self.ms:.1f}", f"{self.rate:.2f}", f"{self.share:.0%}"]
        return [self.preset, self.what, str(self.batch), *numbers, plain]


HEAD = [
    *("preset", "what", "batch", "GFLOP a picture", "ms a picture"),
    *("pictures/s", "of the peak", "times plain fp32"),
]


def measure(name: str, what: str, batch: int, dtype: torch.dtype, top: float, plain: bool) -> Row:
    """One row of the table."""
    net = PRESETS[name]
    build = Drawing if what == "draw" else Training
    run = build(net, dtype, batch)
    done = flops(run)
    took = best(run)
    slower = None
    if plain:
        other = copy.deepcopy(run)
        other.g, other.dtype = nets_plain.Generator(other.g), torch.float32
        if isinstance(other, Training):
            other.d = nets_plain.Discriminator(other.d)
        slower = best(other, 1.0, least=2) / took
    picture = took / batch
    return Row(
        name, what, batch, done / batch / 1e9, picture * 1e3, 1 / picture, done / took / top, slower
    )


def memory(name: str, batch: int) -> None:
    """Print this process's peak memory over two bare training steps."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    run = Training(PRESETS[name], pick_dtype("auto", torch.device("cpu")), batch)
    run()
    run()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name}, batch {batch}: {after:.2f} GiB at its peak ({before:.2f} before)")


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--plain", action="store_true", help="compare with the plain form (paper256)"
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--memory", choices=list(PRESETS), help="only print a step's peak memory")
    parser.add_argument("--batch", type=int, help="of --memory")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    if asked.memory:
        memory(asked.memory, asked.batch or BATCHES[asked.memory])
        return
    dtype = pick_dtype(asked.precision, torch.device("cpu"))
    top = peak(dtype)
    kind, single = str(dtype).removeprefix("torch."), peak(torch.float32)
    print(f"{asked.threads} threads; peak {top / 1e9:.0f} GFLOP/s in {kind}, ", end="")
    print(f"{single / 1e9:.0f} in fp32")
    rows = []
    for name in asked.presets:
        for what, batch in (("draw", 1), ("draw", 8), ("train", BATCHES[name])):
            if name == "paper1024" and what == "draw" and batch == 8:
                continue
            plain = asked.plain and name == "paper256"
            rows.append(measure(name, what, batch, dtype, top, plain))
            print(*rows[-1].cells(), sep="  ", flush=True)
    print(f"\n{table(rows)}")
    if asked.json:
        asked.json.write_text(json.dumps([asdict(r) for r in rows], indent=1))


if __name__ == "__main__":
    main()
