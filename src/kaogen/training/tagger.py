"""Trains the built-in tagger on labelled faces (`kaogen tagger train`)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from numpy.typing import NDArray
from torch import Tensor, nn

from kaogen.nets.efficientnet import EfficientNetLite, load_imagenet
from kaogen.nets.tagger import NARROW, WIDTHS, TaggerNet
from kaogen.training.augment import cut_mask
from kaogen.training.tagger_data import EYES, HAIR, Faces

Report = Callable[[int, int, float, float], None]


TaggerNetwork = TaggerNet | EfficientNetLite


class TwoTaggers(nn.Module):
    """One network's opinion of colours, another's of everything else.

    Args:
        colours: judges hair and eye colour.
        rest: judges yes/no tags; its features are the pair's.

    """

    def __init__(self, colours: TaggerNetwork, rest: TaggerNetwork) -> None:
        super().__init__()
        self.colours, self.rest = colours, rest

    def forward(self, x: Tensor) -> Tensor:
        """RGB [N, 3, H, W] in [-1, 1] -> logits [N, outputs]."""
        b = len(HAIR) + len(EYES)
        return torch.cat([self.colours(x)[:, :b].float(), self.rest(x)[:, b:].float()], dim=1)


@dataclass(frozen=True)
class TaggerConfig:
    """One stage of training.

    Attributes:
        network: "plain" and "narrow" are `nets.tagger`'s, from nothing; "imagenet" is
            EfficientNet-Lite0, from ImageNet's weights.
        size: pixels, square.
        steps: batches.
        batch: faces.
        lr: highest learning rate of the one cycle.
        head_lr: times that, for the last layer.
        weight_decay: AdamW's.
        seed: of the order, the augmentation and the new weights.
        ema: kept of the averaged weights at each step.
        mix: share of each batch drawn from each source, in the order given to `train`.
        soft_share: of each batch, drawn from faces that teachers have labelled.
        binary_weight: what one yes/no tag weighs beside a colour group.

    """

    network: Literal["plain", "narrow", "imagenet"] = "plain"
    size: int = 96
    steps: int = 1400
    batch: int = 64
    lr: float = 1e-3
    head_lr: float = 3.0
    weight_decay: float = 0.02
    seed: int = 0
    ema: float = 0.99
    mix: tuple[float, ...] = (0.5, 0.36, 0.14)
    binary_weight: float = 0.25
    soft_share: float = 0.0


def make_network(config: TaggerConfig, num_outputs: int) -> TaggerNetwork:
    """The network of a stage; EfficientNet comes with ImageNet's weights.

    Raises:
        MissingExtraError: the package that holds those is not installed.

    """
    torch.manual_seed(config.seed)
    if config.network != "imagenet":
        return TaggerNet(num_outputs, NARROW if config.network == "narrow" else WIDTHS)
    net = EfficientNetLite(num_outputs)
    load_imagenet(net)
    return net


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


def loss_of(logits: Tensor, targets: Tensor, weight: Tensor, binary_weight: float = 0.5) -> Tensor:
    """Cross-entropy for the two colours, binary cross-entropy for the rest, unknowns left out.

    Args:
        logits: [N, outputs].
        targets: [N, outputs] in [0, 1], NaN where nothing is known.
        weight: [N, outputs - colours] times what a "yes" of each tag counts.
        soft_share: of each batch, drawn from faces that teachers have labelled.
        binary_weight: what one yes/no tag weighs beside a colour group.

    """
    b = len(HAIR) + len(EYES)
    total = logits.new_zeros(())
    for start, stop in ((0, len(HAIR)), (len(HAIR), b)):
        known = ~torch.isnan(targets[:, start])
        if known.any():
            part = F.cross_entropy(logits[known, start:stop], targets[known, start:stop])
            total = total + part
    target = targets[:, b:]
    known = ~torch.isnan(target)
    target = torch.nan_to_num(target)
    each = F.binary_cross_entropy_with_logits(logits[:, b:], target, reduction="none")
    # Written out, since torch's own pos_weight is one for all rows.
    each = each + (weight - 1) * target * F.softplus(-logits[:, b:])
    mean = (each * known).sum() / known.sum().clamp(min=1)
    return total + binary_weight * target.shape[1] * mean


def as_input(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] -> [-1, 1] [N, 3, H, W], channels last."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return x.float().div_(127.5).sub_(1.0)


class Sampler:
    """Endless batches; each source is gone through in its own shuffled order."""

    def __init__(self, sources: list[Faces], config: TaggerConfig) -> None:
        self.sources = sources
        self.rng = np.random.default_rng(config.seed)
        shares = config.mix[: len(sources)]
        self.counts = [max(1, round(config.batch * share / sum(shares))) for share in shares]
        self.queues: list[list[int]] = [[] for _ in sources]

    def take(self, which: int, count: int) -> list[int]:
        """The next `count` rows of one source."""
        queue = self.queues[which]
        while len(queue) < count:
            queue.extend(self.rng.permutation(len(self.sources[which].images)).tolist())
        taken, self.queues[which] = queue[:count], queue[count:]
        return taken

    def batch(self) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
        """Images [N, S, S, 3], targets [N, outputs], whether each row is weighted [N, 1]."""
        rows = [(s, self.take(i, self.counts[i])) for i, s in enumerate(self.sources)]
        weighted = np.repeat([float(s.weighted) for s, _ in rows], [len(r) for _, r in rows])
        return (
            np.concatenate([s.images[r] for s, r in rows]),
            torch.from_numpy(np.concatenate([s.targets[r] for s, r in rows])),
            torch.from_numpy(weighted.astype(np.float32))[:, None],
        )


def positive_weight(source: Faces) -> Tensor:
    """sqrt(no / yes), at most 5: rare tags count more without drowning the common ones."""
    binary = source.targets[:, len(HAIR) + len(EYES) :]
    yes = np.nansum(binary, axis=0).clip(1)
    total = np.sum(~np.isnan(binary), axis=0).clip(2)
    return torch.from_numpy(np.sqrt((total - yes) / yes).clip(1.0, 5.0).astype(np.float32))


@torch.no_grad()
def take_weight_back(net: TaggerNetwork, weight: Tensor) -> None:
    """Make the scores of yes/no tags probabilities again, by their biases alone.

    A "yes" that counts w times in the loss moves the logit by log w: learnt is
    p' = w p / (1 + (w - 1) p), so that logit p' = logit p + log w.
    """
    net.head.bias[len(HAIR) + len(EYES) :] -= weight.log()


def train(
    net: TaggerNetwork, sources: list[Faces], config: TaggerConfig, report: Report
) -> TaggerNetwork:
    """Train and return the weights' running average, in evaluation mode.

    Args:
        net: the network to go on from; it is changed.
        sources: labelled sets; the first must know every binary tag.
        config: sizes, steps, rates.
        report: called as report(step, steps, loss, faces per second).

    """
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.train()
    average = copy.deepcopy(net)
    # A pretrained trunk is bent carefully, a new head learns freely.
    head = {id(p) for p in net.head.parameters()}
    groups = [
        {"params": [p for p in net.parameters() if id(p) not in head]},
        {"params": list(net.head.parameters())},
    ]
    rates = [config.lr, config.lr * config.head_lr]
    optimizer = torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, config.steps, pct_start=0.2)
    weight = positive_weight(sources[0])
    sampler = Sampler(sources, config)
    start = time.perf_counter()
    for step in range(1, config.steps + 1):
        images, targets, weighted = sampler.batch()
        x = augment(as_input(images), generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        row_weight = 1 + weighted * (weight - 1)
        loss = loss_of(logits.float(), targets, row_weight, config.binary_weight)
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
def blend(average: nn.Module, net: nn.Module, keep: float) -> None:
    """average = keep * average + (1 - keep) * net, statistics included."""
    for a, b in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if a.dtype.is_floating_point:
            a.lerp_(b, 1.0 - keep)
        else:
            a.copy_(b)


@torch.inference_mode()
def predict(net: nn.Module, images: NDArray[np.uint8], flips: bool = True) -> NDArray[np.float32]:
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
