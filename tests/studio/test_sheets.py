"""Several characters on one picture."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from kaogen.errors import ConfigError
from kaogen.pngtext import read_text
from kaogen.recipe import LARGEST_SEED, Recipe
from kaogen.studio.draw import Character
from kaogen.studio.sheets import GAP, row_of_seeds, sheet, sheet_png, sheet_webp, variations


def _character(seed: int, size: int = 32) -> Character:
    image = Image.new("RGB", (size, size), (seed, 0, 0))
    return Character(image, Recipe(seed=seed, size=size), (), rare=False, ms=1.0)


def test_seeds_wrap() -> None:
    seeds = [recipe.seed for recipe in row_of_seeds(Recipe(seed=LARGEST_SEED - 1), 3)]
    assert seeds == [LARGEST_SEED - 1, LARGEST_SEED, 0]


def test_variations_start_with_the_recipe_itself() -> None:
    recipe = Recipe(seed=4)
    found = variations(recipe, 9, 0.2)
    assert found[0] == recipe
    assert len(set(found)) == 9
    assert {r.seed for r in found} == {4}


@pytest.mark.parametrize(
    ("count", "columns", "across", "down"),
    [(1, None, 1, 1), (9, None, 3, 3), (10, None, 4, 3), (9, 9, 9, 1), (3, 1, 1, 3)],
)
def test_layout(count: int, columns: int | None, across: int, down: int) -> None:
    page = sheet([_character(k) for k in range(count)], columns)
    assert page.size == (across * (32 + GAP) - GAP, down * (32 + GAP) - GAP)
    last = divmod(count - 1, across)
    assert page.getpixel((last[1] * (32 + GAP), last[0] * (32 + GAP))) == (count - 1, 0, 0)


def test_the_sheet_lists_its_recipes() -> None:
    data = sheet_png([_character(k) for k in range(4)])
    listed = json.loads(read_text(data, ["kaogen-sheet"])["kaogen-sheet"])
    assert [Recipe.from_json(entry).seed for entry in listed] == [0, 1, 2, 3]
    assert data == sheet_png([_character(k) for k in range(4)])
    with Image.open(io.BytesIO(sheet_webp([_character(1)]))) as image:
        assert image.format == "WEBP"


def test_impossible_sheets() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        sheet([])
    with pytest.raises(ConfigError, match="too large"):
        sheet([_character(0)] * 600, columns=600)


def test_drawn_characters_fit(random_model: Path) -> None:
    from kaogen.studio.draw import open_model

    characters = open_model(random_model).draw_all(row_of_seeds(Recipe(seed=1, size=32), 4))
    assert sheet(characters).size == (64 + GAP, 64 + GAP)
