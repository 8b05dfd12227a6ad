"""Recipes -> characters. The library, the CLI and the API all draw here, so their bytes agree."""

import dataclasses
import functools
import io
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.errors import ModelNotFoundError, RecipeError
from kaogen.recipe import LARGEST_SEED, Recipe, png_info
from kaogen.studio import latents
from kaogen.studio.bundle import Bundle, find_bundle
from kaogen.studio.fill import Filled, fill

Floats = npt.NDArray[np.float32]

CENTRES_KEPT = 1024
"""Truncation centres kept in memory; one is w_dim numbers."""
WEBP_QUALITY = 92
PNG_LEVEL = 4
"""Of zlib: less than half the time of the usual 6, for files 5 to 7% larger."""


@dataclass(frozen=True)
class Character:
    """One drawn character.

    Attributes:
        image: L, LA, RGB or RGBA, as the model has it; the longer side is recipe.size pixels.
        recipe: what it was drawn from, canonical, with seed and model filled in.
        tags: what it is meant to show, filled tags included.
        rare: no face of the training set combines the tags that were asked for.
        ms: how long drawing took, in milliseconds.
    """

    image: Image.Image
    recipe: Recipe
    tags: tuple[str, ...]
    rare: bool
    ms: float

    def png(self) -> bytes:
        """PNG with the recipe inside; the same bytes for the same recipe."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=png_info(self.recipe))
        return buffer.getvalue()

    def webp(self) -> bytes:
        """WebP, a fraction of the PNG's size, without the recipe."""
        buffer = io.BytesIO()
        self.image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
        return buffer.getvalue()


class Studio:
    """Draws with one model. Safe to use from several threads.

    Args:
        bundle: an opened model file; see `open_model` for the short way.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        truncation = bundle.manifest.truncation
        self._samples = latents.centre_samples(truncation.centre_samples, bundle.manifest.z_dim)
        self._w_avg = np.array(truncation.w_avg, np.float32)
        self._centres: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe in its canonical form, with the model's id and, without a seed, a random one.

        Raises:
            UnknownTagError, TagConflictError: the tags are not this model's, or exclude each other.
            RecipeError: a tag is asked for that the model has not learnt.
            ModelNotFoundError: the recipe belongs to another model.
        """
        if recipe.model not in ("", self.bundle.id, self.bundle.manifest.name):
            raise ModelNotFoundError(
                f'the recipe asks for model "{recipe.model}"; the one here is "{self.bundle.id}".',
                hint="Leave the model out to draw with this one.",
            )
        recipe = recipe.canonical(self.bundle.vocabulary)
        unknown = [tag for tag in recipe.tags if tag not in self.bundle.learnt]
        if unknown:
            raise RecipeError(
                f'this model has not learnt "{unknown[0]}".',
                field="tags",
                hint="It is in the vocabulary for models trained on faces that show it.",
            )
        seed = secrets.randbelow(LARGEST_SEED + 1) if recipe.seed is None else recipe.seed
        return dataclasses.replace(recipe, seed=seed, model=self.bundle.id)

    def fill(self, recipe: Recipe) -> Filled:
        """All the tags of a complete recipe's character, the unpicked ones from a real face."""
        bundle = self.bundle
        return fill(
            bundle.labels,
            bundle.vocabulary,
            bundle.learnt,
            yes=recipe.tags,
            no=recipe.without,
            seed=recipe.seed or 0,
        )

    def w(self, recipe: Recipe, labels: Floats) -> Floats:
        """The intermediate latent [w_dim] of a complete recipe and its label vector [L].

        Truncation pulls toward the centre of w *given the tags*: one global centre would pull
        away from what was asked for. Strength moves along the line from the mean of all faces to
        that centre: 0 takes away what the tags bring, 2 doubles it, 1 changes nothing::

            w = centre(tags) + psi (w' - centre(tags)) + (strength - 1) (centre(tags) - mean)
        """
        dim = self.bundle.manifest.z_dim
        z = latents.z(recipe.seed or 0, dim)
        if recipe.variation > 0 and recipe.variation_seed != recipe.seed:
            z = latents.mix(z, latents.z(recipe.variation_seed, dim), recipe.variation)
        own = self.bundle.map(z[None], labels[None])[0]
        centre = self.centre(labels)
        w: Floats = centre + np.float32(recipe.psi) * (own - centre)
        if recipe.strength != 1:
            w = w + np.float32(recipe.strength - 1) * (centre - self._w_avg)
        return w

    def centre(self, labels: Floats) -> Floats:
        """The mean of w over fixed latents for one label vector [L]; [w_dim]."""
        key = np.packbits(labels > 0.5).tobytes()
        with self._lock:
            if key in self._centres:
                self._centres.move_to_end(key)
                return self._centres[key]
        repeated = np.tile(labels, (len(self._samples), 1))
        mean: Floats = (
            self.bundle.map(self._samples, repeated).mean(axis=0, dtype=np.float64)
        ).astype(np.float32)
        with self._lock:
            self._centres[key] = mean
            if len(self._centres) > CENTRES_KEPT:
                self._centres.popitem(last=False)
        return mean

    def draw(self, recipe: Recipe) -> Character:
        """Draw one character. Raises what `complete` does, and BundleError."""
        began = time.perf_counter()
        recipe = self.complete(recipe)
        filled = self.fill(recipe)
        pixels = self.bundle.synthesise(self.w(recipe, filled.labels))
        image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0])
        longer = max(image.size)
        if longer != recipe.size:
            width, height = (max(1, round(side * recipe.size / longer)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        ms = (time.perf_counter() - began) * 1000
        return Character(image, recipe, filled.tags, filled.rare, ms)

    def draw_all(self, recipes: Sequence[Recipe]) -> list[Character]:
        """Draw several, one at a time: a picture must not depend on what it is drawn beside."""
        return [self.draw(recipe) for recipe in recipes]


def open_model(model: str | os.PathLike[str] | None = None) -> Studio:
    """Open a model by path, name or id; without one, KAOGEN_MODEL's or the one that ships.

    Opened models stay in memory, a changed file is opened anew. Raises ModelNotFoundError and
    BundleError.
    """
    path = find_bundle(model).resolve()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _open(path, stamp)


@functools.lru_cache(maxsize=4)
def _open(path: os.PathLike[str], stamp: int) -> Studio:
    return Studio(Bundle.open(path))


def draw(
    text: str = "", *, model: str | os.PathLike[str] | None = None, **fields: Any
) -> Character:
    """Draw one character: ``kaogen.draw("pink hair, -glasses", seed=42)``.

    Args:
        text: a recipe's text: tags in any spelling, "-" refuses, ``seed:42`` and such set fields.
        model: see `open_model`.
        **fields: fields of `Recipe`, such as seed, psi or size; they win over the text.

    Raises:
        InputError: a word, value or combination that cannot be.
        ModelError: no model, or a broken one.
        TypeError: a field that a recipe does not have.
    """
    studio = open_model(model)
    recipe = Recipe.from_text(text, studio.bundle.vocabulary)
    return studio.draw(dataclasses.replace(recipe, **fields))
