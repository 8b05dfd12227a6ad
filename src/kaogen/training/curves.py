"""`curves.png`: what the figures of a run did, in small charts over thousands of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from kaogen.training.canvas import (
    ACCENT,
    CARD,
    FAINT,
    INK,
    LINES,
    PAPER,
    RULE,
    font,
    save_whole,
    shortened,
)

NAME = "curves.png"
Points = list[tuple[float, float]]

_FINE = 2  # drawn so many times larger and reduced, for smooth lines
_WIDE, _HIGH = 560, 300  # of a chart
_GAP, _MARGIN, _HEAD = 16, 24, 74


@dataclass(frozen=True)
class Chart:
    """One chart of the table below.

    Attributes:
        title: what it shows.
        lines: (key in `progress.jsonl`, name in the legend).
        low, high: bounds that the axis shows in any case, None for as the data have it.
        hint: what is good, in a few words.

    """

    title: str
    lines: tuple[tuple[str, str], ...]
    low: float | None = None
    high: float | None = None
    hint: str = ""


CHARTS = (
    Chart(
        "Losses", (("d", "D"), ("g", "G"), ("tags", "tags")), hint="steady is good; near 0 is not"
    ),
    Chart(
        "Scores that D gives",
        (("real", "real"), ("held", "held out"), ("fake", "fake")),
        hint="held out should stay with real",
    ),
    Chart(
        "Overfitting",
        (("rt", "r_t"), ("rv", "r_v"), ("p", "augmentation p")),
        low=0.0,
        high=1.0,
        hint="lower is better",
    ),
    Chart(
        "Variety, real faces being 1",
        (("variety", "of all faces"), ("z_variety", "by z alone")),
        low=0.0,
        high=1.2,
        hint="falling toward 0 is collapse",
    ),
    Chart("Images a second", (("rate", "rate"),), low=0.0),
    Chart("Penalties", (("r1", "R1"), ("r2", "R2"), ("gp", "GP"), ("path", "path length"))),
)


def draw(
    ticks: Sequence[dict[str, Any]], starts: Sequence[int], title: str, warning: str = ""
) -> Image.Image:
    """The charts that there are figures for, two in a row.

    Args:
        ticks: from `progress.history`.
        starts: images seen where the run was gone on from.
        title: above all.
        warning: what is wrong now; empty when nothing is.

    """
    charts = [c for c in CHARTS if any(key in tick for tick in ticks for key, _ in c.lines)]
    down = max(1, -(-len(charts) // 2))
    width = 2 * _MARGIN + 2 * _WIDE + _GAP
    height = _HEAD + down * (_HIGH + _GAP) + _MARGIN - _GAP
    page = Image.new("RGB", (width * _FINE, height * _FINE), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN * _FINE, 16 * _FINE), title, INK, font(24 * _FINE))
    under = warning or "Each point is the mean of one tick; upright lines are restarts."
    under = shortened(under, font(13 * _FINE), (width - 2 * _MARGIN) * _FINE)
    colour = ACCENT if warning else FAINT
    pen.text((_MARGIN * _FINE, 47 * _FINE), under, colour, font(13 * _FINE))
    end = max((tick["seen"] for tick in ticks), default=1) / 1000
    for number, chart in enumerate(charts):
        row, column = divmod(number, 2)
        x = _MARGIN + column * (_WIDE + _GAP)
        y = _HEAD + row * (_HIGH + _GAP)
        Panel(pen, chart, x, y, end).draw(ticks, [s / 1000 for s in starts])
    return page.resize((width, height), Image.Resampling.LANCZOS)


def save(run: Path, page: Image.Image) -> Path:
    """Write `curves.png`."""
    save_whole(page, run / NAME)
    return run / NAME


def points(ticks: Sequence[dict[str, Any]], key: str) -> Points:
    """(kimg, value) of each tick that has a finite figure of that name."""
    found = ((tick["seen"] / 1000, tick.get(key)) for tick in ticks)
    return [(x, float(y)) for x, y in found if isinstance(y, int | float) and math.isfinite(y)]


class Panel:
    """One chart on the page; all sizes in pixels of the finished picture.

    Args:
        pen: draws on the enlarged page.
        chart: what to show.
        x, y: its upper left corner.
        end: kimg at the right edge.

    """

    def __init__(self, pen: ImageDraw.ImageDraw, chart: Chart, x: int, y: int, end: float) -> None:
        self.pen, self.chart, self.x, self.y, self.end = pen, chart, x, y, max(end, 1e-3)
        self.left, self.right = x + 62, x + _WIDE - 20
        self.top, self.bottom = y + 58, y + _HIGH - 34
        self.low, self.high = 0.0, 1.0

    def draw(self, ticks: Sequence[dict[str, Any]], starts: Sequence[float]) -> None:
        """Frame, axes, legend, lines."""
        lines = [(name, points(ticks, key)) for key, name in self.chart.lines]
        lines = [(name, line) for name, line in lines if line]
        self.low, self.high = bounds(self.chart, [y for _, line in lines for _, y in line])
        corner = (self.x + _WIDE, self.y + _HIGH)
        self.pen.rounded_rectangle(
            self._fine(self.x, self.y, *corner), 8 * _FINE, CARD, RULE, _FINE
        )
        self._text(self.x + 16, self.y + 12, self.chart.title, INK, 15)
        self._text(self.right, self.y + 14, self.chart.hint, FAINT, 12, "ra")
        self._axes(starts)
        at = float(self.x + 16)
        for number, (name, line) in enumerate(lines):
            colour = LINES[number % len(LINES)]
            self._line(line, colour)
            told = f"{name} {figure(line[-1][1])}"
            self.pen.ellipse(self._fine(at, self.y + 39, at + 8, self.y + 47), colour)
            self._text(at + 13, self.y + 35, told, INK, 13)
            at += 13 + font(13 * _FINE).getlength(told) / _FINE + 18

    def _axes(self, starts: Sequence[float]) -> None:
        for value in steps(self.low, self.high, 5):
            y = self._place(0, value)[1]
            self.pen.line(self._fine(self.left, y, self.right, y), RULE, _FINE)
            self._text(self.left - 8, y, figure(value), FAINT, 12, "rm")
        for value in steps(0, self.end, 6):
            x = self._place(value, self.low)[0]
            self._text(x, self.bottom + 8, figure(value), FAINT, 12, "ma")
        for start in starts:
            if 0 < start <= self.end:
                x = self._place(start, self.low)[0]
                self.pen.line(self._fine(x, self.top, x, self.bottom), "#c3c7d4", _FINE)
        self._text(self.x + 16, self.bottom + 8, "kimg", FAINT, 12)

    def _line(self, line: Points, colour: str) -> None:
        places = [self._place(*point) for point in line]
        flat = [c * _FINE for place in places for c in place]
        if len(places) > 1:
            self.pen.line(flat, colour, 2 * _FINE, joint="curve")
        if len(places) <= 40:
            for x, y in places:
                self.pen.ellipse(self._fine(x - 2.5, y - 2.5, x + 2.5, y + 2.5), colour)

    def _place(self, kimg: float, value: float) -> tuple[float, float]:
        across = self.left + (self.right - self.left) * kimg / self.end
        share = (value - self.low) / (self.high - self.low)
        return across, self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, share))

    @staticmethod
    def _fine(*edges: float) -> list[float]:
        return [edge * _FINE for edge in edges]

    def _text(
        self, x: float, y: float, words: str, colour: str, size: int, anchor: str = "la"
    ) -> None:
        self.pen.text((x * _FINE, y * _FINE), words, colour, font(size * _FINE), anchor)


def bounds(chart: Chart, values: Sequence[float]) -> tuple[float, float]:
    """Where an axis begins and ends.

    A single wild tick must not flatten all others: the highest hundredth is cut off where it
    is far from the rest.
    """
    ordered = sorted(values) or [0.0, 1.0]
    low, high = ordered[0], ordered[-1]
    body = max(ordered[int(0.98 * (len(ordered) - 1))] - low, 0.05 * abs(low))
    if high - low > 6 * body > 0:
        high = low + 1.5 * body
    low = low if chart.low is None else min(chart.low, low)
    high = high if chart.high is None else max(chart.high, high)
    if high - low < 1e-9:
        high = low + max(abs(low) * 0.1, 0.1)
    air = 0.06 * (high - low)
    return (
        low if chart.low is not None and low >= chart.low else low - air,
        high if chart.high is not None and high <= chart.high else high + air,
    )


def steps(low: float, high: float, most: int) -> list[float]:
    """Round values between two ends, at most `most` and one more."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / size - 1e-9)
    last = math.floor(high / size + 1e-9)
    return [i * size for i in range(first, last + 1)]


def figure(value: float) -> str:
    """A number as short as it can be read: 0.035, 1.33, 24, 1,200."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size < 1e-3:
        return f"{value:.0e}"
    return f"{value:.3g}"
