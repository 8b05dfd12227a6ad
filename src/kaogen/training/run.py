"""A run: a folder that training fills, stops in, and goes on from by the same command."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError
from kaogen.nets.build import build_critic, trunk_path
from kaogen.nets.config import NetConfig
from kaogen.tags import PAPER
from kaogen.training import checkpoint
from kaogen.training.config import TrainConfig
from kaogen.training.loop import Data, Trainer
from kaogen.training.losses import TagLayout, layout_of
from kaogen.training.report import Reporter

# Settings that a person may change between two starts of the same run.
MAY_CHANGE = ("kimg", "tick_kimg", "lr_g", "lr_d", "lr_decay", "lr_hold", "lr_final")
KEEP = 2  # checkpoints; the one before the newest is the way back from a bad disk


@dataclass(frozen=True)
class Tick:
    """What is told after each step.

    Attributes:
        seen: images so far.
        total: images in all.
        rate: images a second since the last tick.
        losses: means since the last tick.
        saved: the checkpoint that was just written, or None.

    """

    seen: int
    total: int
    rate: float
    losses: dict[str, float]
    saved: Path | None


class Stop:
    """Turns SIGINT and SIGTERM into a wish that is met after the step under way."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> Stop:
        self.previous = {s: signal.signal(s, self._notice) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _notice(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True


def load_data(archive: Archive, net: NetConfig) -> Data:
    """Decode the whole archive; ConfigError where it does not fit the networks."""
    labels = archive.labels
    count = len(archive)
    if archive.resolution != (net.resolution, net.resolution):
        h, w = archive.resolution
        raise ConfigError(
            f"{archive.path}: its pictures are {w} x {h}, the preset makes {net.resolution}.",
            hint=f"Prepare it with --size {net.resolution}, or choose another --preset.",
        )
    if net.num_tags and labels is None:
        raise ConfigError(
            f"{archive.path} has no labels, but the networks take {net.num_tags} tags.",
            hint="Prepare it with --tags or --tagger, or train with --unconditional.",
        )
    kept = np.zeros((count, 0), np.float32) if labels is None or not net.num_tags else labels
    return Data(archive.pixels(), (kept > 0.5).astype(np.float32))


class Run:
    """One run folder.

    Args:
        folder: where checkpoints, grids and `progress.jsonl` go.
        archive: the data set.
        net: the networks' shapes; `num_tags` is taken from the archive.
        config: how to train.

    Raises:
        ConfigError: the folder holds a run of other settings or other data.

    """

    def __init__(self, folder: Path, archive: Archive, net: NetConfig, config: TrainConfig) -> None:
        self.folder, self.archive = folder, archive
        if net.num_tags and archive.labels is not None:
            net = net.with_(num_tags=archive.labels.shape[1])
        self.net, self.config = net, config
        self.vocabulary = vocabulary_of(archive, net.num_tags)
        self.check_folder()
        torch.manual_seed(config.seed)
        self.trainer = self.build_trainer()
        # Only now, so that a start that was refused leaves no run behind.
        self.write_settings()
        self.minutes = 0.0
        self.resume()
        labels = torch.from_numpy(self.trainer.data.labels)
        self.reporter = Reporter(folder, labels, net.z_dim, config.seed)

    def identity(self) -> dict[str, Any]:
        """What must not change between two starts of a run; see MAY_CHANGE for what may."""
        config = {k: v for k, v in self.config.to_dict().items() if k not in MAY_CHANGE}
        return {
            "net": self.net.to_dict(),
            "train": config,
            "archive": self.archive.fingerprint,
            "vocabulary": self.vocabulary,
            # Another tagger would be another discriminator.
            "trunk": checkpoint.sha256_of(trunk_path()) if self.net.critic == "features" else None,
        }

    def check_folder(self) -> None:
        """Compare with the `config.json` that is there, if any."""
        path, mine = self.folder / "config.json", self.identity()
        if not path.exists():
            return
        theirs = as_now(json.loads(path.read_text(encoding="utf-8")))
        mine = json.loads(json.dumps(mine))
        for part, value in mine.items():
            if part in theirs and theirs[part] != value:
                what = difference(theirs, part, value)
                raise ConfigError(
                    f"{self.folder} holds a run with another {part}: {what}.",
                    hint="Give the same options and data to go on, or another --out to start anew.",
                )

    def write_settings(self) -> None:
        """Leave `config.json` for the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.identity(), indent=1)
        (self.folder / "config.json").write_text(text, encoding="utf-8")

    def build_trainer(self) -> Trainer:
        """Networks from the seed, data in memory."""
        data = load_data(self.archive, self.net)
        layout = None
        if self.net.critic == "features" and self.config.tag_weight and self.net.num_tags:
            layout = tagger_layout(self.vocabulary)
        return Trainer(self.net, self.config, data, build_critic(self.net), layout)

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        found = checkpoint.listing(self.folder)
        if found:
            tensors, meta = checkpoint.load(found[-1])
            self.trainer.restore(tensors, meta["seen"])
            self.minutes = float(meta["minutes"])

    def init_from(self, path: Path) -> tuple[int, int]:
        """Copy the generator's tensors that fit by name and shape from another run.

        Returns:
            How many tensors were copied, and how many the generator has. A run that already
            has a checkpoint is left as it is: (0, n).

        """
        own = self.trainer.g.state_dict()
        if self.trainer.seen:
            return 0, len(own)
        tensors, meta = checkpoint.load(checkpoint.latest(path))
        copied = 0
        for part, module in (("g.", self.trainer.g), ("ema.", self.trainer.ema)):
            given = {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
            target = module.state_dict()
            fitting = {k: v for k, v in given.items() if k in target and v.shape == target[k].shape}
            module.load_state_dict({**target, **fitting})
            copied = len(fitting)
        self.minutes = float(meta["minutes"])
        return copied, len(own)

    def save(self) -> Path:
        """Commit a checkpoint and forget the oldest."""
        meta = {
            **self.identity(),
            "minutes": round(self.minutes, 2),
            "data": self.archive.path.name,
        }
        path = checkpoint.save(self.folder, self.trainer.seen, self.trainer.tensors(), meta)
        checkpoint.prune(self.folder, KEEP)
        return path

    def train(self, tell: Callable[[Tick], None]) -> bool:
        """Train to `config.kimg`; returns False when it was asked to stop before.

        Args:
            tell: called after each step.

        """
        total = int(self.config.kimg * 1000)
        tick = max(1, int(self.config.tick_kimg * 1000))
        trainer, batch = self.trainer, self.config.batch
        changeable = {k: v for k, v in self.config.to_dict().items() if k in MAY_CHANGE}
        self.reporter.line(start=trainer.seen, **changeable)
        if trainer.seen == 0:
            self.reporter.grid(trainer.ema, 0, trainer.device)
        with Stop() as stop:
            window = Window(trainer.seen)
            while trainer.seen < total and not stop.wanted:
                window.losses.add(trainer.step())
                due = trainer.seen % tick < batch or trainer.seen >= total
                saved = self.finish(window) if due else None
                means = window.losses.means()
                tell(Tick(trainer.seen, total, window.rate(trainer.seen), means, saved))
                if due:
                    window = Window(trainer.seen)
            # The wish to stop may come at any moment, so what it left unsaved is saved here.
            if trainer.seen > window.since:
                self.finish(window)
        return trainer.seen >= total

    def finish(self, window: Window) -> Path:
        """Close a tick: progress line, grid, checkpoint."""
        trainer = self.trainer
        self.minutes += window.seconds() / 60
        rate = round(window.rate(trainer.seen), 2)
        self.reporter.line(seen=trainer.seen, rate=rate, **window.losses.rounded())
        self.reporter.grid(trainer.ema, trainer.seen, trainer.device)
        return self.save()


class Window:
    """The time and losses since the last tick, which ended at `since` images."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.start = time.perf_counter()
        self.losses = Means()

    def seconds(self) -> float:
        """Since the last tick."""
        return time.perf_counter() - self.start

    def rate(self, seen: int) -> float:
        """Images a second since the last tick."""
        return (seen - self.since) / self.seconds()


class Means:
    """Running means of the losses."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: dict[str, float]) -> None:
        """Add one step's losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each."""
        return {name: value / self.counts[name] for name, value in self.sums.items()}

    def rounded(self) -> dict[str, float]:
        """Means for `progress.jsonl`."""
        return {name: round(value, 4) for name, value in self.means().items()}


def as_now(identity: dict[str, Any]) -> dict[str, Any]:
    """An identity from `config.json`, maybe an older kaogen's, in today's terms.

    A setting that it does not name is what runs did before there was that setting: the default.
    A part that it does not name cannot be compared and is left out.
    """
    net, train = dict(identity.get("net", {})), dict(identity.get("train", {}))
    if not net.get("extra"):
        net.pop("extra", None)  # early runs carried an empty one
    net = {**defaults_of(NetConfig), **net}
    train = {**defaults_of(TrainConfig), **train}
    train = {k: v for k, v in train.items() if k not in MAY_CHANGE}
    return {**identity, "net": net, "train": train}


def defaults_of(settings: type[NetConfig] | type[TrainConfig]) -> dict[str, Any]:
    """Each setting that has a default, and that."""
    return {f.name: f.default for f in fields(settings) if f.default is not MISSING}


def difference(theirs: dict[str, Any], part: str, mine: Any) -> str:
    """The first setting that differs, in words."""
    other = theirs.get(part)
    if isinstance(mine, dict) and isinstance(other, dict):
        for key, value in mine.items():
            if other.get(key) != value:
                return f"{key} was {other.get(key)!r}, now {value!r}"
    return "it is not the same"


def vocabulary_of(archive: Archive, count: int) -> list[str]:
    """Names of the label's columns; neutral ones where the data set does not say.

    59 columns without names are taken for the paper's tags, in the paper's order.
    """
    if archive.vocabulary is not None:
        return list(archive.vocabulary.names)[:count]
    if count == len(PAPER):
        return list(PAPER.names)
    return [f"class {i}" for i in range(count)]


def tagger_layout(vocabulary: list[str]) -> TagLayout:
    """The built-in tagger's outputs against a vocabulary.

    Outputs that the tagger judges badly are left out: they must not pull at the generator.
    """
    described = json.loads(trunk_path().with_suffix(".json").read_text(encoding="utf-8"))
    outputs = [t["name"] for t in described["tags"]]
    learnt = {t["name"] for t in described["tags"] if t["learnt"]}
    return layout_of(
        outputs, described["exclusive"], [n if n in learnt else "" for n in vocabulary]
    )
