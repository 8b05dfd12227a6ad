"""Trains the built-in tagger on labelled faces (`kaogen tagger train`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from numpy.typing import NDArray
from torch import Tensor

from kaogen.nets.tagger import TaggerNet
from kaogen.training.augment import cut_mask
from kaogen.training.tagger_data import EYES, HAIR, UNKNOWN, Labelled

Report = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class TaggerConfig:
    """How the tagger is trained; the defaults made the one that ships."""

    size: int = 80  # pixels, square
    steps: int = 900
    batch: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.02
    seed: int = 0
    ema: float = 0.99  # per step, of the weights that are kept
    # Share of each batch drawn from each source, in the order given to `train`.
    mix: tuple[float, ...] = (0.5, 0.35, 0.15)
    binary_tags: tuple[str, ...] = field(default=())


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, rotate, scale, shift, brightness, a square cut out; never hue.

    Shifting hue would falsify the colour tags.

    Args:
        x: RGB [N, 3, H, W] in [-1, 1].
        generator: source of randomness.

    """
    n = x.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    angle = uniform(-0.26, 0.26)
    scale = torch.exp(uniform(-0.25, 0.18))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin, uniform(-0.1, 0.1)], 1),
            torch.stack([sin * flip, cos, uniform(-0.1, 0.1)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    gain = torch.exp(uniform(-0.12, 0.12))[:, None, None, None]
    offset = uniform(-0.08, 0.08)[:, None, None, None]
    x = (x * gain + offset).clamp(-1, 1)
    size = x.shape[2] // 4
    top = (uniform(0, 1) * (x.shape[2] - size)).long()
    left = (uniform(0, 1) * (x.shape[3] - size)).long()
    hidden = cut_mask(n, x.shape[2], x.shape[3], size, top, left)
    return x * torch.maximum(hidden, (uniform(0, 1) < 0.5).float()[:, None, None, None])


def loss_of(logits: Tensor, hair: Tensor, eyes: Tensor, binary: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy for the two colours, masked binary cross-entropy for the rest."""
    a, b = len(HAIR), len(HAIR) + len(EYES)
    colour = F.cross_entropy(logits[:, :a], hair, ignore_index=UNKNOWN, label_smoothing=0.1)
    colour = colour + F.cross_entropy(
        logits[:, a:b], eyes, ignore_index=UNKNOWN, label_smoothing=0.1
    )
    known = ~torch.isnan(binary)
    target = torch.nan_to_num(binary)
    each = F.binary_cross_entropy_with_logits(
        logits[:, b:], target, pos_weight=weight, reduction="none"
    )
    # One yes/no tag weighs about half of what a colour group does.
    return colour + 0.5 * binary.shape[1] * (each * known).sum() / known.sum().clamp(min=1)


def as_input(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] -> [-1, 1] [N, 3, H, W], channels last."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return x.float().div_(127.5).sub_(1.0)


class Sampler:
    """Endless batches; each source is gone through in its own shuffled order."""

    def __init__(self, sources: list[Labelled], config: TaggerConfig) -> None:
        self.sources = sources
        self.rng = np.random.default_rng(config.seed)
        shares = config.mix[: len(sources)]
        self.counts = [max(1, round(config.batch * share / sum(shares))) for share in shares]
        self.queues: list[list[int]] = [[] for _ in sources]

    def take(self, which: int, count: int) -> list[int]:
        """The next `count` rows of one source."""
        queue = self.queues[which]
        while len(queue) < count:
            queue.extend(self.rng.permutation(len(self.sources[which].names)).tolist())
        taken, self.queues[which] = queue[:count], queue[count:]
        return taken

    def batch(self) -> tuple[NDArray[np.uint8], Tensor, Tensor, Tensor]:
        """Images, hair, eyes, binary targets."""
        rows = [(s, self.take(i, self.counts[i])) for i, s in enumerate(self.sources)]
        return (
            np.concatenate([s.images[r] for s, r in rows]),
            torch.from_numpy(np.concatenate([s.hair[r] for s, r in rows])),
            torch.from_numpy(np.concatenate([s.eyes[r] for s, r in rows])),
            torch.from_numpy(np.concatenate([s.binary[r] for s, r in rows])),
        )


def positive_weight(source: Labelled) -> Tensor:
    """sqrt(no / yes), at most 5: rare tags count more without drowning the common ones."""
    yes = np.nansum(source.binary, axis=0).clip(1)
    total = np.sum(~np.isnan(source.binary), axis=0).clip(2)
    return torch.from_numpy(np.sqrt((total - yes) / yes).clip(1.0, 5.0).astype(np.float32))


def train(
    sources: list[Labelled],
    config: TaggerConfig,
    report: Report,
    start_from: TaggerNet | None = None,
) -> TaggerNet:
    """Train and return the weights' running average, in evaluation mode.

    Args:
        sources: labelled sets; the first must know every binary tag.
        config: sizes, steps, rates.
        report: called as report(step, steps, loss, faces per second).
        start_from: weights to go on from; otherwise from scratch.

    """
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    net = TaggerNet(len(HAIR) + len(EYES) + len(config.binary_tags))
    if start_from is not None:
        net.load_state_dict(start_from.state_dict())
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.train()
    average = TaggerNet(net.head.out_features)
    average.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, config.steps)
    weight = positive_weight(sources[0])
    sampler = Sampler(sources, config)
    start = time.perf_counter()
    for step in range(1, config.steps + 1):
        images, hair, eyes, binary = sampler.batch()
        x = augment(as_input(images), generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        loss = loss_of(logits.float(), hair, eyes, binary, weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        blend(average, net, min(config.ema, step / (step + 10)))
        if step % 20 == 0 or step == config.steps:
            rate = step * len(images) / (time.perf_counter() - start)
            report(step, config.steps, float(loss.detach()), rate)
    return average.eval()


@torch.no_grad()
def blend(average: TaggerNet, net: TaggerNet, keep: float) -> None:
    """average = keep * average + (1 - keep) * net, statistics included."""
    for a, b in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if a.dtype.is_floating_point:
            a.lerp_(b, 1.0 - keep)
        else:
            a.copy_(b)


@torch.inference_mode()
def predict(net: TaggerNet, images: NDArray[np.uint8], flips: bool = True) -> NDArray[np.float32]:
    """Probabilities [N, outputs]: softmax within each colour, sigmoid for the rest.

    Args:
        net: a trained tagger.
        images: [N, S, S, 3].
        flips: average over the picture and its mirror image.

    """
    rows = []
    for i in range(0, len(images), 256):
        x = as_input(images[i : i + 256])
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x).float()
            if flips:
                logits = (logits + net(x.flip(3)).float()) / 2
        rows.append(probabilities(logits).numpy())
    return np.concatenate(rows)


def probabilities(logits: Tensor) -> Tensor:
    """Logits -> probabilities, in the order HAIR, EYES, binary tags."""
    a, b = len(HAIR), len(HAIR) + len(EYES)
    parts = [logits[:, :a].softmax(1), logits[:, a:b].softmax(1), logits[:, b:].sigmoid()]
    return torch.cat(parts, 1)


def average_precision(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve, by ranks; NaN without a positive."""
    if not truth.any():
        return math.nan
    hits = truth[np.argsort(-score, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())
