"""Differentiable augmentation, the light policy: translation and cut-out.

After Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020), without
its colour part: shifting hue or saturation would falsify the colour tags.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor

from kaogen.nets.filters import depthwise
from kaogen.training.augment_ada import Pipeline

SHARP = 0.1  # pixels of blur that nobody sees

# (pictures, source of randomness, probability of each operation) -> pictures.
Policy = Callable[[Tensor, torch.Generator, float], Tensor]


def translate(x: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Shift each picture by whole pixels; the edge is repeated.

    Args:
        x: [N, C, H, W].
        dx, dy: [N], integer pixels to the right and down.

    """
    n, _, h, w = x.shape
    rows = (torch.arange(h, device=x.device)[None] - dy[:, None]).clamp(0, h - 1)
    columns = (torch.arange(w, device=x.device)[None] - dx[:, None]).clamp(0, w - 1)
    picture = torch.arange(n, device=x.device)[:, None, None]
    # Advanced indices around a slice: [N, H, W, C], which is channels last already.
    return x[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_mask(n: int, h: int, w: int, size: int, top: Tensor, left: Tensor) -> Tensor:
    """1 outside each picture's square of `size` pixels, 0 inside. -> [N, 1, H, W]."""
    device = top.device
    ys = torch.arange(h, device=device)[None] - top[:, None]
    xs = torch.arange(w, device=device)[None] - left[:, None]
    inside_y = (ys >= 0) & (ys < size)
    inside_x = (xs >= 0) & (xs < size)
    return (~(inside_y[:, :, None] & inside_x[:, None, :])).float().reshape(n, 1, h, w)


def shift_and_cut(x: Tensor, generator: torch.Generator) -> Tensor:
    """Translation by up to 1/8 of the picture; every second one loses a square of 3/8.

    [N, C, H, W] in [-1, 1] -> the same shape; differentiable in x.
    """
    n, _, h, w = x.shape

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (n,), generator=generator).to(x.device)

    reach = max(1, h // 8)
    x = translate(x, draw(-reach, reach), draw(-reach, reach))
    size = h * 3 // 8
    mask = cut_mask(n, h, w, size, draw(-size // 2, h - size // 2), draw(-size // 2, w - size // 2))
    keep = draw(0, 1).float().reshape(n, 1, 1, 1)
    return x * torch.maximum(mask, keep)


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, the edge repeated. [N, C, H, W] -> the same shape.

    Args:
        x: pictures.
        sigma: standard deviation in pixels; below a tenth nothing is done.

    """
    if sigma < SHARP:
        return x
    reach = min(math.ceil(3 * sigma), x.shape[2], x.shape[3])
    steps = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-(steps / sigma).square() / 2)
    taps = (taps / taps.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    x = depthwise(x, taps, None, (0, 0, 0, 0))
    return depthwise(x, taps.transpose(2, 3), None, (0, 0, 0, 0))


def policy_of(name: str, groups: tuple[str, ...]) -> Policy | None:
    """What `TrainConfig.augment` names, with `ada_groups` for "ada"; None for "none"."""
    if name == "shift+cut":
        return lambda x, generator, _p: shift_and_cut(x, generator)
    if name == "ada":
        return Pipeline(groups)
    return None
