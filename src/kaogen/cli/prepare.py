"""``kaogen prepare``: pictures of any kind to a data set file of faces."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from kaogen.cli.prepare_told import Bars, hello, tell
from kaogen.data.finding.crops import MARGIN
from kaogen.data.preparing.duplicates import DISTANCE
from kaogen.data.preparing.filters import BLUR, MONO, NSFW
from kaogen.data.preparing.plan import Preparation
from kaogen.data.preparing.prepare import prepare
from kaogen.data.tagging.tag_rules import read_thresholds
from kaogen.data.tagging.taggers import Combine
from kaogen.errors import ConfigError
from kaogen.tags import PAPER, Vocabulary

_Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Folder, zip, WebDataset (.tar, {000..009}.tar) or list (.csv, .jsonl) of pictures.",
    ),
]
_Out = Annotated[Path, typer.Option("--out", "-o", help="The data set file to write.")]
_Size = Annotated[
    str, typer.Option(metavar="N|WxH", help="Edge of the faces in pixels: 8, 16, ... 1024.")
]
_Aspect = Annotated[
    str | None, typer.Option(metavar="W:H", help="Shape of the faces, with --size as the width.")
]
_Limit = Annotated[int | None, typer.Option(help="Look at the first so many pictures, by name.")]
_Detect = Annotated[
    bool | None,
    typer.Option(
        "--detect/--no-detect",
        help="Find the faces, or take the middle of each picture; by default some pictures are "
        "looked at to tell whether they are ready faces.",
    ),
]
_Finder = Annotated[str, typer.Option(metavar="animeface|imgutils", help="What finds the faces.")]
_Margin = Annotated[
    float, typer.Option(help="Around a face, as a share of its edge; 0 cuts tight, without hair.")
]
_Align = Annotated[bool, typer.Option("--align", help="Turn faces upright by their eyes.")]
_Faces = Annotated[
    str, typer.Option(metavar="all|best|N", help="How many faces of a picture are taken at most.")
]
_MinFace = Annotated[
    int | None,
    typer.Option(
        metavar="PX",
        help="Leave out smaller faces; by default those under a quarter of --size, if found.",
    ),
]
_Upscale = Annotated[bool, typer.Option("--upscale", help="Enlarge small faces by Real-ESRGAN.")]
_Tags = Annotated[
    Path | None, typer.Option(help="CSV `file,tags` with `|` between the tags of a picture.")
]
_Sidecars = Annotated[
    str,
    typer.Option(metavar="auto|none", help="Read .txt and .json tags that lie beside pictures."),
]
_Tagger = Annotated[
    str | None,
    typer.Option(
        metavar="builtin|PATH.onnx|hub:OWNER/NAME|none",
        help="What tags the faces, several joined by +; by default builtin unless --tags is given.",
    ),
]
_Combine = Annotated[
    str, typer.Option(metavar="max|mean|first", help="How several taggers' words become one.")
]
_Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG=SCORE",
        help="From which score a tag counts; may be repeated. A score alone is for all tags.",
    ),
]
_Thresholds = Annotated[Path | None, typer.Option(help="JSON file of such thresholds.")]
_Vocabulary = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|all",
        help="Tags that become labels, from `kaogen tags select`; by default the paper's 59.",
    ),
]
_Blur = Annotated[
    float | None,
    typer.Option(
        metavar="X", help=f"Leave out faces less sharp than this; {BLUR:g} if found, 0 for none."
    ),
]
_Mono = Annotated[
    bool, typer.Option("--mono", help="Leave out grey faces and those of one colour.")
]
_NotFace = Annotated[
    float | None,
    typer.Option(metavar="SCORE", help="Leave out faces that the finder is less sure of, 0 to 1."),
]
_Duplicates = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        help=f"Leave out near-duplicates that differ by so many of 64 bits; {DISTANCE} if found, "
        "-1 keeps them.",
    ),
]
_Drop = Annotated[
    str,
    typer.Option(metavar="REGEX", help='Leave out faces with such tags, as in "bad|.*comic".'),
]
_Nsfw = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE", help=f"Leave out what scores above this, such as {NSFW:g}; weak."
    ),
]
_Rejected = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep what is left out here, by reason.")
]
_Report = Annotated[
    Path | None,
    typer.Option(help="The page that shows the data set; by default beside it, `none` for none."),
]
_Workers = Annotated[int | None, typer.Option(help="Processes; by default one per CPU.")]
_Engine = Annotated[str, typer.Option(metavar="local|ray", help="Where the work is done.")]
_Address = Annotated[str | None, typer.Option(help="A Ray cluster, such as auto.")]


def command(
    source: _Source,
    *,
    out: _Out,
    size: _Size = "64",
    aspect: _Aspect = None,
    limit: _Limit = None,
    detect: _Detect = None,
    finder: _Finder = "animeface",
    margin: _Margin = MARGIN,
    align: _Align = False,
    faces: _Faces = "all",
    min_face: _MinFace = None,
    upscale: _Upscale = False,
    tags: _Tags = None,
    sidecars: _Sidecars = "auto",
    tagger: _Tagger = None,
    combine: _Combine = "max",
    threshold: _Threshold = None,
    thresholds: _Thresholds = None,
    vocabulary: _Vocabulary = None,
    blur: _Blur = None,
    mono: _Mono = False,
    not_face: _NotFace = None,
    duplicates: _Duplicates = None,
    drop: _Drop = "",
    nsfw: _Nsfw = None,
    rejected: _Rejected = None,
    report: _Report = None,
    workers: _Workers = None,
    engine: _Engine = "local",
    address: _Address = None,
) -> None:
    """Turn pictures into a data set file of faces with tags.

    Faces are found and cut out with margin, so that hair, ears and shoulders stay; blurred ones and
    near-duplicates are left out; the rest is tagged. What is left out is counted with its reason,
    and shown on a page. Stopped at any moment, the same command goes on.

    \b
    Example:
      kaogen prepare pictures/ -o faces.zip
      kaogen prepare faces/ --no-detect --tags tags.csv --size 64 -o faces.zip
    """
    filters = _read_filters(drop, not_face, nsfw, min_face, blur, mono, duplicates)
    plan = Preparation(
        source,
        out,
        size=_read_size(size, aspect),
        tags=tags,
        tagger=_read_tagger(tagger, tags),
        limit=limit,
        workers=workers,
        vocabulary=_read_vocabulary(vocabulary),
        detect=detect,
        finder=finder,
        margin=margin,
        align=align,
        faces=_read_faces(faces),
        upscale=upscale,
        sidecars=_read_sidecars(sidecars),
        combine=cast(Combine, combine),  # open_tagger says which there are
        thresholds=read_thresholds(threshold or (), thresholds),
        filters=filters,
        rejected=rejected,
        report=_read_report(report, out),
        engine=engine,
        address=address,
    )
    hello(plan)
    with Bars(plan) as bars:
        done = prepare(plan, bars.update)
    tell(plan, done)


def _read_filters(
    drop: str,
    not_face: float | None,
    nsfw: float | None,
    min_face: int | None,
    blur: float | None,
    mono: bool,
    duplicates: int | None,
) -> dict[str, Any]:
    """What differs from the usual filters; they depend on whether faces are looked for."""
    filters: dict[str, Any] = {"drop": drop, "not_face": not_face, "nsfw": nsfw}
    if min_face is not None:
        filters["min_size"] = min_face
    if blur is not None:
        filters["blur"] = blur or None
    if mono:
        filters["mono"] = MONO
    if duplicates is not None:
        filters["duplicates"] = None if duplicates < 0 else duplicates
    return filters


def _read_size(size: str, aspect: str | None) -> int | tuple[int, int]:
    hint = "Such as 64, or 64x96 for width x height."
    try:
        edges = [int(part) for part in size.lower().split("x")]
    except ValueError:
        edges = []
    if len(edges) not in (1, 2) or (len(edges) == 2 and aspect):
        raise ConfigError(
            f"--size {size} is no size{' beside --aspect' * bool(aspect)}.", hint=hint
        )
    if aspect:
        try:
            across, down = (float(part) for part in aspect.split(":"))
            height = edges[0] * down / across
        except (ValueError, ZeroDivisionError):
            height = math.nan
        if not 0 < height < math.inf:
            raise ConfigError(f"--aspect {aspect} is no shape.", hint="Such as 2:3.")
        edges.append(max(8, round(height / 8) * 8))
    return edges[0] if len(set(edges)) == 1 else (edges[0], edges[1])


def _read_tagger(tagger: str | None, tags: Path | None) -> str | None:
    if tagger is None:
        return "builtin" if tags is None else None
    return None if tagger == "none" else tagger


def _read_vocabulary(word: str | None) -> Vocabulary | None:
    if word is None:
        return PAPER
    if word == "all":
        return None
    from kaogen.data.tagging.tag_select import read_vocabulary

    return read_vocabulary(Path(word))


def _read_faces(word: str) -> int:
    if word in ("all", "best"):
        return int(word == "best")
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise ConfigError(f"--faces {word} is neither all nor best nor a number.")
    return int(word)


def _read_sidecars(word: str) -> bool:
    if word not in ("auto", "none"):
        raise ConfigError(f"--sidecars {word} is neither auto nor none.")
    return word == "auto"


def _read_report(report: Path | None, out: Path) -> Path | None:
    if report is None:
        return out.with_name(f"{out.stem}.report.html")
    return None if str(report) == "none" else report
