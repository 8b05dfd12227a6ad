"""A run: a folder that training fills, stops in, and goes on from by the same command."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.build import build_critic, trunk_path
from kaogen.nets.config import NetConfig
from kaogen.tags import PAPER
from kaogen.training import checkpoint
from kaogen.training.config import TrainConfig
from kaogen.training.identity import MAY_CHANGE, as_now, difference
from kaogen.training.loop import Data, Trainer
from kaogen.training.losses import TagLayout, layout_of
from kaogen.training.report import Reporter
from kaogen.training.ticks import Stop, Window
from kaogen.training.workers import ALONE, Workers

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


def load_data(archive: Archive, net: NetConfig) -> Data:
    """Decode the whole archive; ConfigError where it does not fit the networks."""
    labels = archive.labels
    count = len(archive)
    if archive.resolution != net.shape(net.resolution):
        h, w = archive.resolution
        raise ConfigError(
            f"{archive.path}: its pictures are {w} x {h}, "
            f"the preset makes {net.width} x {net.resolution}.",
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
        net: the networks' shapes; `num_tags`, the pictures' width and their number of channels
            are taken from the archive.
        config: how to train.
        workers: who trains it together; all make the same Run, rank 0 reads and writes the folder.
        device: where to compute.

    Raises:
        ConfigError: the folder holds a run of other settings or other data.

    """

    def __init__(
        self,
        folder: Path,
        archive: Archive,
        net: NetConfig,
        config: TrainConfig,
        workers: Workers = ALONE,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.archive = folder, archive
        self.workers, self.device = workers, device
        if net.num_tags and archive.labels is not None:
            net = net.with_(num_tags=archive.labels.shape[1])
        net = net.fitted(*archive.resolution, archive.channels)
        self.net, self.config = net, config
        self.vocabulary = vocabulary_of(archive, net.num_tags)
        with workers.together():
            self.check_folder()
            self.check_ranks("data sets or settings", json.dumps(self.identity()).encode())
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
        if not self.workers.first or not path.exists():
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
        if not self.workers.first:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(self.folder / "config.json", json.dumps(self.identity(), indent=1))

    def build_trainer(self) -> Trainer:
        """Networks from the seed, data in memory."""
        data = load_data(self.archive, self.net)
        layout = None
        if self.net.critic == "features" and self.config.tag_weight and self.net.num_tags:
            layout = tagger_layout(self.vocabulary)
        critic = build_critic(self.net)
        return Trainer(
            self.net, self.config, data, critic, layout, device=self.device, workers=self.workers
        )

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        found = self.workers.from_first(self.newest)
        if found is not None:
            tensors, meta = found
            self.trainer.restore(tensors, meta["seen"])
            self.minutes = float(meta["minutes"])

    def newest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest checkpoint's tensors and state."""
        found = checkpoint.listing(self.folder)
        return checkpoint.load(found[-1]) if found else None

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
        with ExitStack() as stack:
            with self.workers.together():
                if self.workers.first:
                    stack.enter_context(checkpoint.alone_in(self.folder))
                    self.report_start()
            self.check_ranks("weights", checkpoint.digest(trainer.tensors()))
            stop = stack.enter_context(Stop())
            window = Window(trainer.seen)
            while trainer.seen < total and not self.workers.any(stop.wanted):
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

    def report_start(self) -> None:
        """What is told before the first step."""
        trainer = self.trainer
        changeable = {k: v for k, v in self.config.to_dict().items() if k in MAY_CHANGE}
        with self.written():
            self.reporter.line(start=trainer.seen, **changeable)
            if trainer.seen == 0:
                self.reporter.grid(trainer.ema, 0, trainer.device)

    def finish(self, window: Window) -> Path | None:
        """Close a tick: checkpoint, progress line, grid; in this order, for the first is dear.

        Returns:
            The checkpoint; None on the ranks that do not write.

        """
        self.minutes += window.seconds() / 60
        self.check_ranks("weights", checkpoint.digest(self.trainer.tensors()))
        path = None
        with self.workers.together():
            if self.workers.first:
                path = self.save()
                with self.written():
                    self.report(window)
        return path

    def report(self, window: Window) -> None:
        """A tick's progress line and grid."""
        trainer = self.trainer
        rate = round(window.rate(trainer.seen), 2)
        self.reporter.line(seen=trainer.seen, rate=rate, **window.losses.rounded())
        self.reporter.grid(trainer.ema, trainer.seen, trainer.device)

    @contextmanager
    def written(self) -> Iterator[None]:
        """A disk that takes no more ends the run in one line; the checkpoint is safe by then."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
                raise
            raise TrainingError(
                f"{self.folder} cannot be written to: {error.strerror}.",
                hint="Free some space and run the same command to go on.",
            ) from error

    def check_ranks(self, what: str, state: bytes) -> None:
        """TrainingError where ranks differ in what must be the same."""
        words = self.workers.all_of(hashlib.sha256(state).hexdigest())
        other = next((rank for rank, word in enumerate(words) if word != words[0]), None)
        if other is not None:
            raise TrainingError(
                f"Rank {other} has other {what} than rank 0.",
                hint="Start every rank with the same command, data and version of kaogen.",
            )


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
