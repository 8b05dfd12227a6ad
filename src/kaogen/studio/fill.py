"""What a person did not pick: filled from a real face's labels.

Tags are not independent (few faces have both a hat and a hairband), so drawing each by its own
frequency gives combinations that the model never saw, and pictures that fall apart. A whole
label row of the training set, one that agrees with the picks, is always a combination that
exists.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kaogen.studio.latents import STREAM_FILL, words
from kaogen.tags import Vocabulary

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filled:
    """A complete label vector.

    Attributes:
        labels: float32 [L], 0 or 1.
        tags: the names of the ones, in the vocabulary's order.
        row: which label row it was taken from.
        rare: no face of the training set has this combination; the picks overrode the row.
    """

    labels: Floats
    tags: tuple[str, ...]
    row: int
    rare: bool


def fill(
    rows: Bits,
    vocabulary: Vocabulary,
    learnt: Collection[str],
    *,
    yes: Iterable[str],
    no: Iterable[str],
    seed: int,
) -> Filled:
    """Choose the label row that agrees with the picks, by seed, and apply the picks to it.

    Every seed puts all rows in an order of its own, and the first that agrees is taken: a pick
    that the face already meets changes nothing, so the character stays while it is being edited.
    Where no row agrees, the first of those with the fewest disagreements is taken and overridden.

    Args:
        rows: bool [count, L], the training set's labels.
        vocabulary: the L tags.
        learnt: the tags that the model knows; implied ones that it does not are left out.
        yes: tags to show, canonical, free of conflicts (`Vocabulary.check`).
        no: tags not to show, canonical.
        seed: 0..2**32-1.
    """
    shown = [tag for tag in vocabulary.with_implied(yes) if tag in learnt]
    hidden = _excluded(vocabulary, shown, set(no))
    on = [vocabulary.index(tag) for tag in shown]
    off = [vocabulary.index(tag) for tag in hidden]
    wrong = (~rows[:, on]).sum(axis=1) + rows[:, off].sum(axis=1)
    fewest = int(wrong.min())
    order = words(seed, STREAM_FILL, len(rows))
    candidates = np.flatnonzero(wrong == fewest)
    row = int(candidates[np.argmin(order[candidates])])
    labels = rows[row].astype(np.float32)
    labels[on], labels[off] = 1.0, 0.0
    return Filled(labels, vocabulary.decode(labels.tolist()), row, rare=fewest > 0)


def _excluded(vocabulary: Vocabulary, shown: Collection[str], no: set[str]) -> list[str]:
    """Refused tags, those that would bring them in, and the rivals of what is shown."""
    implying = (tag for tag in vocabulary.names if no.intersection(vocabulary.with_implied([tag])))
    rivals = (
        tag
        for names in vocabulary.exclusive.values()
        if any(name in shown for name in names)
        for tag in names
        if tag not in shown
    )
    return sorted({*implying, *rivals}, key=vocabulary.index)
