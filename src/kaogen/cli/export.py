"""``kaogen export``: a training run to a model file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from kaogen.errors import ConfigError
from kaogen.interop.onnx import Exported, ExportOptions, export


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, or one checkpoint of it.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write, x.kaogen.")],
    archive: Annotated[Path, typer.Option(help="The data set file that the run was trained on.")],
    name: Annotated[
        str | None, typer.Option(help="First part of the model's id; by default the file's name.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Model card, a Markdown file.")] = None,
    data: Annotated[str, typer.Option(help="On what it was trained, in a sentence.")] = "",
    licence: Annotated[str, typer.Option(help="The model's licence.")] = "",
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training, if the run is to be corrected.")
    ] = None,
    min_examples: Annotated[
        int, typer.Option(min=1, help="A tag on fewer training faces counts as not learnt.")
    ] = 20,
    not_learnt: Annotated[
        str, typer.Option(metavar="TAGS", help="More tags that may not be asked for.")
    ] = "",
    measured: Annotated[
        Path | None,
        typer.Option(help='JSON {"tag": {"obedience": 0..1, "unasked": 0..1}} of an evaluation.'),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Stored weights: fp16, mixed, fp32, int8, or auto.")
    ] = "auto",
) -> None:
    """Make a model file from a training run.

    The running average of the weights is taken. 16 pictures are drawn by torch and by the new
    file; nothing is written when any pixel differs by more than one grey level. Weights are stored
    as small as that allows (--precision auto). --precision int8 makes a file of about 60% of the
    size: pictures may then differ by a mean of one grey level, which is measured and told.

    \b
    Example:
      kaogen export runs/first --archive faces.zip -o first.kaogen
    """
    options = ExportOptions(
        name=name if name is not None else name_of(out),
        card=_read(card) if card else "",
        data=data,
        licence=licence,
        minutes=minutes,
        not_learnt=[tag for tag in (part.strip() for part in not_learnt.split(",")) if tag],
        min_examples=min_examples,
        measured=_measured(measured) if measured else {},
        precision=precision,
    )
    typer.echo(summary(out, export(run, archive, out, options)))


def name_of(out: Path) -> str:
    """A valid model name from a file's name: "My Model.kaogen" -> "my-model"."""
    return re.sub(r"[^a-z0-9._]+", "-", out.stem.lower()).strip("-._")[:63] or "model"


def summary(out: Path, result: Exported) -> str:
    """One line about the new file."""
    return (
        f"{out}: {result.id}, {result.size / 1e6:.2f} MB of {result.precision}, "
        f"{result.learnt} tags learnt; at most {result.worst} grey levels from torch, "
        f"{result.mean:.2f} on average, {result.differing:.2%} of the values differ"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8.") from error


def _measured(path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(_read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from error
    if not isinstance(figures, dict) or not all(isinstance(v, dict) for v in figures.values()):
        raise ConfigError(f'{path} must hold {{"tag": {{"obedience": 0.9, "unasked": 0.1}}}}.')
    return figures
