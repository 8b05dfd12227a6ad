"""``kaogen tags``: choose a vocabulary from a tagged set; show what a tagger sees in pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from kaogen.cli.bars import bar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kaogen.data.tagging.tag_select import Choice, Selection
    from kaogen.data.tagging.taggers import AnyTagger

_HELP = """Choose tags from a tagged set, or show what a tagger sees.

\b
Example:
  kaogen tags select faces.zip -n 59 -o vocabulary.json
  kaogen tags show portrait.png
"""
_BAR = 24

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False)

_Tagger = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="builtin, PATH.onnx (kaogen, WD, DeepDanbooru, illustration2vec) or hub:OWNER/NAME; "
        "several with + between them.",
    ),
]
_Combine = Annotated[
    str, typer.Option(metavar="max|mean|first", help="How several taggers become one.")
]
_Threshold = Annotated[
    list[str] | None,
    typer.Option(metavar="TAG=X", help="Threshold of a tag, X alone for all, or mcut; repeatable."),
]
_Thresholds = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help='Thresholds: {"*": 0.4, "smile": 0.3}.')
]


@app.command("select")
def select(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Data set, CSV `file,tags`, or pictures with sidecars or --tagger."
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Vocabulary file to write, for `prepare`.")
    ] = None,
    count: Annotated[int, typer.Option("-n", help="How many tags to choose.")] = 59,
    tagger: _Tagger = None,
    combine: _Combine = "max",
    threshold: _Threshold = None,
    thresholds: _Thresholds = None,
    look: Annotated[int, typer.Option(min=1, help="Faces that the tagger looks at.")] = 1000,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Choose this tag; repeatable.")
    ] = None,
    drop: Annotated[str, typer.Option(metavar="REGEX", help="Do not choose such tags.")] = "",
    prior: Annotated[
        bool, typer.Option(help="Leave out tags that are known to be no use for faces.")
    ] = True,
    least: Annotated[int, typer.Option(min=1, help="Fewest faces that must show a tag.")] = 10,
    near: Annotated[int, typer.Option(min=0, help="Near misses to tell.")] = 15,
) -> None:
    """Choose the N most useful tags of a tagged set.

    A tag is worth what it tells of a face that the tags chosen before it do not (in bits), times
    how sure the tagger is of it and how often a tighter crop still shows it, where those are known:
    a data set may carry a tagger's scores, and --tagger looks at a sample.

    \b
    Example:
      kaogen tags select faces.zip -n 59 -o vocabulary.json
      kaogen prepare pictures/ --vocabulary vocabulary.json -o chosen.zip
    """
    from kaogen.data.tagging.tag_select import select as choose
    from kaogen.data.tagging.tagged import read_tagged

    judge = _open(tagger, combine, threshold, thresholds)
    with bar("looking") as progress:
        tagged = read_tagged(data, judge, look=look, progress=progress)
    chosen = choose(tagged, count, keep=keep or (), drop=drop, prior=prior, least=least, near=near)
    if out is not None:
        chosen.write(out)
    _tell(chosen, count, len(tagged.shown), out)


@app.command("show")
def show(
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE...", help="Pictures of faces, or folders.")
    ],
    *,
    tagger: _Tagger = "builtin",
    combine: _Combine = "max",
    threshold: _Threshold = None,
    thresholds: _Thresholds = None,
    least: Annotated[float, typer.Option(help="Lowest score that is shown.")] = 0.1,
    top: Annotated[int, typer.Option(help="Most tags that are shown of a picture.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print all scores as JSON.")] = False,
) -> None:
    """Show what a tagger says of pictures.

    Scores and tags, highest first. A dot marks the tags that count: those at their threshold, and
    of hair and eye colours the best. The built-in tagger knows faces; whole figures are cut to
    their faces by `kaogen prepare`.

    \b
    Example:
      kaogen tags show portrait.png --tagger hub:SmilingWolf/wd-vit-tagger-v3
    """
    judge = _open(tagger, combine, threshold, thresholds)
    assert judge is not None
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        shown = [{"file": name, **_scores(judge, face)} for name, face in _read(pictures)]
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for name, face in _read(pictures):
        found = _scores(judge, face)
        console.print(Text(f"{name}  {face.shape[1]} x {face.shape[0]}", style="bold"))
        rows = [(tag, score) for tag, score in found["scores"].items() if score >= least][:top]
        for tag, score in rows:
            counts = tag in found["tags"]
            mark = "●" if counts else " "
            style = "" if counts else "dim"
            console.print(Text(f"  {score:5.3f} {_bar(score)} {mark} {tag}", style=style))
        if not rows:
            console.print(f"  no tag has a score of {least:g}")


def _open(
    spec: str | None, combine: Any, threshold: Sequence[str] | None, file: Path | None
) -> AnyTagger | None:
    from kaogen.data.tagging.tag_rules import read_thresholds
    from kaogen.data.tagging.taggers import open_tagger

    read = read_thresholds(threshold or (), file)
    return None if spec is None else open_tagger(spec, combine=combine, thresholds=read)


def _read(paths: Sequence[Path]) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Name and pixels of every picture; of a folder, those that can be read.

    Raises:
        ImageError: a picture that was named itself is refused.
    """
    from kaogen.data.inputs.sources import open_source
    from kaogen.errors import ImageError
    from kaogen.images import read_image

    for path in paths:
        folder = path.is_dir()
        for shown in [path / name for name in open_source(path).names] if folder else [path]:
            try:
                pixels = read_image(shown)
            except ImageError as error:
                if not folder:
                    raise ImageError(f"{shown}: {error.message}") from error
                typer.echo(f"{shown}: {error.message}", err=True)
                continue
            yield str(shown), pixels


def _scores(judge: AnyTagger, face: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """``scores`` of what the tagger has learnt, highest first, and the ``tags`` that count."""
    row = judge.scores([face])[0]
    learnt = [(r.name, float(s)) for r, s in zip(judge.rules, row, strict=True) if r.learnt]
    scores = {name: round(score, 4) for name, score in sorted(learnt, key=lambda pair: -pair[1])}
    counting = {name for name, _ in judge.tags(row)}
    return {"tags": [name for name in scores if name in counting], "scores": scores}


def _bar(share: float, width: int = _BAR) -> str:
    """A bar of eighths of a character, padded to ``width``."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)


def _tell(chosen: Selection, wanted: int, looked: int, out: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    sample = f" ({looked:,} looked at)" if looked != chosen.faces else ""
    print_ = console.print
    print_(
        f"{chosen.source}: {chosen.faces:,} faces{sample}, {chosen.candidates:,} tags; "
        f"chosen: {len(chosen.chosen)}",
        markup=False,
    )
    both = (*chosen.chosen, *chosen.missed)
    width = max(len(choice.name) for choice in both)
    head = f"{'':4} {'tag':{width}} {'faces':>9} {'share':>6} {'sure':>5} {'holds':>5} {'bits':>6}"
    print_(Text(f"{head}  why", style="bold"))
    for place, choice in enumerate(chosen.chosen, 1):
        print_(_line(f"{place:3}.", choice, width), markup=False)
    if chosen.missed:
        print_(Text("not chosen, nearest first", style="bold"))
    for choice in chosen.missed:
        print_(_line("", choice, width), markup=False)
    if len(chosen.chosen) < wanted:
        print_(f"only {len(chosen.chosen)} of {wanted} tags are of use", markup=False)
    if out is not None:
        print_(f"{out}: a vocabulary of {len(chosen.chosen)} tags", markup=False)


def _line(place: str, choice: Choice, width: int) -> str:
    sure, holds = (
        f"{value:5.2f}" if value is not None else f"{'–':>5}"
        for value in (choice.sure, choice.holds)
    )
    return (
        f"{place:4} {choice.name:{width}} {choice.faces:9,} {choice.share:6.1%} {sure} {holds} "
        f"{choice.bits:6.3f}  {choice.reason}"
    )
