"""Real and fake pictures through the discriminator in one pass.

One pass of twice the batch prepares weights once and runs larger products. Rows alternate, so that
the minibatch deviation, which puts picture i into group i mod (N / group), forms the very groups
of two passes: real pictures among real ones, fakes among fakes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kaogen.nets.critic import GROUP, FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.training.losses import Scores


def alternate(real: Tensor, fake: Tensor) -> Tensor:
    """[N, ...] and [N, ...] -> [2N, ...], in turn; maps with channels last."""
    layout = torch.channels_last if real.dim() == 4 else torch.contiguous_format
    shape = (2 * len(real), *real.shape[1:])
    both = torch.empty(shape, dtype=real.dtype, device=real.device, memory_format=layout)
    both[0::2], both[1::2] = real, fake
    return both


def score_pairs(
    critic: Discriminator | FeatureCritic,
    real: list[Tensor],
    fake: list[Tensor],
    labels: tuple[Tensor, Tensor],
    dtype: torch.dtype,
) -> tuple[Scores, Scores]:
    """D's scores of real and fake, one tensor per head.

    Args:
        critic: the discriminator.
        real, fake: what `critic.features` gave, without a graph.
        labels: of the real pictures and of the fakes, [N, num_tags] each.
        dtype: of the activations.

    """
    group = GROUP if isinstance(critic, FeatureCritic) else critic.cfg.mbstd_group
    if len(real[0]) < group:  # twice as many would be one group, of both kinds
        one = critic.score(real, labels[0], dtype)
        return one, critic.score(fake, labels[1], dtype)
    both = [alternate(r, f) for r, f in zip(real, fake, strict=True)]
    scores = critic.score(both, alternate(*labels), dtype)
    return [s[0::2] for s in scores], [s[1::2] for s in scores]
