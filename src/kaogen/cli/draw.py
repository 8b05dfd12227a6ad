"""``kaogen draw``: traits to pictures."""

from __future__ import annotations

import dataclasses
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from kaogen.errors import ConfigError
from kaogen.recipe import LARGEST_SEED, Recipe
from kaogen.studio.draw import Character, open_model
from kaogen.studio.sheets import row_of_seeds, sheet_png, sheet_webp
from kaogen.tags import Vocabulary


def command(
    text: Annotated[
        str, typer.Argument(metavar="TAGS", help='Such as "pink hair, smile, -glasses".')
    ] = "",
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .png or .webp file, or a folder for many.")
    ] = Path("kaogen.png"),
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Of the first; the others follow. By default a random one.")
    ] = None,
    psi: Annotated[float | None, typer.Option(help="Variety: 0 typical, 1 as trained.")] = None,
    size: Annotated[int | None, typer.Option(help="Longer edge in pixels, 32 to 1024.")] = None,
    strength: Annotated[float | None, typer.Option(help="How strongly tags show, 0 to 2.")] = None,
    columns: Annotated[int | None, typer.Option(min=1, help="Of the sheet.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model file or id; by default the one that ships.")
    ] = None,
) -> None:
    """Draw characters from traits.

    One becomes a picture that carries its recipe; several become a sheet, or, into a folder, one
    file each. TAGS may be a whole recipe, as the website shows it.

    \b
    Example:
      kaogen draw "pink hair, blue eyes, smile" -n 9 --seed 1 -o out.png
    """
    folder = out.is_dir() or os.fspath(out).endswith(os.sep) or not out.suffix
    form = "png" if folder else out.suffix.lower().removeprefix(".")
    if form not in ("png", "webp"):
        raise ConfigError(f"{out}: pictures are written as .png or .webp.")
    studio = open_model(model)
    given = {"seed": seed, "psi": psi, "size": size, "strength": strength}
    recipe = read_recipe(text, studio.bundle.vocabulary, given)
    characters = studio.draw_all(row_of_seeds(recipe, count))
    if folder:
        out.mkdir(parents=True, exist_ok=True)
        for character in characters:
            write(out / f"{character.recipe.seed}.png", character.png())
    elif count == 1:
        write(out, encode(characters[0], form))
    else:
        write(out, (sheet_png if form == "png" else sheet_webp)(characters, columns))
    typer.echo(summary(out, characters))


def read_recipe(text: str, vocabulary: Vocabulary, given: dict[str, Any]) -> Recipe:
    """The recipe of a text, with the options that were given on top and a seed for certain."""
    recipe = Recipe.from_text(text, vocabulary)
    changes = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe, **changes)
    if recipe.seed is None:
        recipe = dataclasses.replace(recipe, seed=secrets.randbelow(LARGEST_SEED + 1))
    return recipe


def encode(character: Character, form: str) -> bytes:
    """As "png" or "webp"."""
    return character.png() if form == "png" else character.webp()


def write(path: Path, data: bytes) -> None:
    """Write a file whole, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def summary(out: Path, characters: list[Character]) -> str:
    """What was drawn, in a line or two."""
    first = characters[0]
    lines = [f"{out}: {first.recipe.to_text()}"]
    if len(characters) > 1:
        lines[0] += f" to seed:{characters[-1].recipe.seed}"
    ms = sum(character.ms for character in characters)
    lines[0] += f" ({ms:.0f} ms)"
    if first.rare:
        lines.append("No face of the training set combines these tags: expect less of it.")
    return "\n".join(lines)
