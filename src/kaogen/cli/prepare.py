"""``kaogen prepare``: a folder or zip of ready faces, with tags, to a data set file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from kaogen.data.prepare import Preparation, Report, prepare


def command(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder or zip of ready faces.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The data set file to write.")],
    tags: Annotated[
        Path | None,
        typer.Option(help="CSV with the header `file,tags`; `|` between the tags of a file."),
    ] = None,
    size: Annotated[int, typer.Option(help="Edge of the faces in pixels, a power of two.")] = 64,
    tagger: Annotated[
        str | None,
        typer.Option(
            metavar="builtin|PATH.onnx",
            help="Tag the faces that the CSV does not list, instead of leaving them out.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Take the first so many pictures only, by name.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per CPU.")] = None,
) -> None:
    """Turn a folder or zip of faces with tags into a data set file.

    The file is a zip as StyleGAN2-ADA's tools write and read it. A picture that cannot be read is
    left out and counted with its reason. Without --tags and --tagger the data set has no labels.

    \b
    Example:
      kaogen prepare faces/ --tags tags.csv --size 64 -o faces.zip
    """
    plan = Preparation(
        source, out, size=size, tags=tags, tagger=tagger, limit=limit, workers=workers
    )
    bar = Progress(*_columns(), console=Console(stderr=True))  # what is told can be piped
    task = bar.add_task("pictures", total=None)

    def progress(done: int, total: int) -> None:
        bar.start()  # not sooner: what fails at once is one line and no bar
        bar.update(task, completed=done, total=total)

    try:
        report = prepare(plan, progress)
    finally:
        if bar.live.is_started:
            bar.stop()
    _show(plan, report)


class _Rate(TextColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(""),
        TimeRemainingColumn(elapsed_when_finished=True),
    )


def _show(plan: Preparation, report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    megabytes = plan.out.stat().st_size / 1e6
    rate = report.written / max(report.seconds, 1e-9)
    labelled = plan.tags is not None or plan.tagger is not None
    labels = f"{len(plan.vocabulary)} tags" if labelled else "no labels"
    lines = [
        f"{plan.out}: {report.written:,} faces of {plan.size} x {plan.size}, {labels}, "
        f"{megabytes:,.1f} MB, in {report.seconds:,.1f} s ({rate:,.0f}/s)"
    ]
    if report.tagged:
        lines.append(f"tagged by {plan.tagger}: {report.tagged:,}")
    if report.smaller:
        lines.append(f"enlarged, being smaller than {plan.size} pixels: {report.smaller:,}")
    for reason, count, example in report.reasons():
        lines.append(f"left out: {count:,}, such as {example}: {reason}")
    if report.not_in_csv:
        lines.append(f"not in the CSV, so left out: {report.not_in_csv:,} (--tagger tags those)")
    if report.not_in_source:
        lines.append(f"in the CSV but not in {plan.source}: {report.not_in_source:,}")
    if report.ignored:
        lines.append(f"ignored tags beyond the vocabulary: {_counts(report.ignored)}")
    if report.contradictions:
        lines.append(f"contradicting tags left out: {_counts(report.contradictions)}")
    console.print(escape("\n".join(lines)))


def _counts(counter: Counter[str]) -> str:
    ordered = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)
