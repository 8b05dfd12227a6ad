"""The equations: adversarial losses, penalties on gradients, path length, the tagger's verdict.

Scores are lists with one tensor per head; a loss is the mean over heads of each head's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor

from kaogen.nets.ops import at_least_float

Scores = list[Tensor]


def mean_over_heads(terms: Sequence[Tensor]) -> Tensor:
    """The mean of the heads' means."""
    return torch.stack([t.mean() for t in terms]).mean()


def mean_score(scores: Scores) -> float:
    """`mean_over_heads` as a number, to be told."""
    return float(mean_over_heads([s.detach() for s in scores]))


def d_nonsaturating(real: Scores, fake: Scores) -> Tensor:
    """softplus(-D(x)) + softplus(D(G(z))) (Goodfellow et al. 2014)."""
    return mean_over_heads([F.softplus(-s) for s in real]) + mean_over_heads(
        [F.softplus(s) for s in fake]
    )


def g_nonsaturating(_real: Scores, fake: Scores) -> Tensor:
    """softplus(-D(G(z)))."""
    return mean_over_heads([F.softplus(-s) for s in fake])


def d_hinge(real: Scores, fake: Scores) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim & Ye 2017)."""
    return mean_over_heads([F.relu(1 - s) for s in real]) + mean_over_heads(
        [F.relu(1 + s) for s in fake]
    )


def g_hinge(_real: Scores, fake: Scores) -> Tensor:
    """-D(G(z))."""
    return mean_over_heads([-s for s in fake])


def d_wasserstein(real: Scores, fake: Scores) -> Tensor:
    """D(G(z)) - D(x) (Gulrajani et al. 2017, beside their gradient penalty)."""
    return mean_over_heads(fake) - mean_over_heads(real)


def d_relativistic(real: Scores, fake: Scores) -> Tensor:
    """softplus(-(D(x) - D(G(z)))), pair by pair (Jolicoeur-Martineau 2018; R3GAN, 2024)."""
    return mean_over_heads([F.softplus(f - r) for r, f in zip(real, fake, strict=True)])


def g_relativistic(real: Scores, fake: Scores) -> Tensor:
    """softplus(-(D(G(z)) - D(x)))."""
    return d_relativistic(fake, real)


@dataclass(frozen=True)
class Loss:
    """A pair of losses, each of (real scores, fake scores).

    Attributes:
        d: what the discriminator minimises.
        g: what the generator minimises.
        g_sees_real: whether `g` reads the real scores; they are empty otherwise.
        relative: whether only differences of scores mean something, so that the sign of one
            score alone says nothing.

    """

    d: Callable[[Scores, Scores], Tensor]
    g: Callable[[Scores, Scores], Tensor]
    g_sees_real: bool = False
    relative: bool = False


LOSSES = {
    "nonsaturating": Loss(d_nonsaturating, g_nonsaturating),
    "hinge": Loss(d_hinge, g_hinge),
    "wgan-gp": Loss(d_wasserstein, g_hinge, relative=True),
    "relativistic": Loss(d_relativistic, g_relativistic, g_sees_real=True, relative=True),
}


def input_gradient(scores: Scores, images: Tensor) -> Tensor:
    """The gradient of each picture's summed score by that picture: [N, C, H, W], with its graph."""
    total = torch.stack([s.sum() for s in scores]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient


def r1_penalty(scores: Scores, images: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 (Mescheder et al. 2018); weighted by gamma / 2 where it is used.

    On fakes it is R2 of the same paper.

    Args:
        scores: D's scores of `images`.
        images: [N, C, H, W] that require a gradient.

    """
    gradient = input_gradient(scores, images)
    return at_least_float(gradient).square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(scores: Scores, images: Tensor) -> Tensor:
    """E (|grad_x D(x)| - 1)^2 (Gulrajani et al. 2017), on pictures between real and fake.

    Args:
        scores: D's scores of `images`.
        images: [N, C, H, W] that require a gradient.

    """
    gradient = at_least_float(input_gradient(scores, images))
    norm = (gradient.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()  # sqrt has no slope at 0
    return (norm - 1).square().mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """|J^T y| of each picture, y being noise of the picture's shape (StyleGAN2, eq. 4).

    Args:
        images: [N, C, H, W], drawn from `ws`.
        ws: [N, num_ws, w_dim] that require a gradient.
        noise: [N, C, H, W], N(0, 1); divided by sqrt(H W) here, so that the length does not
            depend on the picture's size.

    Returns:
        [N]: root of the mean over the w slots of the squared length, with its graph.

    """
    h, w = images.shape[2:]
    total = (images * noise).sum() / (h * w) ** 0.5
    (gradient,) = torch.autograd.grad(total, ws, create_graph=True)
    return (at_least_float(gradient).square().sum(dim=2).mean(dim=1) + 1e-12).sqrt()


@dataclass(frozen=True)
class TagLayout:
    """How the tagger's outputs line up with a data set's label vector.

    Attributes:
        exclusive: per group of classes, (output columns, label columns).
        binary: (output columns, label columns) of yes/no tags.

    """

    exclusive: tuple[tuple[list[int], list[int]], ...]
    binary: tuple[list[int], list[int]]


def layout_of(
    outputs: Sequence[str], exclusive: dict[str, Sequence[str]], vocabulary: Sequence[str]
) -> TagLayout:
    """Match the tagger's output names with the label vector's."""
    column = {name: i for i, name in enumerate(vocabulary)}
    grouped = {name for group in exclusive.values() for name in group}
    groups = []
    for names in exclusive.values():
        both = [n for n in names if n in column]
        if len(both) > 1:  # a group that the data set hardly knows teaches nothing
            groups.append(([outputs.index(n) for n in both], [column[n] for n in both]))
    rest = [n for n in outputs if n in column and n not in grouped]
    return TagLayout(tuple(groups), ([outputs.index(n) for n in rest], [column[n] for n in rest]))


def tag_loss(
    logits: Tensor, labels: Tensor, layout: TagLayout, known: Tensor | None = None
) -> Tensor:
    """Smoothed cross-entropy between the tagger's verdict on fakes and the tags asked for.

    Smoothing (0.1) keeps G from pleasing the tagger beyond what real faces do.

    Args:
        logits: [N, outputs].
        labels: [N, num_tags], 0 or 1.
        layout: see `layout_of`.
        known: [N, num_tags], False where a tag was neither asked for nor ruled out, which
            then costs nothing; None where all are known.

    """
    total = logits.new_zeros(())
    for outs, columns in layout.exclusive:
        wanted = labels[:, columns]
        given = wanted.sum(dim=1) == 1
        target = wanted * 0.9 + 0.1 / len(columns)
        each = -(target * logits[:, outs].log_softmax(dim=1)).sum(dim=1)
        total = total + (each * given).sum() / given.sum().clamp(min=1)
    outs, columns = layout.binary
    if outs:
        target = labels[:, columns] * 0.9 + 0.05
        each = F.binary_cross_entropy_with_logits(logits[:, outs], target, reduction="none")
        if known is not None:
            each = each * known[:, columns]
        total = total + each.sum(dim=1).mean() / 4
    return total
