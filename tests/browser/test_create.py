"""Making a character: traits, the two buttons, words, locks, undo."""

import re

import pytest
from playwright.sync_api import expect

from kaogen.tags import PAPER

from .conftest import Visitor

pytestmark = pytest.mark.browser


def test_two_traits_change_the_picture(visitor: Visitor) -> None:
    page = visitor.visit("/?seed=42")
    first = visitor.picture()
    visitor.pick("green hair")
    second = visitor.changed(first)
    visitor.pick("red eyes")
    visitor.changed(second)
    assert visitor.query.startswith("tags=red_eyes,green_hair&seed=42")
    expect(page.get_by_role("radio", name="Green").first).to_be_checked()
    expect(page.locator("figure img")).to_have_attribute("alt", re.compile("green hair"))
    expect(page).to_have_title("red eyes, green hair · kaogen")
    # One hair colour at a time, and Any lets go.
    visitor.pick("blue hair")
    assert "green_hair" not in visitor.query
    page.get_by_role("radiogroup", name="Hair colour").get_by_label("Any").check()
    assert "hair" not in visitor.query


def test_a_chip_has_three_states(visitor: Visitor) -> None:
    page = visitor.visit()
    chip = page.locator('#panel [data-tag="smile"]')
    expect(chip).to_have_text("Smile, Any")
    for state, words in (("yes", "tags=pink_hair,blue_eyes,smile"), ("without", "not=smile")):
        chip.click()
        expect(chip).to_contain_text(f"Smile, {state}")
        assert words in visitor.query
    chip.click()
    assert "smile" not in visitor.query


def test_the_picture_is_never_taken_away_while_drawing(visitor: Visitor) -> None:
    page = visitor.visit()
    page.evaluate(
        """() => {
          window.gaps = 0;
          const look = () => {
            const image = document.querySelector('figure img');
            if (!image || !image.complete || image.naturalWidth === 0) window.gaps += 1;
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    for tag in ("red hair", "green eyes", "smile"):
        before = visitor.picture()
        visitor.pick(tag)
        visitor.changed(before)
    assert page.evaluate("window.gaps") == 0


def test_new_character_and_new_look(visitor: Visitor) -> None:
    page = visitor.visit()
    first = visitor.picture()
    page.get_by_role("button", name="New character").click()
    second = visitor.changed(first)
    assert "tags=pink_hair,blue_eyes&seed=" in visitor.query
    assert "seed=42&" not in visitor.query
    seed = visitor.query.split("seed=")[1].split("&")[0]
    page.get_by_role("button", name="Same character, new look").click()
    third = visitor.changed(second)
    assert f"seed={seed}&" in visitor.query
    assert "variation=0.45" in visitor.query
    page.get_by_role("button", name="Undo").click()
    assert visitor.changed(third) == second
    page.get_by_role("button", name="Undo").click()
    assert visitor.changed(second) == first
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="Redo").click()
    assert visitor.changed(first) == second


def test_a_locked_group_stays(visitor: Visitor) -> None:
    page = visitor.visit("/?seed=42")
    shown = page.locator("figure img").get_attribute("alt") or ""
    hair = next(name for name in PAPER.exclusive["hair colour"] if name in shown)
    page.get_by_role("button", name="Keep: Hair colour").click()
    page.get_by_role("button", name="New character").click()
    expect(page.locator(f'label[data-tag="{hair}"] input')).to_be_checked()
    page.get_by_role("button", name="Release: Hair colour").click()
    assert hair.replace(" ", "_") not in visitor.query


def test_words_and_chips_are_one(visitor: Visitor) -> None:
    page = visitor.visit()
    box = page.get_by_label("Traits in words")
    expect(box).to_have_value("pink hair, blue eyes")
    box.fill("1girl, twintails, 猫耳, -glasses, blonde_hair")
    expect(page.locator('[data-tag="twin tails"]')).to_have_text("Twin tails, yes")
    box.press("Enter")
    box.blur()
    expect(box).to_have_value("twin tails, blonde hair, cat ears, -glasses")
    assert "not=glasses" in visitor.query


def test_unknown_words_are_met_with_what_was_meant(visitor: Visitor) -> None:
    page = visitor.visit()
    box = page.get_by_label("Traits in words")
    box.fill("blue eyes, pnik hiar, qqqqqq")
    said = page.locator("#words-said")
    expect(said).to_contain_text("pnik hiar")
    expect(said).not_to_contain_text("qqqqqq")  # may be half typed
    box.press("Enter")
    expect(said).to_contain_text("qqqqqq")
    said.get_by_role("button", name="Pink hair").click()
    expect(said).not_to_contain_text("pnik")
    assert visitor.query.startswith("tags=pink_hair,blue_eyes&")


def test_a_trait_not_learnt_is_shown_and_says_why(visitor: Visitor) -> None:
    page = visitor.visit()
    lips = page.locator('[data-tag="lips"]')
    expect(lips).to_have_attribute("aria-disabled", "true")
    before = visitor.query
    lips.click(force=True)
    expect(page.locator(".why", has_text="has not learnt it")).to_be_visible()
    assert visitor.query == before
    box = page.get_by_label("Traits in words")
    box.fill("lips")
    expect(page.locator("#words-said")).to_contain_text("Not learnt by this model: Lips")


def test_a_rare_combination_says_so(visitor: Visitor) -> None:
    page = visitor.visit()
    rare = page.get_by_text("Rare combination")
    expect(rare).to_have_count(0)
    for tag in ("hat", "hairband", "glasses", "tears", "cat ears"):
        visitor.pick(tag)
    rare.click()
    expect(page.get_by_text("No face the model has seen shows all of this")).to_be_visible()


def test_fine_control(visitor: Visitor) -> None:
    page = visitor.visit()
    page.get_by_text("Fine control").click()
    before = visitor.picture()
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_label("Seed", exact=True).press("Enter")
    before = visitor.changed(before)
    page.get_by_label("Variety").fill("1.2")
    visitor.changed(before)
    page.get_by_label("Size of the file").select_option("512")
    assert "seed=7&psi=1.2&size=512" in visitor.query
    page.get_by_role("button", name="Back to standard").click()
    assert "psi" not in visitor.query


def test_variations_and_expressions(visitor: Visitor) -> None:
    page = visitor.visit()
    page.get_by_role("tab", name="Variations").click()
    cells = page.locator("#panel li button")
    expect(cells).to_have_count(9)
    expect(cells.nth(4)).to_have_attribute("aria-current", "true")
    before = visitor.picture()
    cells.nth(0).click()
    visitor.changed(before)
    assert "variation=0.35" in visitor.query
    expect(cells.nth(0)).to_have_attribute("aria-current", "true")
    page.get_by_role("tab", name="Expressions").click()
    assert page.url.endswith("#expressions")
    expect(cells.first).to_contain_text("Calm")
    page.get_by_role("button", name="Smile", exact=True).click()
    assert "smile" in visitor.query.split("&not=")[0]


def test_four_languages(visitor: Visitor) -> None:
    page = visitor.visit()
    for code, word, trait in (
        ("ja", "新しいキャラクター", "笑顔"),
        ("zh", "新角色", None),
        ("ko", "새 캐릭터", None),
    ):
        page.get_by_role("combobox").first.select_option(code)
        expect(page.get_by_role("button", name=word)).to_be_visible()
        expect(page.locator("html")).to_have_attribute("lang", code)
        if trait:
            expect(page.locator('[data-tag="smile"]')).to_contain_text(trait)
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
