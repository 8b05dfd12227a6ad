"""A picture's address is its recipe."""

import io
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from kaogen.recipe import Recipe, from_png
from kaogen.studio.draw import Studio


def at(client: TestClient, query: str, form: str = "png") -> str:
    """The canonical address that a query leads to."""
    answer = client.get(f"/v1/characters.{form}?{query}")
    assert answer.status_code == 307, answer.text
    return answer.headers["location"]


def test_canonical_address_gives_the_picture(client: TestClient, studio: Studio) -> None:
    url = at(client, "seed=4&tags=smile,pink_hair&size=64")
    assert url == f"/v1/characters.png?tags=pink_hair,smile&seed=4&size=64&model={studio.bundle.id}"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    recipe = from_png(answer.content)
    assert (recipe.tags, recipe.seed) == (("pink hair", "smile"), 4)


def test_bytes_are_the_librarys(client: TestClient, studio: Studio) -> None:
    for form, seed in itertools.product(("png", "webp"), (0, 4, 2**32 - 1)):
        query = f"tags=blue_hair&not=glasses&seed={seed}&psi=0.9&vs=3&variation=0.25&strength=1.5"
        character = studio.draw(Recipe.from_query(query))
        answer = client.get(at(client, query, form))
        assert answer.content == getattr(character, form)()


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("seed=1&tags=smile", "tags=smile&seed=1"),
        ("tags=Blue%20Hair&seed=1&psi=0.70", "tags=blue_hair&seed=1"),
        ("tags=%E9%9D%92%E9%AB%AA&seed=1", "tags=blue_hair&seed=1"),
        ("tags=smile,-glasses&seed=1&vs=7", "tags=smile&not=glasses&seed=1"),
        ("seed=1&model=tiny", "seed=1"),
        ("tags=&seed=01", "seed=1"),
    ],
)
def test_other_spellings_redirect(
    client: TestClient, studio: Studio, given: str, canonical: str
) -> None:
    answer = client.get(f"/v1/characters.webp?{given}")
    assert answer.status_code == 307
    expected = f"/v1/characters.webp?{canonical}&model={studio.bundle.id}"
    assert answer.headers["location"] == expected
    assert answer.headers["cache-control"] == "no-cache"


def test_escaping_is_a_matter_of_taste(client: TestClient) -> None:
    url = at(client, "tags=pink_hair,smile&seed=1")
    plain, escaped = client.get(url), client.get(url.replace(",", "%2C").replace("_", "%5F"))
    assert plain.status_code == escaped.status_code == 200
    assert plain.content == escaped.content


def test_without_a_seed_each_call_meets_someone_else(client: TestClient) -> None:
    answers = [client.get("/v1/characters.png?tags=smile") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {307}
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert len({answer.headers["location"] for answer in answers}) == 5


def test_etag_saves_the_drawing(client: TestClient) -> None:
    url = at(client, "tags=red_eyes&seed=77")
    etag = client.get(url).headers["etag"]
    drawn = client.app.state.drawing.counts.drawn
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = client.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "immutable" in answer.headers["cache-control"]
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.app.state.drawing.counts.drawn == drawn
    webp = client.get(url.replace(".png", ".webp"))
    assert webp.headers["etag"] != etag


def test_description(client: TestClient, studio: Studio) -> None:
    body = client.get(at(client, "tags=blue_hair,smile&seed=5", "json")).json()
    recipe = Recipe.from_json(body["recipe"])
    assert recipe == Recipe(("blue hair", "smile"), seed=5, model=studio.bundle.id)
    assert body["text"] == recipe.to_text()
    assert body["url"] == f"/v1/characters.png?{recipe.to_query()}"
    assert body["model"] == studio.bundle.id
    assert {"blue hair", "smile"} <= set(body["tags"])
    assert body["rare"] is True  # blue hair never smiles in the rows
    assert body["alt"] == f"Anime character's face: {', '.join(body['tags'])}."
    assert client.get(body["url"]).status_code == 200


@pytest.mark.parametrize(
    ("query", "field", "nearest"),
    [
        ("tags=pnk_hair&seed=1", "tags", "pink hair"),
        ("not=glases&seed=1", "not", "glasses"),
        ("seed=-1", "seed", "0"),
        ("seed=99999999999", "seed", "4294967295"),
        ("seed=", "seed", None),
        ("psi=7&seed=1", "psi", "1.5"),
        ("psi=nan&seed=1", "psi", None),
        ("size=4096&seed=1", "size", "1024"),
        ("size=big&seed=1", "size", "256"),
        ("variaton=1&seed=1", "variaton", "variation"),
        ("seed=1&seed=2", "seed", None),
        ("tags=pink_hair,blue_hair&seed=1", "tags", None),
        ("tags=smile&not=smile&seed=1", "tags", None),
        ("tags=green_hair&seed=1", "tags", "pink hair"),
        ("tags=cleavage&seed=1", "tags", None),
        ("&".join(f"a{i}=1" for i in range(99)), None, None),
        ("tags=" + "x" * 9000, None, None),
    ],
)
def test_what_cannot_be_drawn(
    client: TestClient, query: str, field: str | None, nearest: str | None
) -> None:
    answer = client.get(f"/v1/characters.png?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == 400
    assert body["field"] == field
    assert body["type"].startswith("urn:kaogen:problem:")
    assert "\n" not in body["detail"]
    assert nearest is None or nearest in body["nearest"]


def test_another_model_is_not_found(client: TestClient, studio: Studio) -> None:
    answer = client.get("/v1/characters.png?seed=1&model=paper256-00000000")
    assert answer.status_code == 404
    assert answer.json()["field"] == "model"
    assert answer.json()["nearest"] == [studio.bundle.id]


def test_recipe_comes_back_from_the_png(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    url = at(client, "tags=smile&not=glasses&seed=9")
    png = client.get(url).content
    answer = client.post("/v1/recipe", content=png, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["url"] == url
    assert body["same_model"] is True
    assert Recipe.from_json(body["recipe"]) == from_png(png)


def test_files_without_a_recipe(client: TestClient) -> None:
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    for content, status in ((plain.getvalue(), 400), (b"", 422), (b"GIF89a", 422)):
        answer = client.post("/v1/recipe", content=content)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_recipe_of_another_model_is_told(client: TestClient, studio: Studio) -> None:
    buffer = io.BytesIO()
    from kaogen.recipe import png_info

    elsewhere = Recipe(("smile",), seed=3, model="other-12345678")
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=png_info(elsewhere))
    body = client.post("/v1/recipe", content=buffer.getvalue()).json()
    assert (body["model"], body["same_model"]) == ("other-12345678", False)
    assert client.get(body["url"]).status_code == 200


SOME = st.sampled_from(
    ["smile", "pink_hair", "blue hair", "hat", "cleavage", "nope", "", ",", "-smile", "ピンク髪"]
)
VALUE = st.one_of(
    st.lists(SOME, max_size=3).map(",".join),
    st.integers(-2, 2**33).map(str),
    st.floats(0, 2).map(str),
    st.text(max_size=6),
)
FIELD = st.one_of(
    st.sampled_from(["tags", "not", "seed", "psi", "size", "vs", "variation", "strength", "model"]),
    st.text(max_size=4),
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(FIELD, VALUE), max_size=5), st.sampled_from(["png", "webp", "json"]))
def test_any_query_is_answered_or_explained(
    client: TestClient, pairs: list[tuple[str, str]], form: str
) -> None:
    small = [*pairs, ("size", "32")] if "size" not in dict(pairs) else pairs
    answer = client.get(f"/v1/characters.{form}", params=small)
    if answer.status_code == 307:  # once, and never again
        answer = client.get(answer.headers["location"])
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code >= 400:
        assert answer.json()["detail"]
