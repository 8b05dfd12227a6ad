"""Adaptive augmentation's probability, driven by how much D overfits.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kaogen.training.config import TrainConfig
from kaogen.training.losses import Scores


def lean(real: Scores, fake: Scores, relative: bool) -> Tensor:
    """r_t = E sign D(x), between -1 and 1: towards 1 as D knows the reals by heart.

    Args:
        real: D's scores on reals.
        fake: D's scores on fakes.
        relative: where only differences of scores mean something, the sign is that of
            D(x) - D(G(z)), pair by pair.

    """
    if relative:
        real = [r - f for r, f in zip(real, fake, strict=True)]
    return torch.stack([s.detach().float().sign().mean() for s in real]).mean()


class Adaptive:
    """p and the signs gathered since it last moved.

    Args:
        config: the `ada_*` settings and the batch.

    Attributes:
        p: the augmentations' probability, between 0 and `ada_max`.
        rt: mean lean at the last adjustment.

    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.p = config.ada_p
        self.rt = self.total = 0.0
        self.count = 0

    def see(self, lean_now: float) -> None:
        """Take in one step's lean; every `ada_interval` steps p moves toward the target.

        One move is so small that p needs `ada_kimg` thousand images from 0 to 1.
        """
        config = self.config
        self.total += lean_now
        self.count += 1
        if self.count < config.ada_interval:
            return
        self.rt = self.total / self.count
        move = config.batch * self.count / (config.ada_kimg * 1000)
        if self.rt != config.ada_target:
            self.p += move if self.rt > config.ada_target else -move
        self.p = min(max(self.p, 0.0), config.ada_max)
        self.total, self.count = 0.0, 0

    def tensor(self) -> Tensor:
        """All of it, for the checkpoint: float64 [4], so that it comes back to the bit."""
        return torch.tensor([self.p, self.rt, self.total, self.count], dtype=torch.float64)

    def restore(self, saved: Tensor) -> None:
        """The inverse of `tensor`."""
        self.p, self.rt, self.total, count = saved.tolist()
        self.count = int(count)
