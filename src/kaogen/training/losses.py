"""The equations: adversarial losses, R1, and the tagger's verdict.

Scores are lists with one tensor per head; a loss is the mean over heads of each head's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor

Scores = list[Tensor]


def mean_over_heads(terms: Sequence[Tensor]) -> Tensor:
    """The mean of the heads' means."""
    return torch.stack([t.mean() for t in terms]).mean()


def d_nonsaturating(real: Scores, fake: Scores) -> Tensor:
    """softplus(-D(x)) + softplus(D(G(z)))."""
    return mean_over_heads([F.softplus(-s) for s in real]) + mean_over_heads(
        [F.softplus(s) for s in fake]
    )


def g_nonsaturating(fake: Scores) -> Tensor:
    """softplus(-D(G(z)))."""
    return mean_over_heads([F.softplus(-s) for s in fake])


def d_hinge(real: Scores, fake: Scores) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
    return mean_over_heads([F.relu(1 - s) for s in real]) + mean_over_heads(
        [F.relu(1 + s) for s in fake]
    )


def g_hinge(fake: Scores) -> Tensor:
    """-D(G(z))."""
    return mean_over_heads([-s for s in fake])


D_LOSSES = {"nonsaturating": d_nonsaturating, "hinge": d_hinge}
G_LOSSES = {"nonsaturating": g_nonsaturating, "hinge": g_hinge}


def r1_penalty(scores: Scores, images: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 (Mescheder et al. 2018); weighted by gamma / 2 where it is used.

    Args:
        scores: D's scores of `images`.
        images: [N, C, H, W] that require a gradient.

    """
    total = torch.stack([s.sum() for s in scores]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


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


def tag_loss(logits: Tensor, labels: Tensor, layout: TagLayout) -> Tensor:
    """Smoothed cross-entropy between the tagger's verdict on fakes and the tags asked for.

    Smoothing (0.1) keeps G from pleasing the tagger beyond what real faces do.

    Args:
        logits: [N, outputs].
        labels: [N, num_tags], 0 or 1.
        layout: see `layout_of`.

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
        total = total + each.sum(dim=1).mean() / 4
    return total
