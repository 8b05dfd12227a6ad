"""The parts of a report that are mostly pictures, drawn again from their rows and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from kaogen.data.page.report_html import Child, Html, Part, h, percent, section
from kaogen.data.page.report_pictures import image, sheet
from kaogen.metrics.evaluate import Evaluation
from kaogen.metrics.memorised import Originality, Pair
from kaogen.metrics.reals import Reals
from kaogen.metrics.report_charts import Series, histogram, legend
from kaogen.metrics.report_figures import figures, kind, truncation_charts
from kaogen.metrics.report_text import percent as rate
from kaogen.metrics.report_text import ranged
from kaogen.metrics.smoothness import STEPS
from kaogen.metrics.subject import Pixels, Subject
from kaogen.metrics.switches import pick_rows

SHEET, COLUMNS = 36, 6
_SWITCHED = 4
_WALKS = 5


def samples(evaluations: Sequence[Evaluation], subjects: Sequence[Subject], reals: Reals) -> Part:
    """Characters as they come, at both truncations, and real faces."""
    several, cards = len(evaluations) > 1, []
    for e, subject in zip(evaluations, subjects, strict=True):
        for psi in [e.psi] if several else dict.fromkeys((e.psi, e.plan.psi)):
            name = e.model if several else f"psi {psi:g}"
            words = "the model's own" if psi == e.psi else "that of the distances below"
            faces = characters(e, subject, SHEET, psi)
            cards.append(_card(name, f"psi {psi:g}" if several else words, faces))
    places = np.random.default_rng(evaluations[0].plan.seed).choice(
        len(reals), min(SHEET, len(reals)), False
    )
    real = [reals.face(int(i)) for i in np.sort(places)]
    cards.append(_card("Real faces", "of the data set", real))
    lead = (
        f"The first {SHEET} characters from seed {evaluations[0].plan.seed} on, none chosen, with "
        "the tags of random real faces."
    )
    return section("pictures", "Pictures", lead, h("div", *cards, class_="grid"))


def characters(e: Evaluation, subject: Subject, count: int, psi: float) -> list[Pixels]:
    """The first characters of an evaluation."""
    count = min(count, e.plan.count)
    seeds = range(e.plan.seed, e.plan.seed + count)
    return list(subject.draw(e.rows[:count], seeds, psi))


def _card(name: str, words: str, faces: Sequence[Pixels], columns: int = COLUMNS) -> Html:
    picture = sheet(faces, columns, f"{len(faces)} faces: {name} {words}".strip())
    return h(
        "figure", h("figcaption", h("b", name), h("span", words)), picture, class_="card flush"
    )


def switches(evaluations: Sequence[Evaluation], subjects: Sequence[Subject]) -> Part:
    """One tag switched on with all else fixed: pictures and what changed with it."""
    several = len(evaluations) > 1
    tags = list(dict.fromkeys(t.tag for e in evaluations for t in e.obedience[0].tags))
    cards = []
    for tag in tags:
        blocks = []
        for e, subject in zip(evaluations, subjects, strict=True):
            if tag in e.shots.on:
                blocks.append(_switch(e, subject, tag, e.model if several else ""))
        cards.append(h("div", h("h3", tag), *blocks, class_="card"))
    o = evaluations[0].obedience[0]
    lead = (
        "The same characters, drawn again with one tag switched on and the same seed and other "
        "tags; of tags that exclude each other the new one replaces the old. Identity: 0 is the "
        f"same character, 1 as far as a stranger, in {o.judge}'s features without the directions "
        "of the switched tag."
    )
    return section("switches", "One tag changed", lead, h("div", *cards, class_="grid"))


def _switch(e: Evaluation, subject: Subject, tag: str, model: str) -> Html:
    pairs = e.shots.on[tag][:_SWITCHED] or e.shots.off[tag][:_SWITCHED]
    rows = []
    for side in (0, 1):
        places = [pair[side] for pair in pairs]
        chosen = np.stack([e.shots.rows[p] for p in places])
        rows.append(list(subject.draw(chosen, [e.shots.seeds[p] for p in places], e.psi)))
    names = ("before", "after") if e.shots.on[tag] else ("with", "without")
    strips: list[Child] = []
    for name, faces in zip(names, rows, strict=True):
        strips += [h("small", name), sheet(faces, _SWITCHED, f"{tag}, {name}: {len(faces)} faces")]
    found = next((t for t in e.obedience[0].tags if t.tag == tag), None)
    told: list[str] = []
    if found is not None:
        told = [
            f"appears {rate(found.appears)}",
            f"disappears {rate(found.disappears)}",
            f"other tags change {percent(found.others)}",
            f"identity {found.identity:.2f}",
        ]
    title = h("p", model, class_="note") if model else None
    words = h("p", [h("span", word) for word in told], class_="note told-in-a-row")
    return h("div", title, h("div", *strips, class_="switch"), words)


def originality(
    evaluations: Sequence[Evaluation], subjects: Sequence[Subject], reals: Reals
) -> Part:
    """How near the pictures come to training faces, and the nearest pairs."""
    several = len(evaluations) > 1
    blocks: list[Child] = []
    for i, space in enumerate(evaluations[0].originality):
        found = [e.originality[i] for e in evaluations]
        blocks.append(_space(evaluations, found))
        for e, subject, o in zip(evaluations, subjects, found, strict=True):
            words = _title(space) + (f", {e.model}" if several else "")
            pairs = [_pair(e, subject, reals, pair) for pair in o.worst]
            head = h("h3", "Nearest pairs", h("small", words))
            blocks.append(
                h("div", head, h("div", *pairs, class_="grid pairs", style="--least:200px"))
            )
    lead = (
        "Every picture beside all training faces and their mirror images. A picture counts as "
        "close when it lies nearer to a training face than that face to its own nearest other "
        "face; real faces, measured the same way, are the floor. Below, the nearest pairs."
    )
    return section("originality", "Originality", lead, h("div", *blocks, class_="stack"))


def _title(o: Originality) -> str:
    return "by pixels" if o.space == "pixels" else f"by {o.space}'s features"


def _space(evaluations: Sequence[Evaluation], found: Sequence[Originality]) -> Html:
    first = found[0]
    rows: list[list[Child]] = [
        [e.model, ranged(o.closer), ranged(o.copies), f"{o.median:.3g}"]
        for e, o in zip(evaluations, found, strict=True)
    ]
    rows.append(["real faces", ranged(first.real_closer), "1%", f"{first.real_median:.3g}"])
    heads = ["", "close", "closer than the closest 1% of real faces", "median distance"]
    series = [Series("real faces", "real", first.real_counts)]
    series += [
        Series(e.model, kind(i), _rebinned(o, first))
        for i, (e, o) in enumerate(zip(evaluations, found, strict=True))
    ]
    words = f"Distance to the nearest training face, in {first.unit}"
    chart = histogram(first.edges, series, f"{words}: pictures beside real faces")
    count = f"{first.closer.of:,} pictures, {first.real_closer.of:,} real faces"
    note = (
        "Close: nearer to a training face than that face is to its own nearest other. The closest "
        "hundredth of real faces is where near-duplicates lie: a copy would be found there."
    )
    return h(
        "div",
        h(
            "div",
            figures(f"{_title(first).capitalize()}: {count}", heads, rows),
            h("p", note, class_="note"),
            class_="card",
        ),
        h("div", h("h3", words), legend([(s.name, s.kind) for s in series]), chart, class_="card"),
        class_="grid",
        style="--least:440px",
    )


def _rebinned(o: Originality, first: Originality) -> Sequence[float]:
    """Shares per bin of another model's edges, by the middles of its own bins."""
    if o.edges == first.edges:
        return o.counts
    middles = (np.array(o.edges[:-1]) + np.array(o.edges[1:])) / 2
    clipped = np.clip(middles, first.edges[0], first.edges[-1])
    shares, _ = np.histogram(clipped, first.edges, weights=o.counts)
    return list(shares.tolist())


def _pair(e: Evaluation, subject: Subject, reals: Reals, pair: Pair) -> Html:
    seed = e.plan.seed + pair.picture
    rows = e.rows[pair.picture : pair.picture + 1]
    face = reals.face(pair.face)
    face = np.ascontiguousarray(face[:, ::-1]) if pair.mirrored else face
    where = PurePath(reals.source_of(pair.face)).stem + (", mirrored" if pair.mirrored else "")
    drawn = image(subject.draw(rows, [seed], e.plan.psi)[0], f"picture of seed {seed}")
    return h(
        "div",
        h(
            "div",
            h("div", drawn, h("small", f"drawn, seed {seed}")),
            h("div", image(face, f"training face {where}"), h("small", where)),
            class_="pair",
        ),
        h("p", f"{pair.distance:.3g} apart; its own nearest: {pair.own:.3g}", class_="note"),
        class_="card flush",
    )


def truncation(evaluations: Sequence[Evaluation], subjects: Sequence[Subject]) -> Part:
    """What psi costs and brings, and the same characters at each."""
    cards = []
    for e, subject in zip(evaluations, subjects, strict=True):
        rows = pick_rows(subject.real_rows, COLUMNS, e.plan.seed, "sweep")
        seeds = range(e.plan.seed, e.plan.seed + COLUMNS)
        strips: list[Child] = []
        for p in e.truncation:
            faces = list(subject.draw(rows, seeds, p.psi))
            words = f"{e.model} at psi {p.psi:g}: {len(faces)} characters"
            strips += [h("small", f"{p.psi:g}"), sheet(faces, COLUMNS, words)]
        strip = h("div", *strips, class_="switch")
        cards.append(
            h("div", h("h3", "The same characters", h("small", e.model)), strip, class_="card")
        )
    lead = (
        f"The same {evaluations[0].plan.sweep} characters at each psi, against as many real faces: "
        "these distances are comparable with each other, not with those above."
    )
    charts = truncation_charts(evaluations)
    if len(cards) == 1:
        body = h("div", *charts, *cards, class_="grid")
    else:
        pictures = h("div", *cards, class_="grid", style="--least:440px")
        body = h("div", h("div", *charts, class_="grid"), pictures, class_="stack")
    return section("truncation", "Truncation", lead, body)


def smoothness(evaluations: Sequence[Evaluation], subjects: Sequence[Subject]) -> Part:
    """Walks through w, as figures and as pictures."""
    s = evaluations[0].smoothness
    rows: list[list[Child]] = []
    for words, more, name in (
        ("path length", "over the ends' squared distance; 1 is straight and even", "path_length"),
        ("detour", "length over the straight line; 1 is straight", "detour"),
        ("jump", "largest step over the mean step; 1 is even", "jump"),
    ):
        label = h("span", words, h("small", more), class_="model")
        rows.append([label, *(str(getattr(e.smoothness, name)) for e in evaluations)])
    cards = []
    for e, subject in zip(evaluations, subjects, strict=True):
        labels = pick_rows(subject.real_rows, e.plan.walks, e.plan.seed, "walks")
        strips = []
        for i in range(min(_WALKS, e.plan.walks)):
            ends = (e.plan.seed + 2 * i, e.plan.seed + 2 * i + 1)
            faces = list(subject.interpolate(labels[i], ends, STEPS, e.psi))[::2]
            words = f"{e.model}: a walk from seed {ends[0]} to {ends[1]} in {len(faces)} pictures"
            strips.append(sheet(faces, len(faces), words))
        cards.append(
            h("div", h("h3", e.model), h("div", *strips, class_="stack walks"), class_="card")
        )
    lead = (
        f"{s.walks} walks of {s.steps} steps through w between two seeds, tags fixed, at "
        f"psi {s.psi:g}, seen through {s.judge}'s features."
    )
    heads = ["", *(e.model for e in evaluations)]
    table = h("div", figures("Walks, with 95% intervals", heads, rows), class_="card")
    body = h("div", table, *cards, class_="grid", style="--least:440px")
    return section("smoothness", "Smoothness", lead, body)
