"""``kaogen data``: look at data sets, count, check, merge, split and convert them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kaogen.cli.bars import bar
from kaogen.errors import ConfigError
from kaogen.tags import PAPER, Vocabulary

_HELP = """Look at data sets, count, check, merge, split and convert them.

FILE is an archive of `kaogen prepare`, a zip of StyleGAN2-ADA's tools, a folder of StyleGAN's
TFRecords or WebDataset tars.

\b
Example:
  kaogen data show faces.zip --tag "pink hair" -o sheet.png
  kaogen data stats faces.zip
"""
_MOST_FAULTS = 50

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The data set.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", help=".zip for an archive, .tar for WebDataset shards.")
]
ShardSize = Annotated[int, typer.Option(help="Faces of a WebDataset shard.")]


class Tags(StrEnum):
    """What `merge` does with different vocabularies."""

    same = "same"
    all = "all"
    common = "common"


@app.command("show")
def show(
    file: File,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture: .png, .jpg or .webp.")],
    count: Annotated[int, typer.Option("--count", "-n", help="Faces at most.")] = 64,
    tag: Annotated[
        str, typer.Option(help='Only faces that have these tags: "pink hair, -glasses".')
    ] = "",
    seed: Annotated[int, typer.Option(help="Another seed shows other faces.")] = 0,
) -> None:
    """Draw a contact sheet: faces with their tags below.

    \b
    Example:
      kaogen data show faces.zip -n 40 --tag "pink hair, smile" -o sheet.png
    """
    from kaogen.data.archives.contact_sheet import caption, choose, contact_sheet
    from kaogen.data.archives.sets import open_set

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"{out} ends in no .png, .jpg or .webp.")
    faces = open_set(file)
    places, fitting, marked = choose(faces, count, tags=tag, seed=seed)
    cells = [(item, caption(faces, item, marked)) for item in faces.items(places)]
    of_what = f" with {tag.strip()}" if tag.strip() else ""
    size = f"{faces.resolution[1]} x {faces.resolution[0]}"
    shown = f"{len(places):,} of {fitting:,} faces{of_what}"
    page = contact_sheet(
        cells, file.name, f"{shown} · {len(faces):,} in all · {size} pixels · seed {seed}"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial{out.suffix}")
    page.save(partial, quality=92)
    partial.replace(out)
    _say(f"{out}: {shown}")


@app.command("stats")
def stats(
    file: File,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures, of an archive: x.html.")
    ] = None,
) -> None:
    """Count faces and tags, and tell which tags go together.

    \b
    Example:
      kaogen data stats faces.zip
      kaogen data stats faces.zip --json
      kaogen data stats faces.zip --report faces.html
    """
    from kaogen.cli.data_tables import show_stats
    from kaogen.data.archives.set_stats import measure
    from kaogen.data.archives.sets import open_set

    found = measure(open_set(file))
    if json:
        import json as json_module

        typer.echo(json_module.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        show_stats(str(file), found)
    if report is not None:
        from kaogen.data.page.report import write_report

        write_report(report, archive=file)
        _say(f"{report}: written", to_stderr=json)


@app.command("check")
def check(
    file: File,
    *,
    every: Annotated[bool, typer.Option("--all", help="Name every fault, however many.")] = False,
) -> None:
    """Look at every picture, label, name and checksum; exit status 3 when something is wrong.

    \b
    Example:
      kaogen data check faces.zip
    """
    from kaogen.data.archives.set_check import check as look

    with bar("checking") as progress:
        checked = look(file, progress)
    for fault in checked.faults if every else checked.faults[:_MOST_FAULTS]:
        _say(fault if fault.startswith(f"{file}") else f"{file}: {fault}")
    left = len(checked.faults) - _MOST_FAULTS
    if left > 0 and not every:
        _say(f"... and {left:,} more; --all names them.")
    if checked.faults:
        count = len(checked.faults)
        _say(f"{file}: {count:,} fault{'s' * (count > 1)} in {checked.images:,} images")
        raise typer.Exit(3)
    _say(f"{file}: {checked.images:,} images, all whole")


@app.command("merge")
def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Two sets or more.")],
    *,
    out: Out,
    tags: Annotated[
        Tags,
        typer.Option(
            help="Of different vocabularies: refuse them, take all tags (absent where a set does "
            "not know one), or those in common."
        ),
    ] = Tags.same,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep what is in several sets.")
    ] = False,
    shard_size: ShardSize = 10_000,
) -> None:
    """Put several data sets into one, each picture once.

    \b
    Example:
      kaogen data merge faces.zip more.zip -o all.zip
    """
    from kaogen.data.archives.merge import merge as put_together

    if len(files) < 2:
        raise ConfigError("merging takes two data sets or more.")
    with bar("merging") as progress:
        report = put_together(
            files,
            out,
            tags=tags.value,
            keep_duplicates=keep_duplicates,
            shard_size=shard_size,
            progress=progress,
        )
    named = f", {len(report.vocabulary)} tags" if report.vocabulary is not None else ""
    _say(f"{out}: {report.images:,} faces{named}{', scores' * report.scores}")
    for path, count in report.taken:
        _say(f"from {path}: {count:,}")
    if report.same_picture:
        _say(f"left out, their source picture is in an earlier set: {report.same_picture:,}")
    if report.same_pixels:
        _say(f"left out, the same pixels as an earlier face: {report.same_pixels:,}")
    for path, names in report.missing.items():
        listed = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        _say(f"counted as absent, since {path} does not know them: {listed}")
    if report.scores_lost:
        _say("the tagger's scores are left out: not all sets have the same ones")


@app.command("split")
def split(
    file: File,
    *,
    out: Out,
    rest: Annotated[Path, typer.Option(help="Where the held-out faces go: .zip or .tar.")],
    held_out: Annotated[float, typer.Option(help="Share of the faces to hold out.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed holds out other faces.")] = 0,
    balance: Annotated[
        bool, typer.Option("--balance", help="Give every tag the same share in both sets.")
    ] = False,
    shard_size: ShardSize = 10_000,
) -> None:
    """Hold faces out: one data set becomes two.

    Faces of one source picture stay together. The same command gives the same sets.

    \b
    Example:
      kaogen data split faces.zip --held-out 0.1 -o train.zip --rest test.zip
    """
    from kaogen.data.archives.split import split as divide

    with bar("splitting") as progress:
        report = divide(
            file,
            out,
            rest,
            held_out=held_out,
            seed=seed,
            balance=balance,
            shard_size=shard_size,
            progress=progress,
        )
    _say(f"{out}: {report.train:,} faces")
    _say(f"{rest}: {report.rest:,} faces, held out")
    if report.pictures < report.train + report.rest:
        _say(f"{report.pictures:,} source pictures, each in one of the two only")
    if report.shares:
        name, (here, there) = max(report.shares.items(), key=lambda row: abs(row[1][0] - row[1][1]))
        hint = "" if balance else " (--balance makes them alike)"
        _say(f"largest difference in a tag's share: {name}, {here:.1%} and {there:.1%}{hint}")


@app.command("convert")
def convert(
    file: File,
    *,
    out: Out,
    size: Annotated[
        int | None,
        typer.Option(
            help="Longer edge in pixels: that resolution of TFRecords (the largest by default), "
            "or the faces resized."
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            metavar="paper|FILE",
            help="Names for labels that have none: the paper's 59 tags, or a file with a tag a "
            "line.",
        ),
    ] = None,
    shard_size: ShardSize = 10_000,
) -> None:
    """Turn TFRecords, StyleGAN2-ADA zips, WebDataset shards or archives into one of the last two.

    \b
    Example:
      kaogen data convert tfrecords/faces/ --size 64 --vocabulary tags.txt -o faces.zip
      kaogen data convert faces.zip -o faces.tar --shard-size 5000
    """
    from kaogen.data.archives.convert import convert as turn

    with bar("converting") as progress:
        count = turn(
            file,
            out,
            size=size,
            vocabulary=_names(vocabulary),
            shard_size=shard_size,
            progress=progress,
        )
    shards = -(-count // shard_size)
    named = f" in {shards:,} shard{'s' * (shards > 1)}, {out.stem}-000000.tar and so on"
    _say(f"{out}: {count:,} faces{named if out.suffix == '.tar' else ''}")


def _names(word: str | None) -> Vocabulary | None:
    if word is None:
        return None
    if word == "paper":
        return PAPER
    from kaogen.data.tagging.tag_select import read_vocabulary

    return read_vocabulary(Path(word))


def _say(text: str, *, to_stderr: bool = False) -> None:
    console = Console(highlight=False, soft_wrap=True, stderr=to_stderr)
    console.print(escape(text))
