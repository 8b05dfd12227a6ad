"""``kaogen summary``: the presets side by side, and the layer tables of one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from kaogen.nets.config import PRESETS, NetConfig
from kaogen.nets.config import preset as preset_named


def command(
    *,
    preset: Annotated[
        str | None,
        typer.Option(help="tiny64, base128, paper256, paper512, paper1024, or a .json file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The preset's settings, to change and train with.")
    ] = False,
) -> None:
    """Print what the presets make, or with --preset one's layer tables, as the paper prints them.

    GFLOP are counted for one picture, forward; a multiply-add counts two. The model file is what
    `kaogen export` would write, without the label table, with weights as fp16 and as int8. The
    discriminator is the plain one, which `kaogen train --critic stylegan2` uses; tiny64 and
    base128 train with the feature critic by default.

    \b
    Examples:
      kaogen summary
      kaogen summary --preset paper256
      kaogen summary --preset tiny64 --json > mine.json; kaogen train faces.zip --preset mine.json
    """
    if as_json:
        settings = preset_named(preset or "tiny64").to_dict()
        typer.echo(json.dumps(settings, indent=1))
        return
    if preset is None:
        typer.echo(table(PRESETS))
        return
    from kaogen.nets.summary import discriminator_table, generator_table, render

    cfg = preset_named(preset)
    for title, rows in (("G", generator_table(cfg)), ("D", discriminator_table(cfg))):
        typer.echo(render(title, rows) + "\n")
    typer.echo(table({preset: cfg}))


def table(presets: dict[str, NetConfig]) -> str:
    """One row for each configuration: size, parameters, GFLOP, bytes of the model file."""
    from kaogen.interop.graphs import graphs_size
    from kaogen.nets.summary import totals

    head = ("preset", "picture", "G params", "D params", "G GFLOP", "D GFLOP")
    rows: list[tuple[str, ...]] = [(*head, "fp16 file", "int8 file")]
    for name, cfg in presets.items():
        made = totals(cfg)
        work = [f"{value:.2f}" for value in made.gflop]
        files = [f"{graphs_size(cfg, storage) / 1e6:.1f} MB" for storage in ("fp16", "int8")]
        picture = f"{cfg.width}x{cfg.resolution}x{cfg.img_channels}"
        rows.append((name, picture, *(f"{value:,}" for value in made.params), *work, *files))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
