"""What a training run is made of, beside the networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from kaogen.errors import ConfigError

Loss = Literal["nonsaturating", "hinge"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run; written to `config.json` and checked on resume.

    Attributes:
        batch: pictures a step.
        lr_g, lr_d: Adam's learning rates.
        beta2: Adam's second beta; the first is 0.
        loss: "nonsaturating" or "hinge".
        r1_gamma: weight of the R1 penalty; 0 is off.
        r1_interval: steps between two R1 phases (lazy regularisation).
        tag_weight: weight of the frozen tagger's verdict in G's loss; needs the feature critic.
        ema_kimg: half-life of G's running average, in thousands of images.
        ema_rampup: the half-life is at most this share of the images seen.
        flip: mirror half of the real pictures.
        augment: "none", or "shift+cut": translation and cut-out on real and fake alike.
        balance: 0 samples rows evenly; 1 repeats rows with rare tags until tags are even
            (at most 4 times).
        seed: of all randomness.
        kimg: when to stop, in thousands of images.
        tick_kimg: between two reports and checkpoints.
        precision: type of the activations: "fp32" or "bf16"; "auto" is bf16 where the machine
            has it.

    """

    batch: int = 32
    lr_g: float = 2e-3
    lr_d: float = 2e-3
    beta2: float = 0.99
    loss: Loss = "nonsaturating"
    r1_gamma: float = 0.0
    r1_interval: int = 16
    tag_weight: float = 0.0
    ema_kimg: float = 10.0
    ema_rampup: float = 0.05
    flip: bool = True
    augment: Literal["none", "shift+cut"] = "none"
    balance: float = 0.0
    seed: int = 0
    kimg: float = 1000.0
    tick_kimg: float = 4.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"A batch of {self.batch} pictures cannot be.")
        if self.loss not in ("nonsaturating", "hinge"):
            raise ConfigError(f"Unknown loss {self.loss!r}: nonsaturating or hinge.")
        if self.kimg <= 0 or self.tick_kimg <= 0:
            raise ConfigError("--kimg and --tick must be more than 0.")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def r1_gamma(resolution: int, batch: int) -> float:
    """ADA's rule of thumb for the weight of R1: 0.0002 * resolution^2 / batch."""
    return 2e-4 * resolution**2 / batch


# Beside each network preset, what trains it; the feature critic needs no R1.
RECIPES: dict[str, TrainConfig] = {
    "tiny64": TrainConfig(loss="hinge", tag_weight=0.05, augment="shift+cut", balance=0.5),
    "base128": TrainConfig(
        batch=16, loss="hinge", tag_weight=0.05, augment="shift+cut", balance=0.5
    ),
    "paper256": TrainConfig(batch=8, r1_gamma=r1_gamma(256, 8), lr_g=2.5e-3, lr_d=2.5e-3),
    "paper512": TrainConfig(batch=4, r1_gamma=r1_gamma(512, 4), lr_g=2.5e-3, lr_d=2.5e-3),
    "paper1024": TrainConfig(batch=4, r1_gamma=r1_gamma(1024, 4), lr_g=2.5e-3, lr_d=2.5e-3),
}
