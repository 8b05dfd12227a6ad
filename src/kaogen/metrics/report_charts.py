"""Charts of a report as inline SVG, in the page's own colours: light and dark, any width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kaogen.data.page.report_html import Html, h

_WIDTH, _HEIGHT = 360, 170
_LEFT, _BOTTOM, _TOP = 36, 22, 8


@dataclass(frozen=True)
class Series:
    """One line, histogram or row of bars.

    Attributes:
        name: for the legend and for screen readers.
        kind: its colour: "s0" the model, "s1" the second model, "real" real faces.
        values: as many as there are places along the chart; shares are 0..1.
    """

    name: str
    kind: str
    values: Sequence[float]


def legend(series: Sequence[tuple[str, str]]) -> Html:
    """Which colour is what: (name, kind) in order."""
    return h("ul", [h("li", h("i"), name, class_=kind) for name, kind in series], class_="legend")


def histogram(edges: Sequence[float], series: Sequence[Series], label: str) -> Html:
    """Shares per bin, laid over each other; `edges` has one number more than each series."""
    top = max((max(s.values) for s in series), default=0) or 1
    x = _scale(edges[0], edges[-1], _LEFT, _WIDTH)
    y = _scale(0, top, _HEIGHT - _BOTTOM, _TOP)
    shapes = []
    for one in series:
        points = [f"M{x(edges[0]):.1f},{y(0):.1f}"]
        for i, value in enumerate(one.values):
            points.append(f"V{y(value):.1f}H{x(edges[i + 1]):.1f}")
        path = "".join([*points, f"V{y(0):.1f}Z"])
        shapes.append(h("path", h("title", one.name), d=path, class_=f"{one.kind} fill"))
    ticks = [edges[0] + (edges[-1] - edges[0]) * k / 4 for k in range(5)]
    words = [_text(x(t), _HEIGHT - 5, f"{t:.3g}") for t in ticks[:-1]]
    words.append(_text(_WIDTH, _HEIGHT - 5, f"{ticks[-1]:.3g}", "end"))
    words += [_text(_LEFT - 6, y(v) + 4, f"{v:.0%}", "end") for v in (0, top)]
    return _plot([_rule(y(0)), *shapes, *words], label)


def lines(places: Sequence[float], series: Sequence[Series], label: str, *, share: bool) -> Html:
    """Values against places, from 0 up; with `share` the axis ends at 1 or above."""
    top = max([v for s in series for v in s.values] + ([1.0] if share else []), default=1) or 1
    x = _scale(places[0], places[-1] if len(places) > 1 else places[0] + 1, _LEFT + 8, _WIDTH - 10)
    y = _scale(0, top, _HEIGHT - _BOTTOM, _TOP)
    shapes = []
    for one in series:
        spots = [(x(p), y(max(0.0, v))) for p, v in zip(places, one.values, strict=True)]
        path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in spots)
        shapes.append(h("path", d=path, class_=f"{one.kind} line"))
        for (a, b), place, value in zip(spots, places, one.values, strict=True):
            told = h("title", f"{one.name}, psi {place:g}: {value:.3g}")
            dot = h("circle", told, cx=f"{a:.1f}", cy=f"{b:.1f}", r=3.5, class_=f"{one.kind} dot")
            shapes.append(dot)
    words = [_text(x(p), _HEIGHT - 5, f"{p:g}") for p in places]
    for value in (0.0, top / 2, top):
        words.append(
            _text(_LEFT - 6, y(value) + 4, f"{value:.0%}" if share else f"{value:.3g}", "end")
        )
    rules = [_rule(y(value)) for value in (0.0, top / 2, top)]
    return _plot([*rules, *shapes, *words], label)


def share_bars(rows: Sequence[tuple[str, float, float, float]], tick: float | None) -> Html:
    """A small chart for a table's cell: (kind, share, low, high) per bar, and a tick to reach.

    It repeats figures that stand beside it, so it is hidden from screen readers.
    """
    thick = 22 / max(1, len(rows))
    shapes: list[Html] = []
    for i, (kind, share, low, high) in enumerate(rows):
        top, middle = i * thick + 1, (i + 0.5) * thick
        bar = {"y": f"{top:.1f}", "height": f"{thick - 2:.1f}", "rx": "3"}
        shapes.append(h("rect", width=200, class_="track", **bar))
        shapes.append(h("rect", width=f"{200 * share:.1f}", class_=f"{kind} share", **bar))
        ends = {"x1": f"{200 * low:.1f}", "x2": f"{200 * high:.1f}"}
        shapes.append(h("line", y1=f"{middle:.1f}", y2=f"{middle:.1f}", class_="span", **ends))
    if tick is not None:
        place = f"{min(199.0, 200 * tick):.1f}"
        shapes.append(h("line", x1=place, x2=place, y1=0, y2=22, class_="tick"))
    return h(
        "svg",
        *shapes,
        viewBox="0 0 200 22",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="plot",
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def _text(x: float, y: float, words: str, anchor: str = "middle") -> Html:
    return h("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _rule(y: float) -> Html:
    return h("line", x1=_LEFT, x2=_WIDTH, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="axis")


def _plot(shapes: Sequence[Html], label: str) -> Html:
    return h(
        "svg",
        *shapes,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=label,
        class_="plot",
    )
