"""Recipes -> characters."""

import dataclasses
import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kaogen
from kaogen.errors import ModelNotFoundError, RecipeError, TagConflictError, UnknownTagError
from kaogen.recipe import Recipe, from_png
from kaogen.studio.bundle import Bundle
from kaogen.studio.draw import Studio, open_model
from kaogen.tags import PAPER

LOOK = Recipe(tags=("pink hair", "smile"), seed=42, size=64)


@pytest.fixture(scope="module")
def studio(random_model: Path) -> Studio:
    return Studio(Bundle.open(random_model))


def test_a_character(studio: Studio) -> None:
    character = studio.draw(Recipe(tags=("smile", "pink_hair"), without=("glasses",), seed=42))
    assert character.image.size == (256, 256)
    assert character.image.mode == "RGB"
    assert character.recipe.tags == ("pink hair", "smile")
    assert character.recipe.model == studio.bundle.id
    assert {"pink hair", "smile"} <= set(character.tags)
    assert "glasses" not in character.tags
    assert character.ms > 0


def test_the_png_carries_the_recipe(studio: Studio) -> None:
    character = studio.draw(LOOK)
    data = character.png()
    assert from_png(data, studio.bundle.vocabulary) == character.recipe
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(character.image))
    with Image.open(io.BytesIO(character.webp())) as image:
        assert image.format == "WEBP"
        assert image.size == (64, 64)


def test_same_recipe_same_bytes(studio: Studio, random_model: Path) -> None:
    first = studio.draw(LOOK).png()
    for other in (studio, Studio(Bundle.open(random_model))):
        for seed in (7, 8):  # whatever was drawn before must not matter
            other.draw(dataclasses.replace(LOOK, seed=seed, strength=1.5))
        assert other.draw(LOOK).png() == first
    by_library = kaogen.draw("pink hair, smile", seed=42, size=64, model=random_model)
    assert by_library.png() == first


def test_threads_draw_the_same(studio: Studio) -> None:
    expected = [studio.draw(dataclasses.replace(LOOK, seed=s)).png() for s in range(6)]
    found: dict[int, bytes] = {}

    def work(seed: int) -> None:
        found[seed] = studio.draw(dataclasses.replace(LOOK, seed=seed)).png()

    threads = [threading.Thread(target=work, args=(s,)) for s in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[s] for s in range(6)] == expected


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"psi": 0.3},
        {"strength": 2.0},
        {"variation": 0.3, "variation_seed": 9},
        {"tags": ("blue hair",)},
        {"without": ("smile",), "tags": ()},
    ],
)
def test_every_field_counts(studio: Studio, change: dict[str, object]) -> None:
    other = studio.draw(dataclasses.replace(LOOK, **change))
    assert other.image.tobytes() != studio.draw(LOOK).image.tobytes()


def test_variation_leads_to_the_other_seed(studio: Studio) -> None:
    """At 1 the latent is the other seed's; the filled tags stay this seed's."""
    lean = studio.complete(dataclasses.replace(LOOK, variation=1, variation_seed=9))
    labels = studio.fill(lean).labels
    other = studio.complete(dataclasses.replace(LOOK, seed=9))
    assert np.array_equal(studio.w(lean, labels), studio.w(other, labels))
    same = studio.complete(dataclasses.replace(LOOK, variation=0.5, variation_seed=42))
    plain = studio.complete(LOOK)
    assert np.array_equal(studio.w(same, labels), studio.w(plain, labels))


def test_truncation_and_strength(studio: Studio) -> None:
    recipe = studio.complete(dataclasses.replace(LOOK, psi=0))
    labels = studio.fill(recipe).labels
    centre = studio.centre(labels)
    assert np.array_equal(studio.w(recipe, labels), centre)
    none = studio.w(dataclasses.replace(recipe, strength=0.0), labels)
    mean = np.array(studio.bundle.manifest.truncation.w_avg, np.float32)
    np.testing.assert_allclose(none, mean, atol=1e-6)


def test_size_equal_to_the_models_is_not_resampled(random_model: Path) -> None:
    studio = Studio(Bundle.open(random_model))
    recipe = studio.complete(dataclasses.replace(LOOK, size=32))
    raw = studio.bundle.synthesise(studio.w(recipe, studio.fill(recipe).labels))
    drawn = studio.draw(recipe).image
    expected = Image.fromarray(raw).resize((32, 32), Image.Resampling.LANCZOS)
    assert drawn.tobytes() == expected.tobytes()


def test_a_rare_combination_says_so(studio: Studio, label_rows: np.ndarray) -> None:
    assert not studio.draw(Recipe(seed=1, size=32)).rare
    taken = {frozenset(PAPER.decode(row.tolist())) for row in label_rows.astype(float)}
    many = ("pink hair", "red eyes", "hat", "glasses", "braid", "choker")
    assert not any(set(many) <= row for row in taken)
    character = studio.draw(Recipe(tags=many, seed=1, size=32))
    assert character.rare
    assert set(many) <= set(character.tags)


def test_what_cannot_be_drawn(studio: Studio) -> None:
    with pytest.raises(RecipeError, match='not learnt "lips"') as caught:
        studio.draw(Recipe(tags=("lips",), seed=1))
    assert caught.value.field == "tags"
    assert studio.draw(Recipe(without=("lips",), seed=1, size=32)).image.width == 32
    with pytest.raises(UnknownTagError):
        studio.draw(Recipe(tags=("moustache",), seed=1))
    with pytest.raises(TagConflictError):
        studio.draw(Recipe(tags=("pink hair", "blue hair"), seed=1))
    with pytest.raises(ModelNotFoundError, match="asks for model"):
        studio.draw(Recipe(seed=1, model="random-00000000"))
    with pytest.raises(TypeError):
        kaogen.draw("smile", sede=1, model=studio.bundle.path)


def test_without_a_seed_one_is_chosen(studio: Studio) -> None:
    seeds = {studio.complete(Recipe()).seed for _ in range(5)}
    assert len(seeds) == 5
    assert None not in seeds


def test_models_are_opened_once(random_model: Path, tmp_path: Path) -> None:
    assert open_model(random_model) is open_model(str(random_model))
    copy = tmp_path / "copy.kaogen"
    copy.write_bytes(random_model.read_bytes())
    assert open_model(copy) is not open_model(random_model)
    with pytest.raises(ModelNotFoundError):
        open_model(tmp_path / "none.kaogen")
