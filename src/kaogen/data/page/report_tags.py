"""The tags of a data set on its page: counts, co-occurrence, a sheet of faces for each, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kaogen.data.page.report_html import Html, Part, bar, h, percent, section, table, text
from kaogen.data.page.report_pictures import Pixels, image, sheet
from kaogen.tags import Vocabulary

# A vocabulary may have thousands of tags; a page shows the most frequent ones.
_MOST_TAGS = 240
_MOST_SHEETS = 60
_MOST_IN_HEAT = 48
_FACES_PER_SHEET = 12
_COLUMNS = 6
_SCORES_SHOWN = 12
_TIES = 14
_LEAST_LIFT = 1.2
_CELL: Final = 15
_MARGIN: Final = 92

Face = Callable[[int], Pixels]


@dataclass(frozen=True)
class Tags:
    """The labels of a data set as the page needs them.

    Attributes:
        names: of the L columns.
        shown: bool ``[N, L]``, whether the face has the tag.
        vocabulary: the names with their groups, or None where the file names none.
    """

    names: tuple[str, ...]
    shown: npt.NDArray[np.bool_]
    vocabulary: Vocabulary | None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Faces per tag ``[L]``."""
        found: npt.NDArray[np.int64] = self.shown.sum(axis=0, dtype=np.int64)
        return found

    def frequent(self, most: int) -> list[int]:
        """Columns that any face has, the most frequent ones, by count and then by place."""
        counts = self.counts
        order = sorted(range(len(self.names)), key=lambda i: (-counts[i], i))
        return [i for i in order[:most] if counts[i]]

    def grouped(self, columns: Iterable[int]) -> list[tuple[str, list[int]]]:
        """``(group, its columns)`` in the vocabulary's order, each sorted as given."""
        if self.vocabulary is None:
            return [("labels", list(columns))]
        group_of = {name: group.name for group in self.vocabulary.groups for name in group.tags}
        found: dict[str, list[int]] = {group.name: [] for group in self.vocabulary.groups}
        for i in columns:
            found[group_of[self.names[i]]].append(i)
        return [(name, members) for name, members in found.items() if members]


def tag_section(tags: Tags) -> Part:
    """How many faces show each tag, by group."""
    counts, total = tags.counts, len(tags.shown)
    columns = tags.frequent(_MOST_TAGS)
    most = max((int(counts[i]) for i in columns), default=1)
    cards = []
    for group, members in tags.grouped(columns):
        rows = [
            (tags.names[i], f"{counts[i]:,}", percent(counts[i] / total), bar(counts[i] / most))
            for i in members
        ]
        caption = f"Faces with each tag of {group}"
        cards.append(h("div", h("h3", group), table(caption, _TAG_HEAD, rows), class_="card"))
    per_face = tags.shown.sum(axis=1)
    used, without = int((counts > 0).sum()), int((per_face == 0).sum())
    lead = f"{used:,} of {len(tags.names):,} tags are used, {per_face.mean():.1f} on a face."
    if without:
        lead += f" {without:,} faces have none."
    if used > len(columns):
        lead += f" The {len(columns)} most frequent ones are listed."
    return section("tags", "Tags", lead, h("div", *cards, class_="columns"), _unused(tags))


_TAG_HEAD = ("Tag", "Faces", "Share")


def _unused(tags: Tags) -> Html | None:
    missing = [name for name, count in zip(tags.names, tags.counts, strict=True) if not count]
    if not missing:
        return None
    more = f" and {len(missing) - 60:,} more" if len(missing) > 60 else ""
    words = text(f"On no face: {', '.join(missing[:60])}{more}.", limit=None)
    return h("p", words, class_="note")


def together_section(tags: Tags) -> Part | None:
    """Which tags come together: a heat map, and the strongest ties as words."""
    columns = [i for _, members in tags.grouped(tags.frequent(_MOST_IN_HEAT)) for i in members]
    if len(columns) < 2:
        return None
    shown = tags.shown[:, columns].astype(np.float32)
    both = (shown.T @ shown).astype(np.float64)
    counts = np.diag(both).copy()
    names = [tags.names[i] for i in columns]
    share = both / counts[:, None]
    lead = (
        "Of the faces with the row's tag, the share that has the column's too: the stronger the "
        "colour, the more. A model cannot tell two tags apart that always come together."
    )
    heat = h(
        "div",
        _heat(names, share),
        class_="card heat",
        tabindex="0",
        role="region",
        aria_label="Heat map of tags, may be scrolled sideways",
    )
    ties = _ties(names, counts, both, len(shown))
    return section(
        "together", "Together", lead, h("div", heat, ties, class_="split" if ties else None)
    )


def _heat(names: Sequence[str], share: npt.NDArray[np.float64]) -> Html:
    edge = len(names) * _CELL
    parts: list[Html] = [h("rect", class_="paper", x=_MARGIN, y=_MARGIN, width=edge, height=edge)]
    for row, name in enumerate(names):
        middle = _MARGIN + row * _CELL + _CELL / 2
        short = name if len(name) <= 16 else name[:15] + "…"
        parts.append(h("text", short, x=_MARGIN - 6, y=middle + 4, text_anchor="end"))
        turn = f"translate({middle + 4:g} {_MARGIN - 6}) rotate(-90)"
        parts.append(h("text", short, transform=turn))
        for column, other in enumerate(names):
            value = float(share[row, column])
            if value < 0.01:
                continue
            x, y = _MARGIN + column * _CELL, _MARGIN + row * _CELL
            place = {"x": x, "y": y, "width": _CELL - 1, "height": _CELL - 1}
            if row == column:
                parts.append(h("rect", class_="self", **place))
                continue
            told = h("title", f"{name}: {percent(value)} are also {other}")
            parts.append(h("rect", told, fill_opacity=f"{value:.2f}", **place))
    size = _MARGIN + edge
    label = f"Co-occurrence of {len(names)} tags"
    return h(
        "svg",
        *parts,
        viewBox=f"0 0 {size} {size}",
        role="img",
        aria_label=label,
        style=f"--most:{1.4 * size:.0f}px",
    )


def _ties(
    names: Sequence[str],
    counts: npt.NDArray[np.float64],
    both: npt.NDArray[np.float64],
    total: int,
) -> Html | None:
    """The pairs that come together most beyond chance, among those that are not rare."""
    least = max(3.0, total / 1000)
    lift = both * total / np.outer(counts, counts)
    lift[both < least] = 0
    upper = np.triu(lift, 1)
    order = np.argsort(-upper, axis=None, kind="stable")[:_TIES]
    best = float(upper.max())
    rows = []
    for place in order:
        a, b = divmod(int(place), len(names))
        if upper[a, b] < _LEAST_LIFT:
            break
        few, many = (a, b) if counts[a] <= counts[b] else (b, a)
        share = percent(both[a, b] / counts[few])
        rows.append(
            (f"{names[few]} → {names[many]}", share, _times(upper[a, b]), bar(upper[a, b] / best))
        )
    if not rows:
        return None
    head = h("h3", "Strongest ties", h("small", "and how many times chance"))
    counted = table("Strongest ties", ("Tags", "Share of the first", "Times chance"), rows)
    return h("div", head, counted, class_="card ties")


def _times(lift: float) -> str:
    return f"× {lift:.1f}" if lift < 10 else f"× {lift:.0f}"


def sheets_section(tags: Tags, face: Face) -> Part:
    """A sheet of faces for each tag, to see at a glance whether the tag is right."""
    counts, total = tags.counts, len(tags.shown)
    columns = [i for _, members in tags.grouped(tags.frequent(_MOST_SHEETS)) for i in members]
    cards = []
    for i in columns:
        chosen = spread(np.flatnonzero(tags.shown[:, i]), _FACES_PER_SHEET)
        alt = f"{len(chosen)} faces tagged {tags.names[i]}"
        told = h("span", f"{counts[i]:,} · {percent(counts[i] / total)}")
        caption = h("figcaption", h("b", tags.names[i]), told)
        picture = sheet([face(int(k)) for k in chosen], _COLUMNS, alt)
        cards.append(h("figure", caption, picture, class_="card flush"))
    lead = "Faces from all over the data set for each tag. Odd ones out are wrong labels."
    return section("sheets", "Faces by tag", lead, h("div", *cards, class_="grid"))


def scores_section(
    names: Sequence[str],
    scores: npt.NDArray[np.float16],
    tags: Tags | None,
    face: Face,
) -> Part | None:
    """Faces with what the tagger gave them, sorted, as the paper's Figures 3 and 4."""
    seen = np.flatnonzero(~np.isnan(scores).any(axis=1))
    if not len(seen) or not len(names):
        return None
    cards = []
    for k in spread(seen, 6):
        row = scores[k].astype(np.float64)
        kept = set() if tags is None else {tags.names[i] for i in np.flatnonzero(tags.shown[k])}
        best = sorted(range(len(names)), key=lambda i: (-row[i], i))[:_SCORES_SHOWN]
        rows = [
            (names[i], f"{row[i]:.2f}", bar(row[i], "" if not kept or names[i] in kept else "dim"))
            for i in best
        ]
        title = f"Scores of face {k + 1:,}, highest first"
        cards.append(
            h(
                "div",
                h("div", image(face(int(k)), f"Face {k + 1:,}"), table(title, _SCORE_HEAD, rows),
                  class_="told"),
                class_="card",
            )
        )  # fmt: skip
    lead = "What the tagger saw, sorted. Full bars became labels, pale ones did not."
    return section("scores", "Scores", lead, h("div", *cards, class_="grid"))


_SCORE_HEAD = ("Tag", "Score")


def spread(items: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of the items, from all over, the same ones each time."""
    if len(items) <= most:
        return items
    return items[((np.arange(most) + 0.5) * len(items) / most).astype(np.intp)]
