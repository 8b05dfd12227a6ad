"""``kaogen tagger``: train the built-in tagger, or write what it says about a set of faces."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

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
    recipe: Annotated[str, typer.Option(help="tagger, judge or trunk: which of the three.")] = (
        "tagger"
    ),
    scale: Annotated[float, typer.Option(help="Times the usual number of steps.")] = 1.0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; by default all.")] = None,
) -> None:
    """Train the tagger, the judge of models, or the trunk of the discriminator.

    The report is of a fifth of the labelled faces, which it never sees. Run again, it goes on
    after the last finished stage.

    \b
    Example:
      kaogen tagger train faces.zip labels.csv --booru booru.zip --drawn drawn.zip -o tagger/
    """
    import os

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
        bars: dict[str, TaskID] = {}

        def tell(stage: str, step: int, steps: int, loss: float, rate: float) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=steps)
            text = f"{stage}: loss {loss:.2f}, {rate:.0f} faces/s"
            progress.update(bars[stage], completed=step, description=text)

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
    tagger: Annotated[str, typer.Option(help="builtin, or a tagger's .onnx file.")] = "builtin",
) -> None:
    """Write what the tagger says about every face of a folder or zip.

    \b
    Example:
      kaogen tagger apply faces.zip -o tags.csv
    """
    from kaogen.data.sources import open_source
    from kaogen.data.taggers import Tagger
    from kaogen.errors import ImageError
    from kaogen.images import read_image

    judge = Tagger.load(tagger)
    pictures = open_source(source)
    console = Console(stderr=True)
    unread = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    with (
        partial.open("w", newline="", encoding="utf-8") as handle,
        Progress(console=console) as bar,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "tags"])
        for name in bar.track(pictures.names, description="tagging"):
            try:
                image = read_image(pictures.read(name))
            except ImageError:
                unread += 1
                continue
            found = judge.tags(judge.scores([image])[0])
            writer.writerow([name, "|".join(tag for tag, _ in found)])
    partial.replace(out)  # an interrupted run leaves what was there before
    count = len(pictures.names) - unread
    console.print(f"{out}: {count:,} faces tagged" + (f", {unread} unreadable" if unread else ""))
