"""The parts of a data set's page beside its tags: what was left out, margins, sizes, copies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kaogen.data.page.report_html import Html, Part, bar, h, percent, section, table
from kaogen.data.page.report_pictures import from_file

_MOST_PAIRS = 12
_MOST_TWINS = 24
_MOST_REJECTED = 12
_MOST_REASONS = 24
# Shorter edges of faces, in pixels, at which one bar ends and the next begins.
_EDGES: Final = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)


class Summary(Protocol):
    """What a preparation tells in figures; :class:`kaogen.data.preparing.prepare.Report` is one."""

    written: int

    def reasons(self) -> list[tuple[str, int, str]]:
        """``(reason, count, an example's name)``, most frequent first."""


@dataclass(frozen=True)
class Rejected:
    """A face or picture that was left out.

    Attributes:
        name: of the picture.
        reason: why; figures and brackets in it do not make it another reason.
        png: what it looked like, or None.
    """

    name: str
    reason: str
    png: bytes | None = None


@dataclass(frozen=True)
class Twin:
    """A near-duplicate that was left out, and the face that was kept for it.

    Attributes:
        kept: name of the picture of the kept face.
        dropped: name of the picture of the other.
        bits: in which their hashes differ.
        kept_png: the kept face.
        dropped_png: the other.
    """

    kept: str
    dropped: str
    bits: int
    kept_png: bytes | None
    dropped_png: bytes | None


def left_out_section(report: Summary, rejected: Sequence[Rejected]) -> Part | None:
    """The reasons, how often each, and a few of the faces."""
    reasons = report.reasons()
    if not reasons:
        return None
    total = sum(count for _, count, _ in reasons)
    rows = [
        (
            [_reason(reason), h("small", f"such as {example}", _detail(reason, " ({})"))],
            f"{count:,}",
            percent(count / (total + report.written)),
            bar(count / reasons[0][1], "warn"),
        )
        for reason, count, example in reasons[:_MOST_REASONS]
    ]
    lead = (
        f"{total:,} were left out and {report.written:,} kept. "
        "Look at these first: a filter that is too strict shows here."
    )
    counted = table("Reasons", ("Reason", "Count", "Share of all"), rows)
    return section(
        "left-out",
        "Left out",
        lead,
        h("div", counted, class_="card wide stacked"),
        *_faces(rejected),
    )


def _faces(rejected: Sequence[Rejected]) -> list[Html]:
    groups: dict[str, list[Html]] = {}
    for item in rejected:
        shown = groups.setdefault(_kind(item.reason), [])
        picture = from_file(item.png, item.name) if len(shown) < _MOST_REJECTED else None
        if picture is not None:
            words = _detail(item.reason) or item.name
            shown.append(h("figure", picture, h("small", words), class_="thumb"))
    return [
        h("div", h("h3", _reason(kind)), h("div", *shown, class_="thumbs"), class_="card reason")
        for kind, shown in groups.items()
        if shown
    ]


def _detail(reason: str, form: str = "{}") -> str:
    """What stands in brackets, or ""."""
    found = re.search(r"\((.*)\)", reason)
    return form.format(found.group(1)) if found else ""


def _kind(reason: str) -> str:
    return " ".join(re.sub(r"\(.*\)", "", reason).split())


def _reason(reason: str) -> str:
    kind = _kind(reason).rstrip(".,")
    return kind[:1].upper() + kind[1:]


def margins_section(pairs: Sequence[tuple[bytes, bytes]]) -> Part | None:
    """Faces cut tight and with margin, side by side."""
    cards = []
    for number, (tight, margin) in enumerate(pairs[:_MOST_PAIRS], 1):
        pictures = from_file(tight, f"Face {number}, tight"), from_file(margin, "with margin")
        if None in pictures:
            continue
        words = ("tight", "with margin")
        halves = [h("div", p, h("small", w)) for p, w in zip(pictures, words, strict=True)]
        cards.append(h("figure", h("div", *halves, class_="pair"), class_="card flush"))
    if not cards:
        return None
    lead = (
        "The finder's box, and what went into the data set: with margin, hair, ears and ornaments "
        "stay whole."
    )
    grid = h("div", *cards, class_="grid pairs", style="--least:220px")
    return section("margin", "Tight and with margin", lead, grid)


def sizes_section(sizes: Sequence[int], edge: int) -> Part | None:
    """How large the faces are in their pictures, against the data set's own ``edge``."""
    if not len(sizes):
        return None
    counts = [0] * (len(_EDGES) + 1)
    for size in sizes:
        counts[sum(size >= limit for limit in _EDGES)] += 1
    used = [place for place, count in enumerate(counts) if count]
    rows = []
    for place in range(used[0], used[-1] + 1):
        low = _EDGES[place - 1] if place else 1
        name = f"{low}–{_EDGES[place] - 1}" if place < len(_EDGES) else f"{low} and more"
        kind = "warn" if low < edge else ""
        share = counts[place] / len(sizes)
        rows.append(
            (name, f"{counts[place]:,}", percent(share), bar(counts[place] / max(counts), kind))
        )
    smaller = sum(size < edge for size in sizes)
    middle = sorted(sizes)[len(sizes) // 2]
    lead = (
        f"The shorter edge of each face in its own picture, in pixels; half are {middle:,} or "
        f"more. {smaller:,} ({percent(smaller / len(sizes))}) are smaller than the "
        f"data set's {edge}."
    )
    counted = table("Faces by size", ("Pixels", "Faces", "Share"), rows)
    return section("sizes", "Sizes", lead, h("div", counted, class_="card wide"))


def twins_section(twins: Sequence[Twin]) -> Part | None:
    """Near-duplicates side by side, the most different ones first."""
    cards = []
    for twin in sorted(twins, key=lambda t: (-t.bits, t.dropped))[:_MOST_TWINS]:
        kept = from_file(twin.kept_png, f"Kept: {twin.kept}")
        dropped = from_file(twin.dropped_png, f"Left out: {twin.dropped}")
        if kept is None or dropped is None:
            continue
        halves = [
            h("div", kept, h("small", f"kept: {twin.kept}")),
            h("div", dropped, h("small", f"left out: {twin.dropped}")),
        ]
        bits = "1 bit" if twin.bits == 1 else f"{twin.bits} bits"
        caption = h("figcaption", h("b", f"{bits} apart"))
        cards.append(h("figure", caption, h("div", *halves, class_="pair"), class_="card flush"))
    if not cards:
        return None
    lead = (
        "Of two faces whose hashes differ in few bits the larger one is kept. The most different "
        "pairs come first: are they still the same? Two expressions of one drawing are told apart "
        "by their tags only; without tags, prepare with --duplicates -1 to keep both."
    )
    grid = h("div", *cards, class_="grid pairs", style="--least:220px")
    return section("copies", "Near-duplicates", lead, grid)


def facts_section(facts: Sequence[tuple[str, str]]) -> Part:
    """How the data set was made, and what identifies it."""
    rows = [[h("dt", name), h("dd", _value(value))] for name, value in facts if value]
    listed = h("dl", *rows, class_="facts")
    return section("made", "How it was made", None, h("div", listed, class_="card"))


def _value(value: str) -> str | Html:
    looks_typed = value.startswith("kaogen ") or re.fullmatch(r"[0-9a-f]{16,}", value)
    return h("code", value) if looks_typed else value
