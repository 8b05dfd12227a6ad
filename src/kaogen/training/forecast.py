"""`--dry-run`: what a run would be, and what it would take, from a few real steps; writes nothing.

Time and memory are measured here and now: a formula would know neither the machine nor what else
is running on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kaogen.data.archives.archive import Archive
from kaogen.nets.build import build_critic
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.training.batches import held_out
from kaogen.training.config import TrainConfig
from kaogen.training.inputs import check_data, vocabulary_of
from kaogen.training.loop import Data, Trainer
from kaogen.training.phases import Phase
from kaogen.training.probe import Probe, measure, peak_memory
from kaogen.training.run import KEEP, tagger_layout
from kaogen.training.workers import ALONE, Workers

STEPS = 3  # that are timed, after one that is not


@dataclass(frozen=True)
class Forecast:
    """What a run would be.

    Attributes:
        net, config: exactly.
        faces, tags: of the data set.
        parameters: of G, of what D learns, and of D's frozen trunk.
        gflop: for a picture drawn by G, and for one judged by D; multiply-adds count two.
        activations: their type.
        steps: that were measured.
        seconds: for a step, everything but ticks included.
        tick: seconds that the reports of a tick take, about.
        memory: GiB, the data set included.
        data: of these, GiB of the data set.
        disk: GiB that the run folder takes in the end, about.

    """

    net: NetConfig
    config: TrainConfig
    faces: int
    tags: int
    parameters: tuple[int, int, int]
    gflop: tuple[float, float]
    activations: str
    steps: int
    seconds: float
    tick: float
    memory: float | None
    data: float
    disk: float

    @property
    def rate(self) -> float:
        """Images a second, ticks included."""
        between = self.config.tick_kimg * 1000 / self.config.batch * self.seconds
        return self.config.tick_kimg * 1000 / (between + self.tick)

    @property
    def hours(self) -> float:
        """To the end, from the beginning."""
        return self.config.kimg * 1000 / self.rate / 3600

    def to_dict(self) -> dict[str, Any]:
        """The whole configuration, as `config.json` and `settings.json` have it."""
        return {"net": self.net.to_dict(), "train": self.config.to_dict()}


def forecast(
    archive: Archive,
    net: NetConfig,
    config: TrainConfig,
    workers: Workers = ALONE,
    device: torch.device | None = None,
) -> Forecast:
    """Build the networks, make a few steps on some of the faces, and throw all away.

    Args:
        archive: the data set; only a few of its pictures are read.
        net: as for `Run`.
        config: as for `Run`.
        workers: who would train together; all must call this.
        device: where to compute.

    Raises:
        ConfigError, LabelError: what `Run` would refuse.

    """
    check_data(archive, net)
    if net.num_tags and archive.labels is not None:
        net = net.with_(num_tags=archive.labels.shape[1])
    net = net.fitted(*archive.resolution, archive.channels)
    vocabulary = vocabulary_of(archive, net.num_tags)
    layout = None
    if net.critic == "features" and config.tag_weight and net.num_tags:
        layout = tagger_layout(vocabulary)
    torch.manual_seed(config.seed)
    held_out(len(archive), config.holdout, config.seed)  # is refused here, not after an hour
    data = few(archive, net, config)
    tried = replace(config, holdout=min(config.holdout, len(data.images) // 4))
    critic = build_critic(net)
    trainer = Trainer(net, tried, data, critic, layout, device=device, workers=workers)
    seconds, tick = timed(trainer)
    height, width = archive.resolution
    stored = len(archive) * height * width * archive.channels / 2**30
    held = peak_memory()
    return Forecast(
        net,
        config,
        len(archive),
        len(vocabulary),
        parameters(trainer),
        gflop(trainer),
        str(trainer.dtype).removeprefix("torch."),
        STEPS,
        seconds,
        tick,
        None if held is None else held + stored,
        stored,
        disk(trainer),
    )


def few(archive: Archive, net: NetConfig, config: TrainConfig) -> Data:
    """Some of the faces, evenly spread, with their labels."""
    count = min(len(archive), max(256, config.batch))
    rows = np.linspace(0, len(archive) - 1, count).round().astype(int)
    images = np.stack([archive.image(int(row)) for row in rows])
    if archive.labels is None or not net.num_tags:
        return Data(images, np.zeros((count, 0), np.float32))
    return Data(images, (archive.labels[rows] > 0.5).astype(np.float32))


def timed(trainer: Trainer) -> tuple[float, float]:
    """Seconds of a step, lazy regularisers at their share, and of a tick's measures and grid."""
    every = [p for p in trainer.phases if p.interval == 1]
    lazy = [p for p in trainer.phases if p.interval > 1]
    trainer.phases = every
    step(trainer, every)  # the first one builds kernels and Adam's moments
    plain = sum(step(trainer, every) for _ in range(STEPS)) / STEPS
    total = plain
    for phase in lazy:
        total += max(0.0, step(trainer, [*every, phase]) - plain) / phase.interval
    start = time.perf_counter()
    measure(trainer, Probe.of(trainer))
    # The grid is about as many pictures as the probe draws and looks at twice.
    return total, 2 * (time.perf_counter() - start)


def step(trainer: Trainer, phases: list[Phase]) -> float:
    """Seconds of one step in which all of `phases` take their turn."""
    trainer.phases, trainer.seen = phases, 0
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    start = time.perf_counter()
    trainer.step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.perf_counter() - start


def parameters(trainer: Trainer) -> tuple[int, int, int]:
    """Of G, of D's learning part, and of D's frozen trunk."""
    trunk = count(trainer.d.trunk) if isinstance(trainer.d, FeatureCritic) else 0
    return count(trainer.g), sum(p.numel() for p in trainer.d_learns), trunk


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def gflop(trainer: Trainer) -> tuple[float, float]:
    """Counted, not computed by a formula: G for one picture, D for one."""
    net, device = trainer.net, trainer.device
    z = torch.zeros(1, net.z_dim, device=device)
    labels = torch.zeros(1, net.num_tags, device=device)
    out = []
    picture = trainer.ema(z, labels)
    learns = trainer.d.training
    trainer.d.eval()
    for work in (
        lambda: trainer.ema(z, labels),
        lambda: trainer.d.score(trainer.d.features(picture), labels),
    ):
        with FlopCounterMode(display=False) as counter:
            work()
        out.append(counter.get_total_flops() / 1e9)
    trainer.d.train(learns)
    return out[0], out[1]


def disk(trainer: Trainer) -> float:
    """GiB: checkpoints (one more while saving) and at most 128 grids of about 3 MB."""
    weights = sum(t.numel() * t.element_size() for t in trainer.tensors().values())
    config = trainer.config
    grids = min(128, 1 + config.kimg / config.tick_kimg) * 3 * 2**20
    return ((KEEP + 1) * weights + grids) / 2**30
