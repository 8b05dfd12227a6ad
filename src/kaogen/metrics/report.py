"""One page that shows an evaluation: ``report.html``, self-contained, without scripts.

It shows training faces, beside the pictures that come nearest to them: whoever may not publish the
data set may not publish this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaogen import __version__
from kaogen.data.page.report_html import Child, Html, h, navigation, page
from kaogen.data.page.report_pictures import sheet
from kaogen.metrics import report_faces, report_figures
from kaogen.metrics.evaluate import Evaluation
from kaogen.metrics.reals import Reals
from kaogen.metrics.report_text import percent
from kaogen.metrics.subject import Subject

_STYLE = Path(__file__).with_name("report.css")
_HERO = 24


def write_report(
    path: Path,
    evaluations: Sequence[Evaluation],
    subjects: Sequence[Subject],
    reals: Reals,
    document: dict[str, Any],
) -> int:
    """Write the page, whole or not at all; returns its size in bytes.

    Args:
        path: the HTML file.
        evaluations: one model, or two side by side.
        subjects: the same models, to draw their characters again.
        reals: the faces that they were compared with.
        document: the evaluation as JSON; networks and data are taken from it.
    """
    parts = [
        report_faces.samples(evaluations, subjects, reals),
        report_figures.obedience(evaluations),
        report_faces.switches(evaluations, subjects),
        report_figures.realism(evaluations),
        report_faces.originality(evaluations, subjects, reals),
        report_faces.truncation(evaluations, subjects),
        report_faces.smoothness(evaluations, subjects),
        report_figures.coverage(evaluations),
        report_figures.method(evaluations, document),
    ]
    title = " and ".join(e.model for e in evaluations)
    footer = (
        f"Made by kaogen {__version__}. This page shows training faces: publish it only "
        "where you may publish those."
    )
    text = page(
        f"{title} · kaogen evaluation",
        h("header", h("div", _hero(title, evaluations, subjects), class_="wrap")),
        navigation(parts),
        h("main", *(part.html for part in parts), class_="wrap"),
        h("footer", h("div", footer, class_="wrap")),
        style=_STYLE.read_text(encoding="utf-8"),
    )
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return len(data)


def _hero(title: str, evaluations: Sequence[Evaluation], subjects: Sequence[Subject]) -> Html:
    first = evaluations[0]
    lead = (
        f"{first.plan.count:,} characters of {first.resolution} × {first.resolution} pixels"
        f"{' per model' if len(evaluations) > 1 else ''}, judged by "
        f"{' and '.join(o.judge for o in first.obedience)}, beside {first.realism[0].count:,} real "
        "faces."
    )
    faces = report_faces.characters(first, subjects[0], _HERO, first.psi)
    return h(
        "div",
        h(
            "div",
            h("p", "kaogen evaluation", class_="eyebrow"),
            h("h1", title),
            h("p", lead, class_="lead"),
            h("dl", *_tiles(evaluations), class_="tiles", style="--columns:2"),
        ),
        sheet(faces, 6, f"{len(faces)} characters drawn by {first.model}", 96),
        class_="hero",
    )


def _tiles(evaluations: Sequence[Evaluation]) -> list[Html]:
    """The four figures that say most, each with what real faces reach."""
    first = evaluations[0]
    o, r, c, near = first.obedience[0], first.realism[0], first.coverage, first.originality[0]
    told: list[tuple[str, list[str], str]] = [
        (
            f"obedience, by {o.judge}",
            [f"{e.obedience[0].mean:.1%}" for e in evaluations],
            f"{o.ceiling:.1%}",
        ),
        (
            f"Fréchet distance, by {r.features}",
            [f"{e.realism[0].model['frechet'].value:.3g}" for e in evaluations],
            f"{r.floor['frechet'].value:.3g}",
        ),
        (
            "real looks reached",
            [percent(e.coverage.looks) for e in evaluations],
            percent(c.real_looks),
        ),
        (
            "closer to a training face than real",
            [percent(e.originality[0].closer) for e in evaluations],
            percent(near.real_closer),
        ),
    ]
    tiles = []
    for words, values, real in told:
        label: list[Child] = [words, h("small", f"real faces: {real}")]
        tiles.append(h("div", h("dt", label), h("dd", _side_by_side(values))))
    return tiles


def _side_by_side(values: Sequence[str]) -> list[Html]:
    """One figure per model, in the models' colours where there are two."""
    if len(values) == 1:
        return [h("span", values[0])]
    return [h("span", value, class_=report_figures.kind(i)) for i, value in enumerate(values)]
