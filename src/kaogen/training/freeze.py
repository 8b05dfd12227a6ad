"""Freeze-D: the discriminator's first layers keep what another data set has taught them.

Mo et al., "Freeze the Discriminator" (2020). Layers are counted as ADA counts them, so that its
recommended numbers (10 for 256 px) mean the same here.
"""

from __future__ import annotations

from torch import nn

from kaogen.errors import ConfigError
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator


def layers_in_order(critic: Discriminator | FeatureCritic) -> list[list[nn.Module]]:
    """The layers that can be frozen, from the picture on; those of one entry go together.

    The residual discriminator: FromRGB, then Conv0, Conv1_down and Skip of each block. The
    feature critic's trunk is frozen already; there, entry i is layer i of every head.
    """
    if isinstance(critic, Discriminator):
        blocks = [critic.get_submodule(f"b{size}") for size in critic.cfg.sizes[:0:-1]]
        parts = [b.get_submodule(n) for b in blocks for n in ("conv0", "conv1_down", "skip")]
        return [[critic.from_rgb], *([part] for part in parts)]
    stacks = [[*head.get_submodule("layers").children()] for head in critic.heads]
    depth = max(len(stack) for stack in stacks)
    return [[stack[i] for stack in stacks if i < len(stack)] for i in range(depth)]


def first_layers(critic: Discriminator | FeatureCritic, count: int) -> list[nn.Module]:
    """The first `count` layers; ConfigError where there are not so many."""
    if count == 0:
        return []
    layers = layers_in_order(critic)
    if count > len(layers):
        raise ConfigError(
            f"--freeze-d {count}: this discriminator has {len(layers)} layers that can be frozen."
        )
    return [layer for together in layers[:count] for layer in together]
