"""``kaogen train``: a data set file to a run folder; the same command again goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kaogen.cli.train_options import with_options
from kaogen.cli.train_told import beginning, end, foretell, show
from kaogen.data.archives.archive import Archive
from kaogen.nets.config import NetConfig
from kaogen.nets.config import preset as preset_named
from kaogen.training.config import RECIPES, TrainConfig, r1_gamma, with_loss

if TYPE_CHECKING:  # torch is loaded later, while pictures are decoded
    import torch

    from kaogen.training.transfer import Source
    from kaogen.training.workers import Workers


@with_options
def command(
    archive: Annotated[Path, typer.Argument(metavar="DATA", help="Data set file (zip).")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; made, or gone on from.")],
    preset: Annotated[
        str, typer.Option(help="tiny64, base128, paper256, paper512 or paper1024.")
    ] = "tiny64",
    kimg: Annotated[float, typer.Option(help="Stop at so many thousand images.")] = 1000.0,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures a step.")] = None,
    lr: Annotated[
        float | None, typer.Option(min=1e-9, help="Learning rate; D's follows in proportion.")
    ] = None,
    critic: Annotated[
        str | None, typer.Option(help="Discriminator: stylegan2 or features.")
    ] = None,
    conditioning: Annotated[str | None, typer.Option(help="paper or embed.")] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(help="Run, checkpoint or model file (.kaogen) to start from, of any size."),
    ] = None,
    unconditional: Annotated[bool, typer.Option(help="Ignore the labels.")] = False,
    tick: Annotated[float, typer.Option(help="kimg between two grids and checkpoints.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all randomness.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default all.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    dry_run: Annotated[
        bool, typer.Option(help="Make a few steps, say what the run would take, write nothing.")
    ] = False,
    chosen: dict[str, Any],
) -> None:
    """Train a model on a data set file.

    Ctrl-C (or SIGTERM) stops after the step under way, saves, and exits with 130. The same command
    goes on; on the same machine with as many threads, to the same weights as if it had never
    stopped.

    \b
    Example:
      kaogen train faces.zip --out runs/first --kimg 2000 --dry-run
      kaogen train faces.zip --out runs/first --kimg 2000
      kaogen train few.zip --out runs/fine --init-from runs/first --augment ada --freeze-d 2
      torchrun --nproc-per-node 2 -m kaogen train faces.zip --out runs/first  # see docs/clusters.md
    """
    with decoding(archive, not dry_run) as ahead:
        import torch

        from kaogen.nets.memory import keep_freed_memory
        from kaogen.training.run import Run
        from kaogen.training.workers import Workers

        keep_freed_memory()
        workers = Workers.from_environment()
        workers.meet()
        place = workers.device(device)
        # Said aloud even where it is the default: left unsaid, torch 2.13's bf16 convolutions ran
        # at an eighth of their speed on two cores (docs/LOG.md).
        torch.set_num_threads(threads or workers.threads())
        with workers.together():
            net, config = settings(preset, critic, conditioning, unconditional, batch)
            config = replace(config, kimg=kimg, tick_kimg=tick, seed=seed)
            config = with_chosen(config, net, chosen, lr, init_from is not None)
            data = ahead or Archive.open(archive)
            if "holdout" not in chosen:
                count = workers.from_first(lambda: kept_back(out, len(data)))
                config = replace(config, holdout=count)
            console = Console(stderr=True, quiet=not workers.first)
            if dry_run:
                only_tell(data, net, config, workers, place)
                return
            source = workers.from_first(lambda: ancestor(init_from, out))
            run = Run(out, data, net, config, workers, place, source)
            for line in run.told:
                console.print(line, soft_wrap=True, highlight=False, markup=False)
    beginning(run, preset, console)
    finished = show(run, console)
    end(run, console, finished)
    workers.part()
    if not finished:
        raise typer.Exit(130)


@contextmanager
def decoding(path: Path, wanted: bool) -> Iterator[Archive | None]:
    """The data set, its pictures being decoded while torch is loaded, which takes as long.

    None under torchrun: there all ranks must meet before one of them may fail.
    """
    if not wanted or "RANK" in os.environ:
        yield None
        return
    with Archive.open(path) as archive:
        Console(stderr=True).print(f"Reading {path} ...", markup=False, soft_wrap=True)
        archive.prefetch()
        yield archive


def only_tell(
    data: Archive, net: NetConfig, config: TrainConfig, workers: Workers, place: torch.device
) -> None:
    """`--dry-run`, to stdout: that is what was asked for."""
    from kaogen.training.forecast import forecast

    told = forecast(data, net, config, workers, place)
    foretell(told, Console(quiet=not workers.first))
    workers.part()


def ancestor(path: Path | None, out: Path) -> Source | None:
    """What `--init-from` names; a run that has begun needs it no more and only compares."""
    from kaogen.interop.ancestor import source_of
    from kaogen.training import checkpoint

    if path is None or (checkpoint.listing(out) and not path.exists()):
        return None
    return source_of(path)


def kept_back(out: Path, count: int) -> int:
    """Faces to hold out where nothing is said: as the run has it, or 256 of 5,120 and more."""
    try:
        begun = json.loads((out / "config.json").read_text(encoding="utf-8"))
        return int(begun["train"].get("holdout", 0))
    except FileNotFoundError:
        return 256 if count >= 20 * 256 else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0  # `Run` will say what is wrong with it


def settings(
    preset: str,
    critic: str | None,
    conditioning: str | None,
    unconditional: bool,
    batch: int | None,
) -> tuple[NetConfig, TrainConfig]:
    """Networks and training settings of the options; a critic of choice brings its own recipe."""
    net = preset_named(preset)
    own = RECIPES["tiny64" if net.critic == "features" else "paper256"]  # of a JSON file
    config = RECIPES.get(preset, own)
    config = replace(config, batch=batch or config.batch)
    if critic is not None and critic != net.critic:
        net = net.with_(critic=critic)
        like = RECIPES["tiny64" if critic == "features" else "paper256"]
        config = replace(like, batch=config.batch)
    if net.critic == "stylegan2":
        config = replace(config, r1_gamma=r1_gamma(net.resolution, config.batch))
    if conditioning is not None:
        net = net.with_(conditioning=conditioning)
    if unconditional:
        net, config = net.with_(num_tags=0), replace(config, tag_weight=0.0)
    return net, config


def with_chosen(
    config: TrainConfig, net: NetConfig, chosen: dict[str, Any], lr: float | None, begun: bool
) -> TrainConfig:
    """The table's options on top of the recipe; a loss of choice first, with its penalties.

    A rate of choice is G's, and D's keeps its proportion. Where the networks have begun elsewhere
    nothing is blurred: there is something fine to lose.
    """
    if lr is not None:
        config = replace(config, lr_g=lr, lr_d=lr * config.lr_d / config.lr_g)
    if begun:
        config = replace(config, blur=0.0)
    if "loss" in chosen:
        config = with_loss(config, chosen["loss"], net.resolution)
    return replace(config, **chosen)
