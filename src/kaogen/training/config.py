"""What a training run is made of, beside the networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from kaogen.errors import ConfigError

Loss = Literal["nonsaturating", "hinge", "wgan-gp", "relativistic"]
Decay = Literal["none", "cosine", "steps"]
Augment = Literal["none", "shift+cut", "ada"]

# Adaptive augmentation's groups. "color" falsifies colour tags (hue, luma flip, strong
# saturation) and is therefore never on unless it is asked for; "light" is its harmless part.
ADA_GROUPS = ("blit", "geometric", "light", "color", "filter", "noise", "cutout")

CHOICES: dict[str, tuple[str, ...]] = {
    "loss": ("nonsaturating", "hinge", "wgan-gp", "relativistic"),
    "lr_decay": ("none", "cosine", "steps"),
    "augment": ("none", "shift+cut", "ada"),
    "precision": ("auto", "fp32", "bf16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run; written to `config.json` and checked on resume.

    A new setting needs a default that is what runs without it did: a `config.json` that does not
    name it is taken to mean that.

    Attributes:
        batch: pictures a step.
        lr_g, lr_d: Adam's learning rates, before decay.
        lr_decay: "none"; "cosine" falls smoothly, "steps" by halves; see `schedule.lr_share`.
        lr_hold: the rates stay whole for this share of `kimg`.
        lr_final: what is left of the rates at the end of `kimg`.
        beta2: Adam's second beta; the first is 0.
        loss: a name of `losses.LOSSES`.
        r1_gamma: weight of the R1 penalty; 0 is off.
        r1_interval: steps between two R1 phases (lazy regularisation).
        r2_gamma, r2_interval: the same of R2, on fakes.
        gp_weight, gp_interval: of WGAN-GP's gradient penalty.
        path_weight, path_interval: of path length regularisation (StyleGAN2: 2 and 4).
        path_shrink: path length looks at a batch this many times smaller.
        mixing: probability that a fake takes its later styles from a second latent.
        freeze_d: layers of the discriminator, from the picture on, that are not trained
            (Freeze-D, for fine-tuning; ADA counts the same layers).
        d_first_kimg: thousands of images from which D alone learns, at the start.
        tag_dropout: share of rows, real and asked for, that forget some of their tags.
        uncond_kimg, blend_kimg: labels count for nothing until `uncond_kimg`, and from there
            on grow to their whole weight in `blend_kimg` (Shahbazi et al. 2022).
        tag_weight: weight of the frozen tagger's verdict in G's loss; needs the feature critic.
        ema_kimg: half-life of G's running average, in thousands of images.
        ema_rampup: the half-life is at most this share of the images seen.
        flip: mirror half of the real pictures.
        augment: of real and fake alike: "none"; "shift+cut", translation and cut-out; "ada",
            adaptive augmentation.
        ada_ops: groups of `ADA_GROUPS` joined by "+".
        ada_target: the share by which D's signs on real pictures may lean to one side before
            augmentation grows (Karras et al. 2020: 0.6); 0 keeps p where it starts.
        ada_p: the augmentations' probability at the start.
        ada_max: its bound; above 0.8 augmentations were seen to leak into what G draws.
        ada_kimg: p needs so many thousand images to go from 0 to 1.
        ada_interval: steps between two adjustments of p.
        blur: at first D sees real and fake blurred by a Gaussian of so many pixels at 64 px (and
            as many times more as the picture is larger); else it wins by fine texture at once.
        blur_kimg: by when that has faded to nothing, linearly.
        balance: 0 samples rows evenly; 1 repeats rows with rare tags until tags are even
            (at most 4 times).
        holdout: faces that are kept from training, to tell whether D knows its own by heart.
        seed: of all randomness.
        kimg: when to stop, in thousands of images.
        tick_kimg: between two reports and checkpoints.
        precision: type of the activations: "fp32" or "bf16"; "auto" is bf16 where the machine
            has it.

    """

    batch: int = 32
    lr_g: float = 2e-3
    lr_d: float = 2e-3
    lr_decay: Decay = "none"
    lr_hold: float = 0.4
    lr_final: float = 0.1
    beta2: float = 0.99
    loss: Loss = "nonsaturating"
    r1_gamma: float = 0.0
    r1_interval: int = 16
    r2_gamma: float = 0.0
    r2_interval: int = 16
    gp_weight: float = 0.0
    gp_interval: int = 1
    path_weight: float = 0.0
    path_interval: int = 4
    path_shrink: int = 2
    mixing: float = 0.0
    freeze_d: int = 0
    d_first_kimg: float = 0.0
    tag_dropout: float = 0.0
    uncond_kimg: float = 0.0
    blend_kimg: float = 0.0
    tag_weight: float = 0.0
    ema_kimg: float = 10.0
    ema_rampup: float = 0.05
    flip: bool = True
    augment: Augment = "none"
    ada_ops: str = "blit+geometric+light"
    ada_target: float = 0.6
    ada_p: float = 0.0
    ada_max: float = 0.8
    ada_kimg: float = 500.0
    ada_interval: int = 4
    blur: float = 0.0
    blur_kimg: float = 0.0
    balance: float = 0.0
    holdout: int = 0
    seed: int = 0
    kimg: float = 1000.0
    tick_kimg: float = 4.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"A batch of {self.batch} pictures cannot be.")
        for name in ("kimg", "tick_kimg", "lr_g", "lr_d", "ada_kimg"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}, not a number above 0.")
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(
                    f"Unknown {name} {value!r}.", hint=f"One of {', '.join(allowed)}."
                )
        unknown = [g for g in self.ada_groups if g not in ADA_GROUPS]
        if unknown or not self.ada_groups:
            raise ConfigError(
                f"Unknown group of augmentations {(unknown or [''])[0]!r}.",
                hint=f"Join some of {', '.join(ADA_GROUPS)} by +.",
            )

    def _check_ranges(self) -> None:
        for name in ("mixing", "tag_dropout", "lr_hold", "lr_final", "ada_p", "ada_max", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, not between 0 and 1.")
        for name in ("r1_interval", "r2_interval", "gp_interval", "path_interval", "path_shrink"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, not 1 or more.")
        for name in (
            *("r1_gamma", "r2_gamma", "gp_weight", "path_weight", "freeze_d", "tag_weight"),
            *("uncond_kimg", "blend_kimg", "ada_target", "holdout", "d_first_kimg"),
            *("ema_kimg", "ema_rampup", "blur", "blur_kimg"),
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}, not 0 or more.")
        if self.ada_p > self.ada_max:
            raise ConfigError(f"ada_p is {self.ada_p}, more than ada_max, {self.ada_max}.")
        if self.ada_interval < 1:
            raise ConfigError("ada_interval must be 1 or more.")
        if self.lr_decay == "steps" and self.lr_final == 0:
            raise ConfigError("Halving a rate never reaches 0.", hint="Give --lr-final above 0.")

    @property
    def ada_groups(self) -> tuple[str, ...]:
        """`ada_ops`, taken apart."""
        return tuple(self.ada_ops.split("+"))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def r1_gamma(resolution: int, batch: int) -> float:
    """ADA's rule of thumb for the weight of R1: 0.0002 * resolution^2 / batch."""
    return 2e-4 * resolution**2 / batch


def with_loss(config: TrainConfig, loss: Loss, resolution: int) -> TrainConfig:
    """`config` with another loss and the penalties that belong to it.

    "wgan-gp" is nothing without its gradient penalty (Gulrajani et al. 2017: weight 10, every
    step), "relativistic" not without R1 and R2 (Huang et al. 2024: both, every step).
    """
    gamma = r1_gamma(resolution, config.batch)
    if loss == "wgan-gp":
        return replace(config, loss=loss, r1_gamma=0.0, gp_weight=10.0, gp_interval=1)
    if loss == "relativistic":
        both = {"r1_gamma": gamma, "r2_gamma": gamma, "r1_interval": 1, "r2_interval": 1}
        return replace(config, loss=loss, **both)  # type: ignore[arg-type]
    return replace(config, loss=loss)


# Beside each network preset, what trains it; the feature critic needs no R1. It sees so much that
# it must begin blurred and learn slower than G (docs/LOG.md).
SMALL = TrainConfig(
    lr_d=5e-4,
    loss="hinge",
    tag_weight=0.05,
    augment="shift+cut",
    blur=3.0,
    blur_kimg=40.0,
    balance=0.5,
    lr_decay="cosine",
)
PAPER = TrainConfig(lr_g=2.5e-3, lr_d=2.5e-3, mixing=0.9)
RECIPES: dict[str, TrainConfig] = {
    "tiny64": SMALL,
    "base128": replace(SMALL, batch=16),
    "paper256": replace(PAPER, batch=8, r1_gamma=r1_gamma(256, 8)),
    "paper512": replace(PAPER, batch=4, r1_gamma=r1_gamma(512, 4)),
    "paper1024": replace(PAPER, batch=4, r1_gamma=r1_gamma(1024, 4)),
}
