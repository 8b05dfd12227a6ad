"""A figure with its interval, by the bootstrap.

An interval says where the figure would lie, 19 times in 20, had other pictures of the same number
been drawn: pictures are resampled with replacement, as multinomial weights, from a seed of their
own. What is resampled stands beside each figure that is made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ROUNDS = 100
"""Resamplings behind an interval, unless told otherwise."""
MEAN_ROUNDS = 1000
"""Resamplings of a mean, which cost next to nothing."""
_LEVELS = (2.5, 97.5)  # percentiles of a 95% interval

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes:
        value: the figure, of the pictures as they are.
        low, high: 95% interval around it; equal to `value` without resampling.
        bias: how much the figure lies above (or below) what unlimited pictures would give, as the
            bootstrap estimates it; 0 for unbiased figures. It is said, never subtracted.
        note: what the reader must know of this figure; may be empty.

    """

    value: float
    low: float
    high: float
    bias: float = 0.0
    note: str = ""

    def to_dict(self, digits: int = 6) -> dict[str, Any]:
        """As plain JSON, numbers to so many significant digits."""
        return {
            k: float(f"{v:.{digits}g}") if isinstance(v, float) else v
            for k, v in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """The inverse of `to_dict`."""
        return cls(**data)

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def draws(count: int, rounds: int, seed: int, stream: int = 0) -> npt.NDArray[np.int64]:
    """How often each of `count` pictures stands in each resample: [rounds, count], rows sum to it.

    Args:
        count: pictures.
        rounds: resamples.
        seed: the same seed gives the same resamples.
        stream: tells two sets apart that are resampled side by side.

    """
    rows = list(_resamples(count, rounds, seed, stream))
    return np.array(rows, dtype=np.int64).reshape(rounds, count)


def _resamples(count: int, rounds: int, seed: int, stream: int) -> Iterator[npt.NDArray[np.int64]]:
    source = np.random.default_rng([seed, stream, count])
    for _ in range(rounds):
        yield np.bincount(source.integers(0, count, count), minlength=count)


def around(value: float, resampled: Floats, *, bias: bool = False, note: str = "") -> Estimate:
    """`value` with the spread of its resampled twins.

    A resample repeats pictures, which raises a biased figure such as the Frechet distance once
    more; percentiles as they come could miss the figure itself. So the interval is Student's, from
    the twins' standard deviation, around `value`; the distance of the twins' mean from it is the
    estimate of the bias.
    """
    more = float(resampled.mean()) - value if bias and resampled.size else 0.0
    if resampled.size < 2:
        return Estimate(value, value, value, more, note)
    half = _student(resampled.size - 1) * float(resampled.std(ddof=1))
    return Estimate(value, value - half, value + half, more, note)


def _student(df: int) -> float:
    """The 97.5th percentile of Student's t, by the first terms of its Cornish-Fisher expansion."""
    z = 1.959964
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)


def bootstrap(
    values: npt.ArrayLike, *, rounds: int = MEAN_ROUNDS, seed: int = 0, note: str = ""
) -> Estimate:
    """The mean of one number (or yes/no) per picture, and its interval.

    Args:
        values: [N]; pictures are resampled.
        rounds: resamples; 0 leaves the interval out.
        seed: of the resampling.
        note: passed on.

    """
    each = np.asarray(values, dtype=np.float64).ravel()
    if not each.size:
        return Estimate(float("nan"), float("nan"), float("nan"), note=note)
    if not rounds:
        return around(float(each.mean()), np.zeros(0), note=note)
    means = [float(counts @ each) / len(each) for counts in _resamples(len(each), rounds, seed, 0)]
    # A share's percentiles are right as they come, and stay within [0, 1].
    low, high = (float(p) for p in np.percentile(means, _LEVELS))
    return Estimate(float(each.mean()), low, high, note=note)
