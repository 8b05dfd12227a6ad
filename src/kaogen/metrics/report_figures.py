"""The parts of a report that are figures: realism, obedience, truncation, coverage, method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaogen.data.page.report_html import Child, Html, Part, h, section
from kaogen.metrics.distances import Estimate
from kaogen.metrics.evaluate import Evaluation
from kaogen.metrics.obedience import IDENTITY, Obedience, TagResult
from kaogen.metrics.rates import Rate
from kaogen.metrics.report_charts import Series, legend, lines, share_bars
from kaogen.metrics.report_text import FIGURES, made_form, percent

_NAMES = {
    "frechet": "Fréchet distance",
    "kernel": "Kernel distance × 1000",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
}
_BEST = {"frechet": "lower is better", "kernel": "lower is better", "density": "about 1 is best"}


def kind(place: int) -> str:
    """The colour of a model by its place."""
    return f"s{min(place, 1)}"


def badge(independent: bool) -> Html:
    """Whether a network had a part in training the model."""
    words = "independent" if independent else "not independent"
    return h("span", words, class_="badge" if independent else "badge warned")


def figures(caption: str, columns: Sequence[Child], rows: Sequence[Sequence[Child]]) -> Html:
    """A table of figures that scrolls sideways where it must, by touch and by keyboard."""
    head = h("thead", h("tr", [h("th", c, scope="col") for c in columns]))
    lines_ = [h("tr", h("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    body = h("table", h("caption", caption), head, h("tbody", lines_), class_="figures")
    return h("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)


def realism(evaluations: Sequence[Evaluation]) -> Part:
    """Distances, per network, beside what real faces reach."""
    cards = []
    for i, part in enumerate(evaluations[0].realism):
        rows = []
        for name in FIGURES:
            scale = 1000 if name == "kernel" else 1
            cells = [_estimate(e.realism[i].model[name], scale) for e in evaluations]
            better = _BEST.get(name, "higher is better")
            label = h("span", _NAMES[name], h("small", better), class_="model")
            rows.append([label, *cells, _estimate(part.floor[name], scale, real=True)])
        told = [part.note[:1].upper() + part.note[1:], part.model["frechet"].note]
        cards.append(
            h(
                "div",
                h("h3", part.features, badge(part.independent)),
                figures(
                    f"{part.count:,} pictures against {part.count:,} real faces",
                    ["", *(e.model for e in evaluations), "real against real"],
                    rows,
                ),
                h("p", " ".join(filter(None, told)), class_="note") if any(told) else None,
                class_="card",
            )
        )
    lead = (
        f"How far the pictures lie from real faces, at psi {evaluations[0].plan.psi:g}. The last "
        "column compares two halves of the real faces with each other: no model can be expected "
        "to do better. Figures hold for one network and one number of pictures each."
    )
    body = h("div", *cards, class_="grid", style="--least:460px")
    return section("realism", "Realism and variety", lead, body)


def obedience(evaluations: Sequence[Evaluation]) -> Part:
    """Per judge: every tag, then the form of MakeGirlsMoe."""
    first, *rest = range(len(evaluations[0].obedience))
    blocks: list[Child] = [_judge(evaluations, first)]
    for i in rest:
        o = evaluations[0].obedience[i]
        summary = h("summary", f"The same by {o.judge} ", badge(o.independent))
        blocks.append(h("details", summary, _judge(evaluations, i)))
    o = evaluations[0].obedience[0]
    lead = (
        f"Of the characters that were asked for a tag, how many show it, and how many of those "
        f"that were not, at psi {o.psi:g}. The mark on each bar is what the judge sees in real "
        "faces labelled with the tag: labels and judge do not always agree."
    )
    return section("obedience", "Obedience", lead, h("div", *blocks, class_="stack"))


def _judge(evaluations: Sequence[Evaluation], place: int) -> Html:
    judged = [e.obedience[place] for e in evaluations]
    several = len(judged) > 1
    found = [{t.tag: t for t in o.tags} for o in judged]
    names = list(dict.fromkeys(t.tag for o in judged for t in o.tags))
    rows = [_tag_row(name, [tags.get(name) for tags in found]) for name in names]
    per_model = ["asked", "unasked"]
    heads = [f"{e.model}: {w}" if several else w for e in evaluations for w in per_model]
    marks = [(e.model, kind(i)) for i, e in enumerate(evaluations)] if several else []
    table = figures(
        f"Each of {judged[0].tags[0].asked.of if judged[0].tags else 0} pictures; 95% intervals",
        ["tag", *heads, "real faces", ""],
        rows,
    )
    return h(
        "div",
        h(
            "div",
            h("h3", f"By {judged[0].judge}", badge(judged[0].independent)),
            legend([*marks, ("what the judge sees in real faces", "tick")]),
            table,
            _unknown(judged[0]),
            class_="card",
        ),
        *(_made(e, o) for e, o in zip(evaluations, judged, strict=True)),
        class_="stack",
    )


def _tag_row(name: str, results: Sequence[TagResult | None]) -> list[Child]:
    cells: list[Child] = [name]
    bars = []
    tick = None
    for i, result in enumerate(results):
        if result is None:
            cells += ["not learnt", ""]
            continue
        low, high = result.asked.interval
        tick = result.real.share if tick is None else tick
        span = h("small", f"{100 * low:.0f} to {100 * high:.0f}")
        cells.append(h("span", percent(result.asked), span, class_="model"))
        cells.append(percent(result.unasked))
        bars.append((kind(i), result.asked.share or 0.0, low, high))
    real = next(r.real for r in results if r is not None)
    return [*cells, h("span", percent(real), class_="real"), share_bars(bars, tick)]


def _unknown(o: Obedience) -> Html | None:
    if not o.unknown:
        return None
    return h("p", f"{o.judge} cannot tell: {', '.join(o.unknown)}.", class_="note")


def _made(e: Evaluation, o: Obedience) -> Html:
    cells = [h("div", h("dt", tag), h("dd", share)) for row in made_form(o) for tag, share in row]
    return h(
        "div",
        h("h3", "In the form of MakeGirlsMoe's report", h("small", e.model)),
        h("dl", *cells, class_="made"),
        h(
            "p",
            "Share of the pictures asked for a tag that show it. There (Jin et al. 2017) people "
            f"looked; here {o.judge} does, and it errs too.",
            class_="note",
        ),
        class_="card",
    )


def truncation_charts(evaluations: Sequence[Evaluation]) -> list[Html]:
    """Cards of distance, obedience, precision, recall and variety against psi."""
    judge = evaluations[0].smoothness.judge
    told = (
        ("frechet", f"Fréchet distance ({judge})", False),
        ("obedience", "Obedience: asked tags that show", True),
        ("precision", "Precision", True),
        ("recall", "Recall", True),
        ("variety", "Variety, over that of real faces", True),
    )
    marks = [(e.model, kind(i)) for i, e in enumerate(evaluations)]
    cards = []
    for name, title, share in told:
        series = [
            Series(e.model, kind(i), [_number(getattr(p, name)) for p in e.truncation])
            for i, e in enumerate(evaluations)
        ]
        psis = [p.psi for p in evaluations[0].truncation]
        label = "; ".join(
            f"{s.name}: "
            + ", ".join(f"{v:.3g} at psi {p:g}" for p, v in zip(psis, s.values, strict=True))
            for s in series
        )
        chart = lines(psis, series, f"{title} against psi. {label}", share=share)
        body = [h("h3", title), legend(marks) if len(marks) > 1 else None, chart]
        cards.append(h("div", *body, class_="card"))
    return cards


def coverage(evaluations: Sequence[Evaluation]) -> Part:
    """Which real label rows are reached."""
    first = evaluations[0].coverage
    rows: list[list[Child]] = []
    for words, name in (
        ("real faces whose hair colour, eye colour and hair length are reached", "looks"),
        ("real faces all of whose judged tags are reached", "rows"),
        ("pictures with tags that no such real face has together", "invented"),
    ):
        cells = [percent(getattr(e.coverage, name)) for e in evaluations]
        rows.append([words, *cells, _real(percent(getattr(first, f"real_{name}")))])
    for words, name in (
        ("mean gap between a tag's shares", "share_gap"),
        ("mean gap between the shares of a pair of tags", "pair_gap"),
    ):
        gaps = [f"{getattr(e.coverage, name):.2%}" for e in evaluations]
        rows.append([words, *gaps, _real(f"{getattr(first, f'real_{name}'):.2%}")])
    heads = [*(e.model for e in evaluations), "real against real"]
    shares: list[list[Child]] = []
    for tag, (_, real) in first.shares.items():
        found = [e.coverage.shares.get(tag, (0.0, 0.0))[0] for e in evaluations]
        bars = [(kind(i), value, value, value) for i, value in enumerate(found)]
        told = [f"{value:.1%}" for value in found]
        shares.append([tag, *told, _real(f"{real:.1%}"), share_bars(bars, real)])
    lead = (
        f"Characters are drawn from real label rows; {first.judge} reads the tags of pictures and "
        "of as many real faces. Two halves of the real faces are the floor: rare combinations do "
        "not meet twice there either."
    )
    body = h(
        "div",
        h("div", figures("Label rows", ["", *heads], rows), class_="card"),
        h(
            "div",
            figures("Share that shows each tag", ["tag", *heads[:-1], "real faces", ""], shares),
            class_="card",
        ),
        class_="stack",
    )
    return section("coverage", "Label rows", lead, body)


def method(evaluations: Sequence[Evaluation], document: dict[str, Any]) -> Part:
    """What was compared, by whom, and how the words are meant."""
    plan, data = evaluations[0].plan, document["data"]
    facts: list[tuple[str, Child]] = [
        ("models", ", ".join(e.model for e in evaluations)),
        ("real faces", f"{data['faces']:,}, all of which the model may have been trained on"),
        ("data set", h("code", data["fingerprint"])),
        (
            "pictures",
            f"{plan.count:,} from seed {plan.seed} on for realism, originality and label rows; "
            f"{plan.each} a tag and experiment for obedience; {plan.sweep} a truncation; "
            f"{plan.walks} walks",
        ),
        ("identity", IDENTITY),
        (
            "not independent",
            "A network that labelled the training faces, or whose features the discriminator "
            "looked at, is flattered by the model.",
        ),
    ]
    for network in document["networks"]:
        words = h("span", h("code", network["identity"]), " ", badge(network["independent"]))
        facts.append((network["name"], words))
    told = [(h("dt", name), h("dd", value)) for name, value in facts]
    body = h("div", h("dl", *told, class_="facts"), class_="card")
    return section("method", "Method", "", body)


def _cell(value: Child) -> Html:
    chart = isinstance(value, Html) and value.startswith("<svg")
    return h("td", value, class_="chart" if chart else None)


def _estimate(value: Estimate, scale: float = 1, *, real: bool = False) -> Html:
    middle, low, high = (f"{scale * v:.3g}" for v in (value.value, value.low, value.high))
    return h("span", middle, h("small", f"{low} to {high}"), class_="real" if real else "model")


def _real(words: str) -> Html:
    return h("span", words, class_="real")


def _number(value: float | Rate) -> float:
    return (value.share or 0.0) if isinstance(value, Rate) else value
