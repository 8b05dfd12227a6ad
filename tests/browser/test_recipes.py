"""The recipe travels: address, reload, link, PNG, history."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from kaogen.recipe import Recipe, from_png

from .conftest import Visitor

pytestmark = pytest.mark.browser


def test_the_address_restores_everything(visitor: Visitor) -> None:
    page = visitor.visit()
    visitor.pick("red hair")
    page.locator('[data-tag="smile"]').click()
    page.get_by_role("button", name="Same character, new look").click()
    page.wait_for_timeout(200)
    address, picture = page.url, visitor.picture()
    page.reload()
    assert visitor.picture() == picture
    assert page.url == address
    expect(page.locator('[data-tag="red hair"] input')).to_be_checked()
    expect(page.locator('[data-tag="smile"]')).to_have_text("Smile, yes")


def test_a_link_with_strange_words_still_draws(visitor: Visitor) -> None:
    page = visitor.visit("/?tags=pink_hair,lips,notatag&not=nothing&seed=5&model=other-12345678")
    assert visitor.query.startswith("tags=pink_hair&seed=5&model=random-")
    expect(page.get_by_text("made with another model (other-12345678)")).to_be_visible()
    expect(page.locator("#words-said")).to_contain_text("notatag")


def test_download_carries_the_recipe(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.visit()
    page.locator('[data-tag="smile"]').click()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download PNG").click()
    file = tmp_path / started.value.suggested_filename
    started.value.save_as(file)
    assert file.name == "kaogen-pink_hair-blue_eyes-smile-42.png"
    recipe = from_png(file.read_bytes())
    assert recipe.tags == ("pink hair", "blue eyes", "smile")
    assert recipe == Recipe.from_query(page.evaluate("location.search.slice(1)"))

    # And back: on another character, the file is chosen.
    was = visitor.query
    page.get_by_role("button", name="New character").click()
    page.locator('[data-tag="smile"]').click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".toast")).to_have_text("Recipe restored from the picture")
    assert visitor.query == was
    page.get_by_role("button", name="Undo").click()
    assert visitor.query != was
    drop = """([bytes, name]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }));
    }"""
    page.evaluate(drop, [list(file.read_bytes()), file.name])
    page.wait_for_function("was => decodeURIComponent(location.search.slice(1)) === was", arg=was)

    other = tmp_path / "other.png"
    other.write_bytes(b"no picture")
    # The server refuses it, which the browser logs; that is no fault of the page's.
    page.locator("input[type=file]").set_input_files(other)
    expect(page.locator(".toast")).to_have_text("This file holds no kaogen recipe.")
    visitor.watch.errors = [e for e in visitor.watch.errors if "Failed to load resource" not in e]


def test_copy_link(visitor: Visitor) -> None:
    page = visitor.visit()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".toast")).to_have_text("Link copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert "seed=42&model=random-" in page.url


def test_recent_and_starred_stay_in_this_browser(visitor: Visitor) -> None:
    page = visitor.visit()
    page.get_by_role("button", name="Star", exact=True).click()
    star = visitor.picture()
    for _ in range(3):
        before = visitor.picture()
        page.get_by_role("button", name="New character").click()
        visitor.changed(before)
        page.wait_for_timeout(600)
    page.reload()
    visitor.picture()
    frames = page.locator(".strip li button")
    page.get_by_role("button", name="Recent", exact=True).click()
    expect(frames).to_have_count(4)
    page.get_by_role("button", name="Starred").click()
    expect(frames).to_have_count(1)
    now = visitor.picture()
    frames.first.click()
    assert visitor.changed(now) == star
    assert "seed=42" in visitor.query


def test_the_first_visit_shows_a_character_and_ideas(visitor: Visitor) -> None:
    page = visitor.visit("/")
    assert "seed=" in visitor.query
    expect(page.locator(".strip li button")).to_have_count(12)


def test_a_lost_server_is_told_and_tried_again(visitor: Visitor) -> None:
    page = visitor.visit()
    page.route("**/v1/characters.*", lambda route: route.abort())
    page.get_by_role("button", name="New character").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.unroute("**/v1/characters.*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    visitor.watch.errors.clear()


def test_a_busy_server_is_asked_again(visitor: Visitor) -> None:
    page = visitor.visit()
    before = visitor.picture()
    refused = []

    def refuse_once(route: object) -> None:
        if refused:
            route.continue_()
            return
        refused.append(1)
        problem = {"title": "Busy", "status": 503, "detail": "Full."}
        headers = {"Retry-After": "1"}
        route.fulfill(status=503, headers=headers, body=json.dumps(problem))

    page.route("**/v1/characters.webp*", refuse_once)
    page.get_by_role("button", name="New character").click()
    visitor.changed(before)
    assert refused
    expect(page.get_by_role("alert")).to_have_count(0)
    visitor.watch.errors.clear()
