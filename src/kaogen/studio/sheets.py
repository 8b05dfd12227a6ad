"""Several characters on one picture, and recipes that belong together."""

import dataclasses
import io
import json
import math
from collections.abc import Sequence

from PIL import Image, PngImagePlugin

from kaogen.errors import ConfigError
from kaogen.recipe import LARGEST_SEED, Recipe
from kaogen.studio.draw import PNG_LEVEL, WEBP_QUALITY, Character

LARGEST_SHEET = 16384
"""Pixels along a side."""
GAP = 4


def row_of_seeds(recipe: Recipe, count: int) -> list[Recipe]:
    """The recipe with `count` seeds in a row from its own on, wrapping past the largest."""
    first = recipe.seed or 0
    return [
        dataclasses.replace(recipe, seed=(first + k) % (LARGEST_SEED + 1)) for k in range(count)
    ]


def variations(recipe: Recipe, count: int, amount: float) -> list[Recipe]:
    """The recipe, then count - 1 neighbours of it: the same seed, leaning toward others.

    `amount` is how far, 0..1.
    """
    neighbours = [
        dataclasses.replace(recipe, variation_seed=k, variation=amount) for k in range(1, count)
    ]
    return [recipe, *neighbours][:count]


def sheet(characters: Sequence[Character], columns: int | None = None) -> Image.Image:
    """Characters in rows, white between them; as square as can be without `columns`.

    Raises ConfigError when there are none, or too many for one picture.
    """
    if not characters:
        raise ConfigError("a sheet needs at least one character.")
    across = columns or math.ceil(math.sqrt(len(characters)))
    down = math.ceil(len(characters) / across)
    cell = [max(character.image.size[axis] for character in characters) + GAP for axis in (0, 1)]
    width, height = across * cell[0] - GAP, down * cell[1] - GAP
    if max(width, height) > LARGEST_SHEET:
        raise ConfigError(
            f"a sheet of {width} x {height} pixels is too large.",
            hint="Draw fewer or smaller characters, or name a folder to write them one by one.",
        )
    page = Image.new("RGB", (width, height), "white")
    for k, character in enumerate(characters):
        row, column = divmod(k, across)
        image = character.image.convert("RGBA")
        page.paste(image, (column * cell[0], row * cell[1]), image)
    return page


def sheet_png(characters: Sequence[Character], columns: int | None = None) -> bytes:
    """`sheet` as a PNG that lists all the recipes in its iTXt `kaogen-sheet`, row by row."""
    info = PngImagePlugin.PngInfo()
    recipes = [character.recipe.to_json() for character in characters]
    info.add_itxt("kaogen-sheet", json.dumps(recipes, separators=(",", ":")))
    buffer = io.BytesIO()
    sheet(characters, columns).save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=info)
    return buffer.getvalue()


def sheet_webp(characters: Sequence[Character], columns: int | None = None) -> bytes:
    """`sheet` as WebP, without recipes."""
    buffer = io.BytesIO()
    sheet(characters, columns).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()
