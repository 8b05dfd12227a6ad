"""Recipes: every form reads back to the same recipe; errors name the field and the word."""

import contextlib
import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kaogen.errors import ImageError, InputError, RecipeError, TagConflictError, UnknownTagError
from kaogen.pngtext import read_text
from kaogen.recipe import LARGEST_SEED, Recipe, from_png, png_info
from kaogen.tags import PAPER_TAGS, Vocabulary

FREE_TAGS = [t for t in PAPER_TAGS if not t.endswith((" hair", " eyes", " ears"))]


def hundredths(high: float) -> st.SearchStrategy[float]:
    return st.integers(0, int(high * 100)).map(lambda n: n / 100)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    colour = draw(st.sampled_from([(), ("pink hair",), ("blue eyes", "long hair")]))
    tags = (*colour, *draw(st.sets(st.sampled_from(FREE_TAGS), max_size=5)))
    implied = {"smile", "open mouth", "ribbon", "flower", "bow", "jewelry", "bangs"}
    without = draw(st.sets(st.sampled_from(FREE_TAGS), max_size=5)) - set(tags) - implied
    seeds = st.integers(0, LARGEST_SEED)
    return Recipe(
        tags,
        tuple(without),
        seed=draw(st.none() | seeds),
        psi=draw(hundredths(1.5)),
        size=draw(st.integers(32, 1024)),
        model=draw(st.sampled_from(["", "getchu64-0123abcd"])),
        variation_seed=draw(seeds),
        variation=draw(hundredths(1)),
        strength=draw(hundredths(2)),
    ).canonical()


def as_png(info: PngInfo) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@given(recipes())
@example(Recipe(seed=0))
@example(Recipe((":d",), ("glasses",), seed=1, variation=0.5, variation_seed=0))
def test_every_form_reads_back(recipe: Recipe) -> None:
    assert Recipe.from_text(recipe.to_text()) == recipe
    assert Recipe.from_query(recipe.to_query()) == recipe
    assert Recipe.from_query("?" + recipe.to_query()) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(json.dumps(recipe.to_json())) == recipe
    png = as_png(png_info(recipe))
    assert from_png(png) == recipe
    # A tool that keeps only AUTOMATIC1111's chunk loses nothing.
    kept = PngInfo()
    kept.add_text("parameters", read_text(png, ["parameters"])["parameters"])
    assert from_png(as_png(kept)) == recipe


def test_the_canonical_forms() -> None:
    recipe = Recipe.from_text(
        "Blue_Eyes, no glasses, pink hair, :D, seed: 42, psi:0.900, variation seed:0, variation:.25"
    )
    assert recipe.to_text() == (
        "pink hair, blue eyes, :d, -glasses, seed:42, psi:0.9, vs:0, variation:0.25"
    )
    assert recipe.to_query() == (
        "tags=pink_hair,blue_eyes,%3Ad&not=glasses&seed=42&psi=0.9&vs=0&variation=0.25"
    )
    assert recipe.to_json() == {
        "kaogen": 1,
        "tags": ["pink hair", "blue eyes", ":d"],
        "without": ["glasses"],
        "seed": 42,
        "psi": 0.9,
        "size": 256,
        "model": "",
        "variation_seed": 0,
        "variation": 0.25,
        "strength": 1,
    }
    assert recipe.digest() == ("07a5273203cd9e2268b384e230c896898be0b5099207dd879dfb532378c880ae")
    texts = read_text(as_png(png_info(recipe)), ["parameters", "kaogen"])
    assert texts["parameters"] == (
        "pink hair, blue eyes, :d\nNegative prompt: glasses\n"
        "Steps: 1, Sampler: kaogen, Seed: 42, Size: 256x256, Model: , Variation seed: 0, "
        "Variation seed strength: 0.25, Psi: 0.9, Tag strength: 1"
    )
    assert json.loads(texts["kaogen"]) == recipe.to_json()


def test_one_picture_has_one_recipe() -> None:
    assert Recipe(seed=1, variation_seed=9) == Recipe(seed=1)
    assert Recipe(seed=1, psi=0.7000001) == Recipe(seed=1)
    assert Recipe.from_query("tags=-hat,smile&seed=1&not=-hat") == Recipe(("smile",), ("hat",), 1)
    assert Recipe.from_query("") == Recipe()
    assert Recipe(["smile"], seed=1) == Recipe(("smile",), seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "text", "field", "said"),
    [
        ("text", "sed:4", "sed", "Nearest: seed"),
        ("text", "seed:x", "seed", 'whole number from 0 to 4294967295, not "x"'),
        ("text", "seed:4294967296", "seed", "whole number"),
        ("text", "seed:1, seed:2", "seed", "given twice"),
        ("text", "psi:1.51", "psi", "from 0 to 1.5"),
        ("text", "psi:nan", "psi", "from 0 to 1.5"),
        ("text", "seed:٣", "seed", "whole number"),
        ("query", "size=31", "size", "from 32 to 1024"),
        ("query", "size=64.5", "size", "whole number"),
        ("query", "seed=1&seed=1", "seed", "given twice"),
        ("query", "model=../etc", "model", "letters, digits"),
        ("query", "tagz=smile", "tagz", "Nearest: tags"),
        ("query", "&".join("a=1" for _ in range(50)), "", "cannot be read"),
        ("json", '{"kaogen":2}', "kaogen", "version"),
        ("json", '{"kaogen":true}', "kaogen", "version"),
        ("json", '{"kaogen":1,"seed":true}', "seed", "whole number"),
        ("json", '{"kaogen":1,"seed":1.0}', "seed", "whole number"),
        ("json", '{"kaogen":1,"psi":NaN}', "psi", "number"),
        ("json", '{"kaogen":1,"psi":"1"}', "psi", "number"),
        ("json", '{"kaogen":1,"tags":"smile"}', "tags", "list of tags"),
        ("json", '{"kaogen":1,"tags":[1]}', "tags", "only tags"),
        ("json", '{"kaogen":1,"model":null}', "model", "id"),
        ("json", '{"kaogen":1,"seeds":1}', "seeds", "Nearest: seed"),
        ("json", "[]", "", "object"),
        ("json", "[" * 8000, "", "not JSON"),
        ("json", "1" * 9000, "", "longer than"),
        ("json", '{"kaogen":1', "", "not JSON"),
    ],
)
def test_errors_name_the_field(form: str, text: str, field: str, said: str) -> None:
    read = {"text": Recipe.from_text, "query": Recipe.from_query, "json": Recipe.from_json}[form]
    with pytest.raises(RecipeError, match=said) as caught:
        read(text)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_errors_name_the_word() -> None:
    with pytest.raises(UnknownTagError, match=r'"glases" in tags\. Nearest: glasses'):
        Recipe.from_query("tags=glases")
    with pytest.raises(UnknownTagError, match=r'"hatt" in not\. Nearest: hat'):
        Recipe.from_json({"kaogen": 1, "without": ["hatt"]})
    with pytest.raises(TagConflictError):
        Recipe.from_text("pink hair, blue hair")


def test_a_models_own_vocabulary() -> None:
    mine = Vocabulary(["robot", "smile"])
    recipe = Recipe.from_text("SMILE, robot, seed:3", mine)
    assert recipe.tags == ("robot", "smile")
    assert from_png(as_png(png_info(recipe)), mine) == recipe
    with pytest.raises(UnknownTagError):
        Recipe.from_query(recipe.to_query())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = chunk(b"IEND", b"")
JSON = b'{"kaogen":1,"seed":5}'


def test_text_is_found_in_any_png(tmp_path: Path) -> None:
    packed = chunk(b"iTXt", b"kaogen\0\1\0en\0Kaogen\0" + zlib.compress(JSON))
    plain = chunk(b"tEXt", b"kaogen\0" + JSON)
    for body in (packed, plain):
        assert from_png(SIGNATURE + chunk(b"IDAT", b"x" * 999) + body + END).seed == 5
    path = tmp_path / "a.png"
    path.write_bytes(SIGNATURE + plain + END)
    assert from_png(path) == from_png(str(path))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a PNG"),
        (b"GIF89a", "not a PNG"),
        (SIGNATURE, "cut off"),
        (SIGNATURE + chunk(b"tEXt", b"kaogen\0" + JSON)[:-6], "cut off"),
        (SIGNATURE + chunk(b"tEXt", b"kaogen\0" + JSON)[:-1] + b"?" + END, "damaged"),
        (SIGNATURE + b"\xff\xff\xff\xfftEXt" + END, "cut off"),
        (SIGNATURE + chunk(b"tEXt", b"kaogen\0" + b" " * 70_000) + END, "too long"),
        (SIGNATURE + chunk(b"abcd", b"") * 10_001 + END, "too many chunks"),
        (
            SIGNATURE + chunk(b"iTXt", b"kaogen\0\1\0\0\0" + zlib.compress(b" " * 10**7)) + END,
            "too long",
        ),
        (SIGNATURE + chunk(b"iTXt", b"kaogen\0\1\0\0\0junk") + END, "damaged"),
        (SIGNATURE + chunk(b"iTXt", b"kaogen\0\0\0\0\0\xff\xfe") + END, "damaged"),
    ],
)
def test_hostile_png_files(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        from_png(data)


def test_a_png_without_a_recipe() -> None:
    foreign = PngInfo()
    foreign.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, Seed: 1")
    for info in (foreign, PngInfo()):
        with pytest.raises(RecipeError, match="no recipe of kaogen"):
            from_png(as_png(info))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (Recipe.from_text, Recipe.from_query, Recipe.from_json):
        with contextlib.suppress(InputError):
            read(text)
