"""What a person sees of a run: grids, curves, the evolution, `progress.jsonl`, TensorBoard."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kaogen import __version__
from kaogen.training import curves, evolution, grid, progress, tensorboard
from kaogen.training.batches import rng
from kaogen.training.health import Trouble, judge
from kaogen.training.probe import Probe, faces, measure, memory
from kaogen.training.schedule import label_share, lr_share

if TYPE_CHECKING:
    from kaogen.training.loop import Trainer

SETTINGS = "settings.json"
_ONCE = 16  # faces drawn at a time
_SHOWN = 64  # grids for TensorBoard, about; later ones are told more rarely


def to_uint8(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """[N, C, H, W] in [-1, 1] -> [N, H, W, C], rounded."""
    pixels = (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def tile(pictures: np.ndarray[Any, np.dtype[np.uint8]], columns: int) -> Image.Image:
    """[N, H, W, C] -> one picture, row by row."""
    n, h, w, c = pictures.shape
    rows = n // columns
    sheet = pictures[: rows * columns].reshape(rows, columns, h, w, c)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)
    return Image.fromarray(sheet[..., 0] if c == 1 else sheet)


class Reporter:
    """Writes into the run folder: at the start, after each tick, and at the end.

    Args:
        run: the run folder.
        trainer: what is trained.
        vocabulary: names of the label's columns.

    """

    def __init__(self, run: Path, trainer: Trainer, vocabulary: list[str]) -> None:
        self.run, self.trainer = run, trainer
        net, config = trainer.net, trainer.config
        height, width = trainer.data.images.shape[1:3]
        self.columns, rows = grid.shape_for(width, height)
        source = rng("z", config.seed, 2**40)
        z = source.standard_normal((rows, net.z_dim)).astype(np.float32)
        labels = np.zeros((self.columns, 0), np.float32)
        self.captions: list[list[str]] = []
        if net.num_tags:
            labels = grid.pick_characters(trainer.data.labels, self.columns, config.seed)
            self.captions = grid.captions_of(labels, vocabulary)
            z = z.repeat(self.columns, axis=0)  # a latent goes through its row
        else:
            z = source.standard_normal((rows * self.columns, net.z_dim)).astype(np.float32)
        labels = np.tile(labels, (rows, 1))
        self.characters = grid.signature(z, labels)
        self.z, self.labels = torch.from_numpy(z), torch.from_numpy(labels)
        self.probe = Probe.of(trainer)
        self.since = trainer.seen
        self.board: tensorboard.EventFile | None = None

    def start(self, settings: dict[str, Any]) -> None:
        """Tell what starts here, and draw the grid if it is the very beginning.

        Args:
            settings: all that fixes the run, for `settings.json`.

        """
        seen, config = self.trainer.seen, self.trainer.config
        self.since = seen
        exact = {**settings, **surroundings(self.trainer)}
        text = json.dumps(exact, indent=1, ensure_ascii=False)
        (self.run / SETTINGS).write_text(text, encoding="utf-8")
        rates = {name: getattr(config, name) for name in ("kimg", "tick_kimg", "lr_g", "lr_d")}
        progress.append(self.run, start=seen, **rates)
        self.board = tensorboard.EventFile(self.run / tensorboard.FOLDER, seen)
        self.board.write(seen, tensorboard.text("settings", f"```json\n{text}\n```"))
        if seen == 0:
            self.grid()

    def tick(
        self, rate: float, minutes: float, losses: dict[str, float], *, hurry: bool = False
    ) -> list[Trouble]:
        """Measure, write everything, and say what is wrong.

        Args:
            rate: images a second since the last tick.
            minutes: that the run has trained in all.
            losses: means since the last tick.
            hurry: measure nothing that takes a while.

        """
        trainer, config = self.trainer, self.trainer.config
        figures: dict[str, Any] = {"rate": rate, "minutes": minutes, **losses}
        if not hurry:
            figures |= measure(trainer, self.probe)
        elif len(self.probe.held):
            # Those of the losses are of augmented faces: another measure than the other ticks'.
            figures = {k: v for k, v in figures.items() if k not in ("real", "fake")}
        figures["lr_g"] = config.lr_g * lr_share(config, trainer.seen)
        if config.uncond_kimg or config.blend_kimg:
            figures["labels"] = label_share(config, trainer.seen)
        held = memory()
        if held is not None:
            figures["memory"] = held
        entry = {"seen": trainer.seen, **{k: rounded(v) for k, v in figures.items()}}
        ticks, starts = progress.history(self.run)
        troubles = judge([*ticks, entry], config, self.since)
        if troubles:
            entry["warnings"] = {t.name: str(t) for t in troubles}
        progress.append(self.run, **entry)
        ticks = [*(t for t in ticks if t["seen"] != trainer.seen), entry]
        self.curves(ticks, starts, troubles)
        page = self.grid()
        if self.board is None:
            self.board = tensorboard.EventFile(self.run / tensorboard.FOLDER, self.since)
        self.board.scalars(trainer.seen, entry)
        if len(ticks) % (1 + len(ticks) // _SHOWN) == 0:
            small = page.copy()
            small.thumbnail((1280, 1280))
            self.board.write(trainer.seen, tensorboard.picture("grid", small))
        return troubles

    def close(self) -> Path | None:
        """Build the animation of all grids; None where there are not two yet."""
        return evolution.build(self.run)

    def curves(
        self, ticks: list[dict[str, Any]], starts: list[int], troubles: list[Trouble]
    ) -> None:
        """Draw `curves.png`."""
        kimg = self.trainer.seen / 1000
        hours = ticks[-1]["minutes"] / 60
        title = f"{self.run.name}: {kimg:,.1f} kimg in {hours:.1f} hours"
        warning = str(troubles[0]) if troubles else ""
        curves.save(self.run, curves.draw(ticks, starts, title, warning))

    @torch.inference_mode()
    def grid(self) -> Image.Image:
        """Draw the characters by G's running average and keep them by the images seen."""
        generator, seen = self.trainer.ema, self.trainer.seen
        pairs = zip(self.z.split(_ONCE), self.labels.split(_ONCE), strict=True)
        parts = [to_uint8(faces(self.trainer, generator, *pair)) for pair in pairs]
        note, warn = self.note()
        page, places = grid.draw(
            np.concatenate(parts),
            self.columns,
            self.captions,
            f"{self.run.name}: {seen / 1000:,.1f} kimg",
            note,
            warn=warn,
            characters=self.characters,
            seen=seen,
        )
        grid.save(page, places, self.run / "grids" / f"{seen:010d}.png")
        grid.thin(self.run / "grids")
        return page

    def note(self) -> tuple[str, bool]:
        """The words below a grid's title, and whether they must not be overlooked."""
        config, share = self.trainer.config, self.trainer.label_share
        if not self.captions:
            return "Each face one latent z; no tags.", False
        if share == 0:
            return f"Tags do not count yet: they come in from {config.uncond_kimg:g} kimg on.", True
        if share < 1:
            whole = config.uncond_kimg + config.blend_kimg
            return (
                f"Tags count {share:.0%} of their weight; all of it from {whole:g} kimg on.",
                True,
            )
        return "Each row is one latent z, each column one set of tags.", False


def surroundings(trainer: Trainer) -> dict[str, Any]:
    """What a run was made with, beside its settings."""
    return {
        "command": sys.argv,
        "started at": trainer.seen,
        "faces": len(trainer.data.images),
        "activations": str(trainer.dtype).removeprefix("torch."),
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "processes": trainer.workers.world,
        "versions": {
            "kaogen": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "system": platform.platform(),
    }


def rounded(value: object) -> object:
    """Floats to four figures, as they are told."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
