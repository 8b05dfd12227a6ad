"""``kaogen train``'s options that set one field of `TrainConfig` each: a table of them.

Left out, an option leaves the preset's recipe as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kaogen.training.config import ADA_GROUPS, CHOICES, TrainConfig

# (field of TrainConfig, option, type, help); the field checks its own range.
OPTIONS: tuple[tuple[str, str, type, str], ...] = (
    ("loss", "--loss", str, f"{', '.join(CHOICES['loss'])}; brings its penalties."),
    ("r1_gamma", "--r1", float, "Weight gamma of R1; 0 is off."),
    ("r1_interval", "--r1-interval", int, "Steps between two R1 phases."),
    ("r2_gamma", "--r2", float, "Weight gamma of R2 (R1 on fakes)."),
    ("r2_interval", "--r2-interval", int, "Steps between two R2 phases."),
    ("gp_weight", "--gp", float, "Weight of WGAN-GP's gradient penalty."),
    ("gp_interval", "--gp-interval", int, "Steps between two gradient penalties."),
    ("path_weight", "--path", float, "Weight of path length regularisation; StyleGAN2's is 2."),
    ("path_interval", "--path-interval", int, "Steps between two path length phases."),
    ("mixing", "--mixing", float, "Probability of style mixing; StyleGAN2's is 0.9."),
    ("lr_d", "--lr-d", float, "Learning rate of the discriminator, where it is another."),
    ("lr_decay", "--lr-decay", str, "Learning rate: none, cosine, or steps (halves)."),
    ("lr_hold", "--lr-hold", float, "Share of --kimg before the learning rate falls."),
    ("lr_final", "--lr-final", float, "What is left of the learning rate at --kimg."),
    ("freeze_d", "--freeze-d", int, "Layers of the discriminator not to train, from the picture."),
    ("d_first_kimg", "--d-first", float, "kimg from which D alone learns; for --init-from."),
    ("tag_weight", "--tag-weight", float, "Weight of the tagger's verdict; needs features."),
    ("tag_dropout", "--tag-dropout", float, "Share of rows that forget some of their tags."),
    ("balance", "--balance", float, "0: rows evenly; 1: rows with rare tags up to 4 times."),
    ("holdout", "--holdout", int, "Faces not to train on, to notice overfitting by."),
    ("uncond_kimg", "--uncond-kimg", float, "Ignore the labels for so many kimg."),
    ("blend_kimg", "--blend-kimg", float, "And let them in over so many kimg."),
    ("flip", "--flip/--no-flip", bool, "Mirror half of the real pictures."),
    ("blur", "--blur", float, "Blur what D sees at first, pixels at 64 px; 0 is off."),
    ("blur_kimg", "--blur-kimg", float, "By when the blur has faded."),
    ("augment", "--augment", str, f"{', '.join(CHOICES['augment'])} (adaptive)."),
    ("ada_ops", "--ada-ops", str, f"ada: some of {'+'.join(ADA_GROUPS)}."),
    ("ada_target", "--ada-target", float, "ada: the overfitting to hold; 0 keeps p fixed."),
    ("ada_p", "--ada-p", float, "ada: p at the start."),
    ("ada_max", "--ada-max", float, "ada: highest p."),
    ("ada_kimg", "--ada-kimg", float, "ada: kimg for p to go from 0 to 1."),
    ("ema_kimg", "--ema-kimg", float, "Half-life of the generator's average, kimg."),
    ("ema_rampup", "--ema-rampup", float, "At most this share of the images seen; 0: no bound."),
    ("precision", "--precision", str, "Activations: auto, fp32 or bf16."),
)


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the table's options beside its own.

    Args:
        function: takes, as `chosen`, a dictionary of the fields that were given.

    """
    own = inspect.signature(function, eval_str=True)
    kept = [p for p in own.parameters.values() if p.name != "chosen"]
    added = [option(*row) for row in OPTIONS]

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> None:
        chosen = {p.name: given.pop(p.name) for p in added}
        function(*args, **given, chosen={k: v for k, v in chosen.items() if v is not None})

    # Typer reads the signature, and the annotations beside it.
    command.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*kept, *added]}
    return command


def option(field: str, flag: str, kind: Any, told: str) -> inspect.Parameter:
    """One row as a parameter with Typer's annotation."""
    assert field in TrainConfig.__dataclass_fields__, field
    annotation = Annotated[kind | None, typer.Option(flag, help=told)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field, keyword, default=None, annotation=annotation)
