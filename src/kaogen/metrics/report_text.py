"""An evaluation as plain text: the tables that `kaogen eval` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kaogen.metrics.distances import Estimate
from kaogen.metrics.evaluate import Evaluation
from kaogen.metrics.obedience import Obedience
from kaogen.metrics.rates import Rate

FIGURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
_ACROSS = 5


def text(evaluations: Sequence[Evaluation]) -> str:
    """All of it, model by model."""
    return "\n\n".join(
        "\n\n".join((_head(e), _realism(e), *map(obedience_table, e.obedience), _rest(e)))
        for e in evaluations
    )


def made_form(obeyed: Obedience) -> list[list[tuple[str, str]]]:
    """Tags and the share that obeys, in rows of five: the form of MakeGirlsMoe's report.

    There (Jin et al. 2017, "Towards the Automatic Anime Characters Creation with Generative
    Adversarial Networks") people counted; here a network does.
    """
    cells = [(t.tag, "-" if t.asked.share is None else f"{t.asked.share:.2f}") for t in obeyed.tags]
    return [cells[i : i + _ACROSS] for i in range(0, len(cells), _ACROSS)]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(rate: Rate) -> str:
    """ "93.8%", or a dash of nothing."""
    return "-" if rate.share is None else f"{rate.share:.1%}"


def ranged(rate: Rate) -> str:
    """ "93.8% [90.1, 96.2]"."""
    if rate.share is None:
        return "-"
    low, high = rate.interval
    return f"{rate.share:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def standing(independent: bool) -> str:
    """Whether a network may judge, in words."""
    return "independent" if independent else "NOT independent: it helped to train the model"


def _head(e: Evaluation) -> str:
    return (
        f"{e.model}: {len(e.tags)} tags learnt, {e.resolution} px; {e.plan.count:,} characters "
        f"from seed {e.plan.seed} on"
    )


def _realism(e: Evaluation) -> str:
    rows = [["Realism and variety", *(n + " x1000" * (n == "kernel") for n in FIGURES)]]
    notes = []
    for part in e.realism:
        rows.append([part.features, *(_figure(part.model, name) for name in FIGURES)])
        rows.append(["  real against real", *(_figure(part.floor, name) for name in FIGURES)])
        notes.append(f"{part.features}: {standing(part.independent)}.")
    count = e.realism[0].count
    return (
        columns(rows)
        + f"\n  psi {e.plan.psi:g}; {count:,} pictures against {count:,} real faces, which are"
        + f" compared with {count:,} others as the floor; intervals: 95%.\n  "
        + " ".join(notes)
    )


def _figure(found: Mapping[str, Estimate], name: str) -> str:
    return _estimate(found[name], 1000 if name == "kernel" else 1)


def _estimate(value: Estimate, scale: float = 1) -> str:
    return f"{scale * value.value:.3g} [{scale * value.low:.3g}, {scale * value.high:.3g}]"


def obedience_table(o: Obedience) -> str:
    """Every tag under one judge, then the same in MakeGirlsMoe's form."""
    if not o.tags:
        return f"Obedience by {o.judge}: the model has learnt no tag that it can tell."
    head = ("asked", "unasked", "real faces", "appears", "disappears", "others", "identity")
    rows = [[f"Obedience by {o.judge}", *head]]
    for t in o.tags:
        rows.append(
            [
                t.tag,
                ranged(t.asked),
                percent(t.unasked),
                percent(t.real),
                percent(t.appears),
                percent(t.disappears),
                f"{t.others:.1%}",
                f"{t.identity:.2f}",
            ]
        )
    rows.append(["mean", f"{o.mean:.1%}", "", f"{o.ceiling:.1%}", "", "", "", ""])
    form = made_form(o)
    grid = [[f"{tag} {share}" for tag, share in line] for line in form]
    grid = [row + [""] * (_ACROSS - len(row)) for row in grid]
    unknown = f"\n  It cannot tell: {', '.join(o.unknown)}." if o.unknown else ""
    return (
        columns(rows)
        + f"\n  {o.judge}: {standing(o.independent)}; psi {o.psi:g}.{unknown}"
        + "\n\nIn the form of MakeGirlsMoe's report\n"
        + columns(grid)
    )


def _rest(e: Evaluation) -> str:
    rows = [["Originality", "closer than real", "the same of real", "copies", "median", "of real"]]
    rows += [
        [
            o.space,
            ranged(o.closer),
            percent(o.real_closer),
            ranged(o.copies),
            f"{o.median:.3g}",
            f"{o.real_median:.3g}",
        ]
        for o in e.originality
    ]
    s, c = e.smoothness, e.coverage
    sweep = [
        ["Truncation", "frechet", "kernel x1000", "precision", "recall", "variety", "obedience"]
    ]
    sweep += [
        [
            f"psi {p.psi:g}",
            f"{p.frechet:.3g}",
            f"{1000 * p.kernel:.3g}",
            f"{p.precision:.3f}",
            f"{p.recall:.3f}",
            f"{p.variety:.2f}",
            percent(p.obedience),
        ]
        for p in e.truncation
    ]
    reach = [
        ["Label rows", "reached", "by real faces"],
        ["hair and eye colour, hair length", percent(c.looks), percent(c.real_looks)],
        ["all judged tags", percent(c.rows), percent(c.real_rows)],
        ["tags that none of as many real faces has", percent(c.invented), percent(c.real_invented)],
        ["mean gap of a tag's share", f"{c.share_gap:.2%}", f"{c.real_share_gap:.2%}"],
        ["mean gap of a pair's share", f"{c.pair_gap:.2%}", f"{c.real_pair_gap:.2%}"],
    ]
    walk = (
        f"Smoothness ({s.walks} walks of {s.steps} steps, {s.judge}): path length "
        f"{_estimate(s.path_length)}, detour {_estimate(s.detour)}, jump {_estimate(s.jump)}"
    )
    return "\n\n".join((columns(rows), columns(sweep), columns(reach), walk))
