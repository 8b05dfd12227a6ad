"""Which rows a step sees: a pure function of (seed, images seen), so resuming is one integer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from kaogen.errors import ConfigError

# One stream of randomness per purpose, so that adding one does not move the others.
STREAMS = {
    **{"epoch": 0, "flip": 1, "z": 2, "labels": 3, "augment": 4, "noise": 5, "repeat": 6},
    **{"drop": 7, "mix": 8, "path": 9, "between": 10, "held": 11},
}


def rng(stream: str, seed: int, *position: int) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.default_rng([seed, STREAMS[stream], *position])


def torch_rng(stream: str, seed: int, *position: int) -> torch.Generator:
    """The same for torch."""
    word = int(rng(stream, seed, *position).integers(0, 2**63 - 1))
    return torch.Generator().manual_seed(word)


def repeats(labels: NDArray[np.float32] | None, count: int, balance: float) -> NDArray[np.int64]:
    """How often an epoch shows each row: rows with rare tags up to 4 times.

    A row's weight is (median share / the share of its rarest tag) ^ balance, between 1 and 4,
    rounded at random but for good.

    Args:
        labels: [N, L], 0 or 1, or None.
        count: N.
        balance: 0 shows every row once.

    """
    if labels is None or balance <= 0 or not labels.any():
        return np.ones(count, np.int64)
    share = (labels > 0.5).mean(axis=0)
    used = share > 0
    typical = float(np.median(share[used]))
    rarest = np.where(labels[:, used] > 0.5, share[used], 1.0).min(axis=1)
    weight = np.clip((typical / rarest) ** balance, 1.0, 4.0)
    times: NDArray[np.int64] = np.floor(weight + rng("repeat", 0).random(count)).astype(np.int64)
    return times


def held_out(count: int, holdout: int, seed: int) -> NDArray[np.int64]:
    """Rows that are never trained on; ConfigError where most would be.

    Args:
        count: rows in all.
        holdout: how many to keep back.
        seed: of the choice.

    """
    if holdout > count // 2:
        raise ConfigError(
            f"--holdout {holdout}: there are only {count} faces.",
            hint="Keep back a hundredth of them, or none.",
        )
    rows: NDArray[np.int64] = rng("held", seed).permutation(count)[:holdout]
    return np.sort(rows)


class Rows:
    """An endless order of rows, gone through in shuffled epochs.

    Args:
        times: how often each row stands in one epoch, from `repeats`.
        seed: of the shuffling.

    """

    def __init__(self, times: NDArray[np.int64], seed: int) -> None:
        self.pool = np.repeat(np.arange(len(times)), times)
        self.seed = seed
        self._epoch = -1
        self._order = self.pool

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._order = rng("epoch", self.seed, epoch).permutation(self.pool)
            self._epoch = epoch
        return self._order

    def at(self, position: int, count: int) -> NDArray[np.int64]:
        """Rows number `position` to `position + count` of the endless order."""
        taken: list[NDArray[np.int64]] = []
        while count:
            epoch, offset = divmod(position, len(self.pool))
            piece = self._shuffled(epoch)[offset : offset + count]
            taken.append(piece)
            position += len(piece)
            count -= len(piece)
        return np.concatenate(taken)

    def random(self, seen: int, count: int) -> NDArray[np.int64]:
        """Rows for G's labels: drawn anew each step, from the same pool."""
        drawn: NDArray[np.int64] = rng("labels", self.seed, seen).choice(self.pool, count)
        return drawn
