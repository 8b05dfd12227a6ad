"""``kaogen tagger``: train the built-in tagger, or write what it says about a set of faces."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from kaogen.cli.bars import bar

if TYPE_CHECKING:
    from kaogen.data.inputs.sources import Source
    from kaogen.data.tagging.taggers import AnyTagger


_CHUNK = 64  # pictures in memory at a time, for each thread
_HELP = """Train the tagger, or apply it to faces.

\b
Example:
  kaogen tagger apply faces.zip -o tags.csv
"""

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False)


@app.command("train")
def train(
    faces: Annotated[Path, typer.Argument(metavar="FACES.zip", help="Faces, labelled with care.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS.csv", help="`file,tags`; all tags.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tagger's files.")],
    booru: Annotated[
        Path | None, typer.Option(help="Zip whose CSV beside it knows colours and hair length.")
    ] = None,
    drawn: Annotated[
        Path | None, typer.Option(help="Zip whose CSV beside it knows hair and eye colour.")
    ] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Zip of more faces, without labels; may be repeated.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="tagger or judge.")] = ("tagger"),
    scale: Annotated[float, typer.Option(help="Times the usual number of steps.")] = 1.0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; by default all.")] = None,
) -> None:
    """Train the tagger, or the judge of models.

    The report is of a fifth of the labelled faces, which it never sees. Run again, it goes on
    after the last finished stage.

    \b
    Example:
      kaogen tagger train faces.zip labels.csv --booru booru.zip --drawn drawn.zip -o tagger/
    """
    import torch

    from kaogen.errors import ConfigError
    from kaogen.interop.tagger import save_tagger
    from kaogen.training.tagger_recipes import RECIPES
    from kaogen.training.tagger_run import Source, train_tagger

    if recipe not in RECIPES:
        raise ConfigError(f"--recipe {recipe!r} is none of {', '.join(RECIPES)}.")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    console = Console(stderr=True)
    sources = [Source(faces, labels, None)]
    if booru:
        known = frozenset({"long hair", "short hair"})
        sources.append(Source(booru, booru.with_suffix(".csv"), known))
    if drawn:
        sources.append(Source(drawn, drawn.with_suffix(".csv"), frozenset()))
    plan = RECIPES[recipe].scaled(scale)
    with Progress(console=console) as progress:
        stages: dict[str, TaskID] = {}

        def tell(stage: str, step: int, steps: int, loss: float, rate: float) -> None:
            if stage not in stages:
                stages[stage] = progress.add_task(stage, total=steps)
            text = f"{stage}: loss {loss:.2f}, {rate:.0f} faces/s"
            progress.update(stages[stage], completed=step, description=text)

        net, report = train_tagger(sources, plan, tell, out / "work", unlabelled or ())
    save_tagger(net, report, plan.size, out, recipe)
    console.print(
        f"{out}: hair {report['hair_top1']:.1%}, eyes {report['eyes_top1']:.1%} on "
        f"{report['held_out']} held-out faces; "
        f"{sum(t['learnt'] for t in report['tags'])} of {len(report['tags'])} tags are judged well."
    )


@app.command("apply")
def apply(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder or zip of faces.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV to write, `file,tags`.")],
    tagger: Annotated[
        str, typer.Option(help="builtin, PATH.onnx, hub:OWNER/NAME; several with `+`.")
    ] = "builtin",
) -> None:
    """Write what the tagger says about every face of a folder or zip.

    \b
    Example:
      kaogen tagger apply faces.zip -o tags.csv
    """
    from kaogen.data.inputs.sources import open_source
    from kaogen.data.tagging.taggers import open_tagger

    judge = open_tagger(tagger)
    pictures = open_source(source)
    console = Console(stderr=True)
    names = pictures.names
    chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_file = out.with_name(out.name + ".partial")
    with (
        partial_file.open("w", newline="", encoding="utf-8") as handle,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        bar("tagging") as tell,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "tags"])
        done = 0
        for rows, chunk in zip(
            pool.map(partial(_tag, pictures, judge), chunks), chunks, strict=True
        ):
            writer.writerows(rows)
            count += len(rows)
            done += len(chunk)
            tell(done, len(names))
    partial_file.replace(out)  # an interrupted run leaves what was there before
    unread = len(names) - count
    console.print(f"{out}: {count:,} faces tagged" + (f", {unread} unreadable" if unread else ""))


def _tag(pictures: Source, judge: AnyTagger, names: Sequence[str]) -> list[tuple[str, str]]:
    """(file, tags joined by `|`) of each picture that can be read."""
    from kaogen.errors import ImageError
    from kaogen.images import read_image

    read, images = [], []
    for name in names:
        try:
            images.append(read_image(pictures.read(name)))
        except ImageError:
            continue
        read.append(name)
    if not images:
        return []
    scores = judge.scores(images)
    tags = ("|".join(tag for tag, _ in judge.tags(row)) for row in scores)
    return list(zip(read, tags, strict=True))
