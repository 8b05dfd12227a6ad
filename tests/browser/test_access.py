"""For everyone: keys alone, a phone, dark and light, and what axe finds."""

import json

import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Visitor

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
AXE = ROOT / "site" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA and good practice, one line each."""
    # By the debugger, since the page's own policy lets no other script in.
    page.evaluate(AXE.read_text())
    options = json.dumps({"runOnly": {"type": "tag", "values": RULES}})
    found = page.evaluate(f"axe.run(document, {options}).then(report => report.violations)")
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(
    "visitor",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "light", **PHONE},
        {"color_scheme": "dark", **PHONE},
    ],
    indirect=True,
    ids=["light", "dark", "phone-light", "phone-dark"],
)
def test_axe_finds_nothing(visitor: Visitor) -> None:
    page = visitor.visit("/?tags=pink_hair,smile&not=glasses,hat&seed=42&model=other-12345678")
    page.emulate_media(reduced_motion="reduce")
    folded = page.locator(".fold[aria-expanded=false]")
    while folded.count():
        folded.first.click()
    page.get_by_text("Fine control").click()
    page.get_by_label("Traits in words").fill("pnik hair, hat, hairband, lips")
    expect(page.locator("#words-said")).to_contain_text("pnik")
    assert violations(page) == []
    for tab in ("Variations", "Expressions"):
        page.get_by_role("tab", name=tab).click()
        visitor.picture()
        assert violations(page) == []
    for button in ("Help", "Drawn by random"):
        page.get_by_role("button", name=button).click()
        assert violations(page) == []
        page.get_by_role("button", name="Close").click()


def test_keys(visitor: Visitor) -> None:
    page = visitor.visit()
    first = visitor.picture()
    page.wait_for_timeout(600)
    page.keyboard.press("Space")
    second = visitor.changed(first)
    page.wait_for_timeout(600)
    page.keyboard.press("z")
    assert visitor.changed(second) == first
    page.keyboard.press("Shift+Z")
    assert visitor.changed(first) == second
    page.keyboard.press("ArrowRight")
    assert visitor.changed(second) == first
    page.keyboard.press("ArrowLeft")
    assert visitor.changed(first) == second
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Star", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Release: Hair colour")).to_be_visible()
    with page.expect_download():
        page.keyboard.press("s")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Use keyboard shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    before = visitor.query
    page.keyboard.press("z")
    assert visitor.query == before


def test_keys_are_letters_while_typing(visitor: Visitor) -> None:
    page = visitor.visit()
    before = visitor.query
    page.get_by_label("Traits in words").focus()
    page.keyboard.press("End")
    page.keyboard.type(", z f s l")
    assert visitor.query == before


def test_everything_is_reached_by_tab_and_seen(visitor: Visitor) -> None:
    page = visitor.visit()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the traits")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Traits in words")).to_be_focused()
    # Into the hair colours: one stop, arrows inside.
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.locator('[data-tag="pink hair"] input')).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-tag="blue hair"] input')).to_be_checked()
    outline = "getComputedStyle(document.activeElement.closest('label')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    assert visitor.query.startswith("tags=blue_eyes,blue_hair&")


@pytest.mark.parametrize(
    "visitor",
    [PHONE, {**PHONE, "viewport": {"width": 320, "height": 640}}],
    indirect=True,
    ids=["390", "320"],
)
def test_phone(visitor: Visitor) -> None:
    page = visitor.visit()
    width = page.viewport_size["width"] if page.viewport_size else 0
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == width
    picture = page.locator("figure")
    pick = page.locator('[data-tag="red eyes"]')
    pick.scroll_into_view_if_needed()
    before = visitor.picture()
    pick.tap()
    visitor.changed(before)
    # The picture stays in sight while traits are picked, at no more than about half the screen.
    expect(picture).to_be_in_viewport(ratio=0.95)
    box = picture.bounding_box()
    assert box
    assert box["height"] < 0.5 * (page.viewport_size or {"height": 0})["height"]
    expect(page.get_by_role("button", name="New character")).to_be_in_viewport(ratio=1)
    # Groups fold, and a folded one tells its picks.
    head = page.get_by_role("button", name="Eye colour", exact=True)
    head.click()
    expect(head).to_have_attribute("aria-expanded", "false")
    expect(page.locator("section[data-group=eye-colour] .picks")).to_have_text("Red eyes")
    small = """() => [...document.querySelectorAll('main button, .swatches label, header button')]
      .filter(e => e.offsetParent && e.getBoundingClientRect().height < 40)
      .map(e => e.outerHTML.slice(0, 120))"""
    assert page.evaluate(small) == []
    for tab in ("Variations", "Expressions"):
        page.get_by_role("tab", name=tab).click()
        visitor.picture()
        assert page.evaluate(wide) == width


@pytest.mark.parametrize("visitor", [{"color_scheme": "light"}], indirect=True)
def test_colours_can_be_chosen(visitor: Visitor) -> None:
    page = visitor.visit()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    theme = page.get_by_role("button", name="Colours")
    theme.click()
    expect(theme).to_have_accessible_name("Colours: Light")
    theme.click()
    expect(theme).to_have_accessible_name("Colours: Dark")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
