"""A run: a folder that training fills, stops in, and goes on from by the same command."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.build import build_critic, trunk_path
from kaogen.nets.config import NetConfig
from kaogen.training import checkpoint
from kaogen.training.config import TrainConfig
from kaogen.training.health import Trouble
from kaogen.training.identity import MAY_CHANGE, as_now, difference
from kaogen.training.inputs import check_data, check_room, load_data, notes, vocabulary_of
from kaogen.training.loop import Trainer
from kaogen.training.losses import TagLayout, layout_of
from kaogen.training.report import Reporter
from kaogen.training.ticks import Stop, Window
from kaogen.training.transfer import Source, start_from
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
        troubles: what was wrong at the last tick.

    """

    seen: int
    total: int
    rate: float
    losses: dict[str, float]
    saved: Path | None
    troubles: list[Trouble] = field(default_factory=list)


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
        source: a model to start from; a run that has a checkpoint goes on instead.

    Attributes:
        told: a few lines about the data and about what came of the source.
        ancestors: what it started from, the nearest first.

    Raises:
        ConfigError: the folder holds a run of other settings or other data, or from elsewhere.

    """

    def __init__(
        self,
        folder: Path,
        archive: Archive,
        net: NetConfig,
        config: TrainConfig,
        workers: Workers = ALONE,
        device: torch.device | None = None,
        source: Source | None = None,
    ) -> None:
        check_data(archive, net)
        self.folder, self.archive = folder, archive
        self.workers, self.device = workers, device
        if net.num_tags and archive.labels is not None:
            net = net.with_(num_tags=archive.labels.shape[1])
        net = net.fitted(*archive.resolution, archive.channels)
        self.net, self.config = net, config
        self.vocabulary = vocabulary_of(archive, net.num_tags)
        with workers.together():
            self.check_folder()
            whole = {**self.identity(), "train": config.to_dict()}
            workers.agree_on("data sets or settings", json.dumps(whole).encode)
        torch.manual_seed(config.seed)
        self.trainer = self.build_trainer()
        self.told = notes(self.trainer.data, self.vocabulary)
        self.minutes, self.ancestors = 0.0, list[dict[str, Any]]()
        self.troubles: list[Trouble] = []
        if not self.resume(source):
            self.told += start_from(source, self.trainer, self.vocabulary, self.identity()["trunk"])
            self.ancestors = source.line() if source is not None else []
        # Only now, so that a start that was refused leaves no run behind.
        self.write_settings()
        self.reporter = Reporter(folder, self.trainer, self.vocabulary)

    def identity(self) -> dict[str, Any]:
        """What must not change between two starts of a run; see MAY_CHANGE for what may."""
        config = {k: v for k, v in self.config.to_dict().items() if k not in MAY_CHANGE}
        return {
            "net": self.net.to_dict(),
            "train": config,
            "vocabulary": self.vocabulary,
            "archive": self.archive.fingerprint,
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
        learnt = sum(p.numel() for p in (*self.trainer.g.parameters(), *self.trainer.d_learns))
        coming = max(1, KEEP + 1 - len(checkpoint.listing(self.folder)))
        check_room(self.folder, self.trainer.tensors(), learnt, coming)
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

    def resume(self, source: Source | None) -> bool:
        """Go on from the newest checkpoint, if there is one, and say whether there was."""
        found = self.workers.from_first(self.newest)
        if found is None:
            return False
        tensors, meta = found
        self.trainer.restore(tensors, meta["seen"])
        self.minutes, self.ancestors = float(meta["minutes"]), meta.get("from", [])
        if source is not None and source.line()[0] not in self.ancestors[:1]:
            began = f"from {self.ancestors[0]['name']}" if self.ancestors else "from nothing"
            raise ConfigError(
                f"{self.folder} holds a run that began {began}, not from this {source.name}.",
                hint="Leave --init-from out to go on, or give another --out to start anew.",
            )
        return True

    def newest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest checkpoint's tensors and state."""
        found = checkpoint.listing(self.folder)
        return checkpoint.load(found[-1]) if found else None

    def save(self) -> Path:
        """Commit a checkpoint and forget the oldest."""
        meta = {
            **self.identity(),
            "minutes": round(self.minutes, 2),
            "data": self.archive.path.name,
        }
        if self.ancestors:
            meta["from"] = self.ancestors
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
            self.agree_on_weights()
            stop = stack.enter_context(Stop())
            window = Window(trainer.seen)
            while trainer.seen < total and not self.workers.any(stop.wanted):
                window.losses.add(trainer.step())
                due = trainer.seen % tick < batch or trainer.seen >= total
                saved = self.finish(window) if due else None
                means = window.losses.means()
                rate = window.rate(trainer.seen)
                tell(Tick(trainer.seen, total, rate, means, saved, self.troubles))
                if due:
                    window = Window(trainer.seen)
            # The wish to stop may come at any moment, so what it left unsaved is saved here.
            if trainer.seen > window.since:
                self.finish(window, hurry=True)
            with self.workers.together():
                if self.workers.first and not stop.pressing:
                    with self.written():
                        self.reporter.close()
        return trainer.seen >= total

    def report_start(self) -> None:
        """What is told before the first step."""
        trainer = self.trainer
        if self.ancestors and trainer.seen == 0:
            self.save()  # from here on the run needs its ancestor's file no more
        told = {**self.identity(), "train": self.config.to_dict(), "data": str(self.archive.path)}
        with self.written():
            self.reporter.start(told)

    def finish(self, window: Window, *, hurry: bool = False) -> Path | None:
        """Close a tick: checkpoint, then what a person sees; in this order, for the first is dear.

        Args:
            window: the tick.
            hurry: measure nothing: someone waits for the end.

        Returns:
            The checkpoint; None on the ranks that do not write.

        """
        rate = window.rate(self.trainer.seen)
        self.minutes += window.seconds() / 60
        self.agree_on_weights()
        path = None
        with self.workers.together():
            if self.workers.first:
                path = self.save()
                with self.written():
                    means = window.losses.means()
                    self.troubles = self.reporter.tick(rate, self.minutes, means, hurry=hurry)
        return path

    def agree_on_weights(self) -> None:
        """TrainingError where ranks have drifted apart, or a weight is no number."""
        self.workers.agree_on("weights", lambda: checkpoint.digest(self.trainer.tensors()))

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
