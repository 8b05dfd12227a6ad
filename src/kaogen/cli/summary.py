"""``kaogen summary``: the layer tables of a preset's networks."""

from __future__ import annotations

from typing import Annotated

import typer

from kaogen.nets.config import preset as preset_named
from kaogen.nets.summary import discriminator_table, generator_table, render


def command(
    *,
    preset: Annotated[
        str, typer.Option(help="tiny64, base128, paper256, paper512 or paper1024.")
    ] = "paper256",
) -> None:
    """Print the layer tables of a preset's networks, as the paper prints them.

    A preset that trains with the feature critic (tiny64, base128) shows the plain discriminator
    of the same widths, which `kaogen train --critic stylegan2` uses.

    \b
    Example:
      kaogen summary --preset paper256
    """
    cfg = preset_named(preset)
    typer.echo(render("G", generator_table(cfg)))
    typer.echo("")
    typer.echo(render("D", discriminator_table(cfg)))
