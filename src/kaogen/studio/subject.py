"""A model as something to be evaluated: label rows and seeds in, plain pixels out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.recipe import Recipe
from kaogen.studio.draw import Studio

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class ModelSubject:
    """An opened model and the label rows of real faces; a `Subject` of `kaogen.metrics.evaluate`.

    It draws as the website does, past the choice of what was not picked: whole label rows come in.

    Args:
        studio: the model.
        real_rows: bool [R, L], in the columns of the model's vocabulary.
    """

    def __init__(self, studio: Studio, real_rows: npt.NDArray[np.bool_]) -> None:
        manifest = studio.bundle.manifest
        self._studio = studio
        self.name = manifest.id
        self.resolution = manifest.resolution
        self.vocabulary = studio.bundle.vocabulary
        self.tags = tuple(tag.name for tag in manifest.tags if tag.learnt)
        self.psi = manifest.truncation.psi
        self.real_rows = real_rows

    def draw(self, rows: Floats, seeds: Sequence[int], psi: float) -> Pixels:
        """Label rows [n, L] and n seeds -> uint8 [n, H, W, 3], one picture at a time."""
        latents = (self._w(row, seed, psi) for row, seed in zip(rows, seeds, strict=True))
        return np.stack([self._rgb(w) for w in latents])

    def interpolate(self, row: Floats, seeds: tuple[int, int], steps: int, psi: float) -> Pixels:
        """A straight walk in w from one seed to another -> uint8 [steps + 1, H, W, 3]."""
        start, end = (self._w(row, seed, psi) for seed in seeds)
        places = np.linspace(0, 1, steps + 1, dtype=np.float32)
        return np.stack([self._rgb(start + t * (end - start)) for t in places])

    def _rgb(self, w: Floats) -> Pixels:
        """[w_dim] -> uint8 [H, W, 3], whatever the model's channels; alpha is laid onto white."""
        pixels = self._studio.bundle.synthesise(w)
        if pixels.shape[2] == 3:
            return pixels
        image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0]).convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(page, image).convert("RGB"))

    def _w(self, row: Floats, seed: int, psi: float) -> Floats:
        return self._studio.w(Recipe(seed=seed, psi=psi), row)
