"""HTML from untrusted words: everything is escaped unless it was built here.

``h("p", name, class_="note")`` gives ``<p class="note">...</p>``. A child that is a plain string is
text; only :class:`Html`, which :func:`h` returns, is markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Final

_VOID: Final = frozenset({"meta", "img", "br", "hr", "col"})
# Nothing is fetched and nothing runs, whatever a file's name says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'"
_LONGEST_TEXT = 300


class Html(str):
    """A string that is markup."""

    __slots__ = ()


Child = str | int | Html | Iterable["Child"] | None


def h(element: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element. ``class_`` becomes ``class``, ``aria_label`` ``aria-label``.

    Attributes that are None or False are left out; children that are None too; lists are laid flat.
    """
    words = [element]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f'{name}="{text(str(value), limit=None)}"')
    start = f"<{' '.join(words)}>"
    if element in _VOID:
        return Html(start)
    return Html(f"{start}{join(children)}</{element}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other, plain strings escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int):
            parts.append(text(str(child)))
        else:
            parts.append(join(child))
    return Html("".join(parts))


def text(words: str, limit: int | None = _LONGEST_TEXT) -> Html:
    """Escape words. What cannot be seen, such as marks that turn the writing round, shows as �."""
    if limit is not None and len(words) > limit:
        words = words[: limit - 1] + "…"
    seen = "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in words)
    return Html(escape(seen, quote=True))


def page(title: str, *body: Child, style: str = "") -> str:
    """A whole page in the look of kaogen's site, light and dark, without scripts.

    ``style`` is more CSS, trusted, after the shared one.
    """
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="robots", content="noindex"),
        h("title", title),
        Html(f"<style>{_style()}{style}</style>"),
    )
    return f"<!doctype html>\n{h('html', head, h('body', *body), lang='en')}\n"


@dataclass(frozen=True)
class Part:
    """One part of a page: what the page's list of parts links to, and the part itself."""

    anchor: str
    title: str
    html: Html


def section(anchor: str, title: str, lead: Child, *body: Child) -> Part:
    """One part of a page, with a heading and a sentence that says what is seen."""
    words = h("p", lead, class_="lead") if lead else None
    head = h("header", h("h2", title, id=f"{anchor}-title"), words)
    whole = h("section", head, *body, id=anchor, aria_labelledby=f"{anchor}-title")
    return Part(anchor, title, whole)


def navigation(parts: Iterable[Part]) -> Html:
    """Links to the parts, which stay at the top of the page."""
    links = [h("li", h("a", part.title, href=f"#{part.anchor}")) for part in parts]
    return h("nav", h("ul", *links, class_="wrap"), aria_label="Parts of this page")


def bar(share: float, kind: str = "") -> Html:
    """A bar of ``share`` in [0, 1] of the width; the figure must stand beside it as text."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    fill = h("span", style=f"width:{width}", class_=kind or None)
    return h("span", fill, class_="bar", aria_hidden="true")


def table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[Child]]) -> Html:
    """A table of bars: the first cell of each row is its heading, the last one is the bar.

    ``columns`` names all cells but the bar; caption and headings are for screen readers alone.
    """
    headings = [h("th", name, scope="col") for name in columns]
    lines = []
    for row in rows:
        first, *rest = row
        cells = [h("td", cell) for cell in rest]
        lines.append(h("tr", h("th", first, scope="row"), *cells))
    return h(
        "table",
        h("caption", caption, class_="quiet"),
        h("thead", h("tr", *headings, h("td")), class_="quiet"),
        h("tbody", *lines),
        class_="bars",
    )


def percent(share: float) -> str:
    """12.3%, and 0.04% where one decimal would say nothing."""
    value = 100 * share
    return f"{value:.1f}%" if value >= 0.95 or value == 0 else f"{value:.2f}%"


@lru_cache(maxsize=1)
def _style() -> str:
    return (files("kaogen") / "data" / "page" / "report.css").read_text(encoding="utf-8")
