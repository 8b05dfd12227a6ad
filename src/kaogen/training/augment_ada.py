"""Adaptive augmentation's pipeline: each operation strikes each picture with probability p.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B, in
its order and with its strengths. Colours are a choice apart: hue, luma flip and strong saturation
would falsify colour tags, so they stand in a group of their own ("color") that nothing turns on
by itself; "light" is brightness, contrast, and a quarter of ADA's saturation.

Every operation takes pictures and parameters and is differentiable as often as one likes; p and
chance are met only in `Pipeline`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kaogen.training.augment_warp import BANDS, amplify_bands, warp


def blit(x: Tensor, flip: Tensor, turns: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Mirror, quarter turns, then whole-pixel shifts, exactly; the edge is mirrored.

    Args:
        x: [N, C, H, W].
        flip: [N], bool: left becomes right.
        turns: [N], 0 to 3 quarter turns counter-clockwise; pictures that are not square know
            half turns only, and an odd one is left out.
        dx, dy: [N], pixels to the right and down.

    """
    n, c, h, w = x.shape

    def shifted(by: Tensor, size: int) -> Tensor:
        at, period = torch.arange(size, device=x.device), max(1, 2 * (size - 1))
        return ((at[None] - by[:, None] + size - 1) % period - (size - 1)).abs()

    rows = shifted(dy, h)[:, :, None].expand(n, h, w)
    columns = shifted(dx, w)[:, None, :].expand(n, h, w)
    if h == w:
        odd = (turns % 2 == 1)[:, None, None]
        # A counter-clockwise quarter turn reads (row, column) from (column, size - 1 - row).
        rows, columns = torch.where(odd, columns, rows), torch.where(odd, w - 1 - rows, columns)
    half = (turns >= 2)[:, None, None]
    rows = torch.where(half, h - 1 - rows, rows)
    columns = torch.where(half, w - 1 - columns, columns)
    columns = torch.where(flip[:, None, None], w - 1 - columns, columns)
    index = (rows * w + columns).reshape(n, 1, h * w).expand(n, c, h * w)
    return x.flatten(2).gather(2, index).reshape(x.shape)


def scaling(sx: Tensor, sy: Tensor) -> Tensor:
    """[N], [N] -> [N, 3, 3]."""
    out = torch.eye(3, dtype=sx.dtype).repeat(len(sx), 1, 1)
    out[:, 0, 0], out[:, 1, 1] = sx, sy
    return out


def rotation(angle: Tensor) -> Tensor:
    """Counter-clockwise as seen, radians [N] -> [N, 3, 3]; y points down."""
    out = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
    out[:, 0, 0], out[:, 0, 1] = angle.cos(), angle.sin()
    out[:, 1, 0], out[:, 1, 1] = -angle.sin(), angle.cos()
    return out


def translation(dx: Tensor, dy: Tensor) -> Tensor:
    """Pixels [N], [N] -> [N, 3, 3]."""
    out = torch.eye(3, dtype=dx.dtype).repeat(len(dx), 1, 1)
    out[:, 0, 2], out[:, 1, 2] = dx, dy
    return out


def recolour(
    x: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    flip: Tensor,
    hue: Tensor,
    saturation: Tensor,
) -> Tensor:
    """Brightness, contrast, luma flip, hue, saturation, in this order; alpha is left alone.

    Args:
        x: [N, C, H, W] in [-1, 1]; grey pictures know brightness and contrast only.
        brightness: [N], added.
        contrast: [N], factors.
        flip: [N], bool: the grey part changes its sign.
        hue: [N], radians round the grey axis.
        saturation: [N], factors of the distance from the grey axis.

    """

    def per_picture(values: Tensor) -> Tensor:
        return values.to(x.device, x.dtype)[:, None, None, None]

    colours, alpha = (x[:, :3], x[:, 3:]) if x.shape[1] >= 3 else (x[:, :1], x[:, 1:])
    y = (colours + per_picture(brightness)) * per_picture(contrast)
    if y.shape[1] == 3:
        grey = y.mean(dim=1, keepdim=True).expand_as(y)
        tint = y - grey
        # Rodrigues' rotation of what is orthogonal to the axis (1, 1, 1) / sqrt(3).
        aside = (tint.roll(1, dims=1) - tint.roll(-1, dims=1)) / math.sqrt(3)
        tint = tint * per_picture(hue.cos()) + aside * per_picture(hue.sin())
        sign = 1 - 2 * flip.to(hue.dtype)
        y = grey * per_picture(sign) + tint * per_picture(saturation)
    return torch.cat([y, alpha], dim=1)


def cutout(x: Tensor, left: Tensor, top: Tensor, width: Tensor) -> Tensor:
    """Zero in a square.

    Args:
        x: [N, C, H, W].
        left, top: [N], the square's corner as shares of the picture.
        width: [N], its side as a share of the picture; 0 leaves the picture whole.

    """

    def inside(size: int, start: Tensor) -> Tensor:
        middle = (torch.arange(size, dtype=start.dtype) + 0.5)[None] / size
        return (middle >= start[:, None]) & (middle < (start + width)[:, None])

    hole = inside(x.shape[2], top)[:, :, None] & inside(x.shape[3], left)[:, None, :]
    return x * (~hole)[:, None].to(x.device, x.dtype)


class Chance:
    """Parameters of n pictures: drawn on the CPU, the same whatever the device.

    Args:
        n: pictures.
        p: probability of each operation.
        generator: where chance comes from.

    """

    def __init__(self, n: int, p: float, generator: torch.Generator) -> None:
        self.n, self.p, self.generator = n, p, generator

    def normal(self) -> Tensor:
        """N(0, 1), float64 [n]."""
        return torch.randn(self.n, generator=self.generator, dtype=torch.float64)

    def uniform(self, low: float, high: float) -> Tensor:
        """Even between the two, float64 [n]."""
        values = torch.rand(self.n, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * values

    def struck(self, values: Tensor, otherwise: float, p: float | None = None) -> Tensor:
        """`values` where the operation strikes, else what changes nothing."""
        strikes = self.uniform(0, 1) < (self.p if p is None else p)
        return torch.where(strikes, values, torch.full_like(values, otherwise))


class Pipeline:
    """The operations of some groups, in ADA's order.

    Args:
        groups: of `config.ADA_GROUPS`.

    """

    def __init__(self, groups: tuple[str, ...]) -> None:
        self.groups = groups

    def __call__(self, x: Tensor, generator: torch.Generator, p: float) -> Tensor:
        """[N, C, H, W] in about [-1, 1] -> the same shape; p is each operation's probability."""
        if p <= 0:
            return x
        chance = Chance(len(x), p, generator)
        if "blit" in self.groups:
            x = self.blit(x, chance)
        if "geometric" in self.groups:
            x = self.geometric(x, chance)
        if "light" in self.groups or "color" in self.groups:
            x = self.colours(x, chance, strong="color" in self.groups)
        if "filter" in self.groups:
            x = self.filter(x, chance)
        if "noise" in self.groups:
            x = self.noise(x, chance)
        if "cutout" in self.groups:
            left, top = chance.uniform(-0.25, 0.75), chance.uniform(-0.25, 0.75)
            x = cutout(x, left, top, chance.struck(torch.full_like(left, 0.5), 0.0))
        return x

    @staticmethod
    def blit(x: Tensor, chance: Chance) -> Tensor:
        """Mirror, quarter turns, whole pixels up to an eighth of the picture."""
        flip = chance.struck(chance.uniform(0, 2).floor(), 0.0) > 0
        turns = chance.struck(chance.uniform(0, 4).floor(), 0.0).long()
        dx, dy = (chance.uniform(-0.125, 0.125) * x.shape[2] for _ in range(2))
        strikes = chance.struck(torch.ones_like(dx), 0.0)
        shift = [(d * strikes).round().long().to(x.device) for d in (dx, dy)]
        return blit(x, flip.to(x.device), turns.to(x.device), shift[0], shift[1])

    @staticmethod
    def geometric(x: Tensor, chance: Chance) -> Tensor:
        """Scale, rotation before and after stretching, and a shift by a fraction of pixels."""
        turn = 1 - math.sqrt(1 - min(chance.p, 1.0))  # at least one of two with probability p
        size = chance.struck(torch.exp2(0.2 * chance.normal()), 1.0)
        before = chance.struck(chance.uniform(-math.pi, math.pi), 0.0, turn)
        stretch = chance.struck(torch.exp2(0.2 * chance.normal()), 1.0)
        after = chance.struck(chance.uniform(-math.pi, math.pi), 0.0, turn)
        reach = 0.125 * x.shape[2]
        dx, dy = chance.normal() * reach, chance.normal() * reach
        strikes = chance.struck(torch.ones_like(dx), 0.0)
        forward = (
            translation(dx * strikes, dy * strikes)
            @ rotation(after)
            @ scaling(stretch, 1 / stretch)
            @ rotation(before)
            @ scaling(size, size)
        )
        return warp(x, torch.linalg.inv(forward)[:, :2])

    @staticmethod
    def colours(x: Tensor, chance: Chance, strong: bool) -> Tensor:
        """Brightness and contrast; where `strong`, also luma flip, hue and ADA's saturation."""
        brightness = chance.struck(0.2 * chance.normal(), 0.0)
        contrast = chance.struck(torch.exp2(0.5 * chance.normal()), 1.0)
        saturation = chance.struck(torch.exp2((1 if strong else 0.25) * chance.normal()), 1.0)
        flip = chance.struck(chance.uniform(0, 2).floor(), 0.0) > 0
        hue = chance.struck(chance.uniform(-math.pi, math.pi), 0.0)
        if not strong:
            flip, hue = torch.zeros_like(flip), torch.zeros_like(hue)
        return recolour(x, brightness, contrast, flip, hue, saturation)

    @staticmethod
    def filter(x: Tensor, chance: Chance) -> Tensor:
        """Octaves amplified at random, the expected power kept."""
        power = torch.tensor([10.0, 1.0, 1.0, 1.0], dtype=torch.float64) / 13  # of a picture
        gains = torch.ones(len(x), BANDS, dtype=torch.float64)
        for band in range(BANDS):
            one = torch.ones_like(gains)
            one[:, band] = chance.struck(torch.exp2(chance.normal()), 1.0)
            gains = gains * one / (power * one.square()).sum(dim=1, keepdim=True).sqrt()
        return amplify_bands(x, gains)

    @staticmethod
    def noise(x: Tensor, chance: Chance) -> Tensor:
        """Gaussian noise whose strength is |N(0, 0.1)|."""
        strength = chance.struck((0.1 * chance.normal()).abs(), 0.0)
        noise = torch.randn(x.shape, generator=chance.generator).to(x.device, x.dtype)
        return x + noise * strength.to(x.device, x.dtype)[:, None, None, None]
