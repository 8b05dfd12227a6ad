"""What a person sees of a run: the grid of the same characters, and `progress.jsonl`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kaogen.nets.generator import Generator
from kaogen.training.batches import rng

GRID = (8, 12)  # rows, columns


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
    """Writes into the run folder after each tick.

    Args:
        run: the run folder.
        labels: [N, num_tags] label rows of the data set; the grid shows some of them.
        z_dim: length of the latent.
        seed: of the grid's latents and rows.

    """

    def __init__(self, run: Path, labels: Tensor, z_dim: int, seed: int) -> None:
        self.run = run
        count = GRID[0] * GRID[1]
        source = rng("z", seed, 2**40)
        self.z = torch.from_numpy(source.standard_normal((count, z_dim)).astype(np.float32))
        rows = source.integers(0, len(labels), count)
        self.labels = labels[torch.from_numpy(rows)]
        # Every second row repeats the row above with the same z and other tags' order kept: the
        # eye sees at once what comes from the latent and what from the tags.
        for row in range(1, GRID[0], 2):
            a = slice((row - 1) * GRID[1], row * GRID[1])
            b = slice(row * GRID[1], (row + 1) * GRID[1])
            self.z[b] = self.z[a]
        (run / "grids").mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def grid(self, generator: Generator, seen: int, device: torch.device) -> Path:
        """Draw the grid of the same characters and keep it under its number of images seen."""
        parts = []
        for i in range(0, len(self.z), 16):
            z, labels = self.z[i : i + 16].to(device), self.labels[i : i + 16].to(device)
            parts.append(to_uint8(generator(z, labels)))
        path = self.run / "grids" / f"{seen:010d}.png"
        tile(np.concatenate(parts), GRID[1]).save(path)
        return path

    def line(self, **values: Any) -> None:
        """Append one JSON line to `progress.jsonl`."""
        entry = {"time": round(time.time(), 1), **values}
        with (self.run / "progress.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry) + "\n")
