"""What changes over a run, as functions of the images seen and the settings alone.

Nothing here is remembered, so a resumed run needs nothing restored. Where `kimg` is raised on
resume, the rest of the run follows the longer run's schedule from that image on: its rate is what
a run that had been meant to be so long would have there, which is higher than where the shorter
one had ended (a warm restart).
"""

from __future__ import annotations

import math

from kaogen.training.config import TrainConfig


def lr_share(config: TrainConfig, seen: int) -> float:
    """What is left of the learning rates after `seen` images, between `lr_final` and 1.

    Whole for `lr_hold` of the run; t then goes from 0 to 1 at its end, and the share is

    - cosine: lr_final + (1 - lr_final) (1 + cos(pi t)) / 2 (Loshchilov & Hutter 2017);
    - steps: halved at t = 0, 1/n, ... as often (n) as it takes to reach lr_final.
    """
    if config.lr_decay == "none":
        return 1.0
    done = seen / (config.kimg * 1000)
    if done < config.lr_hold or config.lr_final == 1:
        return 1.0
    t = min(1.0, (done - config.lr_hold) / max(1 - config.lr_hold, 1e-9))
    if config.lr_decay == "cosine":
        return config.lr_final + (1 - config.lr_final) * (1 + math.cos(math.pi * t)) / 2
    halvings = math.ceil(-math.log2(config.lr_final))
    return max(config.lr_final, 0.5 ** min(halvings, 1 + math.floor(t * halvings)))


def g_lr_share(config: TrainConfig, seen: int) -> float:
    """The same for G, which waits until D has seen `d_first_kimg`.

    A generator from a model file meets a discriminator that knows nothing: what it would learn
    from its first opinions would only undo what it can.
    """
    return lr_share(config, seen) if seen >= config.d_first_kimg * 1000 else 0.0


def label_share(config: TrainConfig, seen: int) -> float:
    """How much labels count after `seen` images: 0 while unconditional, 1 in the end.

    The lambda of Shahbazi et al., "Collapse by Conditioning" (2022): linear in between.
    """
    since = seen - config.uncond_kimg * 1000
    if config.blend_kimg == 0:
        return float(since >= 0)
    return min(1.0, max(0.0, since / (config.blend_kimg * 1000)))


def blur_sigma(config: TrainConfig, seen: int, size: int) -> float:
    """Standard deviation in pixels of the blur that D sees through after `seen` images.

    Falls linearly to 0 at `blur_kimg` (StyleGAN3 and StyleGAN-XL begin so).

    Args:
        config: the run's.
        seen: images.
        size: shorter side of the pictures in pixels; `config.blur` is meant at 64.

    """
    if not config.blur_kimg:
        return 0.0
    return config.blur * size / 64 * max(0.0, 1 - seen / (config.blur_kimg * 1000))
