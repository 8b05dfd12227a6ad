"""How far one set of pictures lies from another, by their features; numpy, in fp64.

Each figure depends on the network the features are from and on how many pictures were compared:
figures are comparable only where both are equal. None of them is a distance between pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kaogen.errors import InputError
from kaogen.metrics.estimates import MEAN_ROUNDS, ROUNDS, Estimate, around, bootstrap, draws
from kaogen.metrics.neighbours import Balls, Rows, blocks, checked

__all__ = [
    "Estimate",
    "bootstrap",
    "density_coverage",
    "frechet",
    "halves",
    "kernel",
    "measure",
    "precision_recall",
]

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]

K_PRECISION, K_DENSITY = 3, 5
# With more values a picture than this, a resample of the Frechet distance takes seconds.
_COSTLY_DIM, _COSTLY_ROUNDS = 512, 12


def frechet(a: Rows, b: Rows) -> float:
    """Frechet distance of the Gaussians that fit two sets (FID, on whatever features).

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2), Dowson and Landau 1982; Heusel et al.
    2017 for pictures. Biased upward by about 1 / N: compare only figures of equal numbers.

    Args:
        a, b: features [N, D] and [M, D], at least two pictures each; fewer than D are allowed
            (`rank_note` says what that means).

    """
    x, y = checked(a, b)
    return _frechet(_gaussian(x), _gaussian(y))


def kernel(
    a: Rows, b: Rows, *, degree: int = 3, subsets: int = 0, size: int = 1000, seed: int = 0
) -> float:
    """Kernel distance: unbiased squared MMD under (x.y / D + 1)^degree (Binkowski et al. 2018).

    Its expectation is 0 for two samples of one distribution, so it may come out below 0.

    Args:
        a, b: features [N, D], [M, D].
        degree: of the polynomial.
        subsets: 0 takes all pairs, the least noisy; otherwise the mean over so many random
            subsets, the literature's way with sets too large for all pairs.
        size: pictures of a subset.
        seed: of the subsets.

    """
    x, y = checked(a, b)
    _at_least(2, x, y)
    if not subsets:
        return float(_mmd(x, y, degree)[0])
    source = np.random.default_rng([seed, len(x), len(y)])
    size = min(size, len(x), len(y))
    values = [
        _mmd(
            x[source.choice(len(x), size, replace=False)],
            y[source.choice(len(y), size, replace=False)],
            degree,
        )[0]
        for _ in range(subsets)
    ]
    return float(np.mean(values))


def precision_recall(real: Rows, fake: Rows, k: int = K_PRECISION) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), each in [0, 1].

    Precision: the share of fakes within the balls around real pictures, each as wide as to its
    k-th nearest other real one. Recall: the same with the sets exchanged.
    """
    balls = Balls.of(real, fake, k, k)
    return float(balls.precise.mean()), float(balls.recalled.mean())


def density_coverage(real: Rows, fake: Rows, k: int = K_DENSITY) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020), sturdier against outliers than the pair above.

    Density: in how many real balls a fake lies, over k; about 1 for the same distribution, and may
    exceed it. Coverage: the share of real balls that hold a fake, in [0, 1].
    """
    balls = Balls.of(real, fake, k, k)
    return float(balls.counts.mean() / k), float(balls.filled.mean())


def measure(
    real: Rows,
    fake: Rows,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    tell: Progress | None = None,
) -> dict[str, Estimate]:
    """All six figures with intervals: frechet, kernel, precision, recall, density, coverage.

    What is resampled: the pictures of both sets for frechet and kernel. For the other four only
    the pictures that are averaged over, with all balls as they are: a picture drawn twice would be
    its own neighbour and shrink its ball to nothing.

    Args:
        real, fake: features [N, D], [M, D].
        rounds: resamples; 0 leaves the intervals out. Means, which cost nothing, get at least
            1,000; the Frechet distance of more than 512 values a picture at most 12.
        seed: of the resampling.
        tell: called with the name of what is computed next.

    """
    x, y = checked(real, fake)
    _at_least(max(K_PRECISION, K_DENSITY) + 1, x, y)
    say = tell or (lambda _: None)
    say("frechet")
    out = {"frechet": _frechet_interval(x, y, rounds, seed)}
    say("kernel")
    out["kernel"] = _kernel_interval(x, y, rounds, seed)
    say("precision, recall, density and coverage")
    balls = Balls.of(x, y, K_PRECISION, K_DENSITY)
    means = {
        "precision": balls.precise,
        "recall": balls.recalled,
        "density": balls.counts / K_DENSITY,
        "coverage": balls.filled,
    }
    more = max(rounds, MEAN_ROUNDS) if rounds else 0
    return out | {n: bootstrap(each, rounds=more, seed=seed) for n, each in means.items()}


def halves(
    count: int, size: int | None = None, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Two disjoint random sets of rows, for real against real: the floor of every figure.

    Args:
        count: rows there are.
        size: rows of each set; as many as there can be where `count` is too small for two.
        seed: of the choice.

    """
    most = count // 2
    if most < 2:
        raise InputError(f"{count} pictures cannot be compared with themselves in halves.")
    size = min(size or most, most)
    order = np.random.default_rng([seed, count]).permutation(count)
    return np.sort(order[:size]), np.sort(order[size : 2 * size])


def rank_note(dim: int, *counts: int) -> str:
    """What to say of a Frechet distance from fewer pictures than it has dimensions, or ""."""
    least = min(counts)
    if least > dim:
        return ""
    return (
        f"{least:,} pictures span at most {least - 1:,} of {dim:,} dimensions: the covariance is "
        "rank deficient and the distance mostly says how few pictures there are."
    )


@dataclass(frozen=True)
class _Gaussian:
    """Mean [D] and a root [D, D] or [n, D] of the covariance: root^T root = covariance."""

    mean: Floats
    root: Floats

    @property
    def trace(self) -> float:
        return float(np.einsum("nd,nd->", self.root, self.root))


def _gaussian(rows: Floats, weights: npt.NDArray[np.int64] | None = None) -> _Gaussian:
    """Fit a Gaussian; `weights` [N] says how often each row counts."""
    _at_least(2, rows)
    if weights is not None:
        kept = weights > 0
        rows, weights = rows[kept], weights[kept]
    total = len(rows) if weights is None else int(weights.sum())
    mean = rows.mean(axis=0) if weights is None else weights @ rows / total
    centred = rows - mean
    if weights is not None:
        centred *= np.sqrt(weights)[:, None]
    centred /= np.sqrt(total - 1)
    if len(centred) <= rows.shape[1]:
        return _Gaussian(mean, centred)  # a root already, smaller than the covariance's own
    return _Gaussian(mean, _root(centred.T @ centred))


def _root(covariance: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.cholesky(covariance).T, dtype=np.float64)
    except np.linalg.LinAlgError:  # singular: a feature that never fires, say
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def _frechet(a: _Gaussian, b: _Gaussian) -> float:
    # tr (C_a C_b)^1/2 is the sum of the singular values of A B^T, whatever roots A and B are. No
    # root of a product that is not symmetric is taken, so nothing complex can come out.
    overlap = float(np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum())
    gap = a.mean - b.mean
    return max(0.0, float(gap @ gap) + a.trace + b.trace - 2.0 * overlap)


def _frechet_interval(x: Floats, y: Floats, rounds: int, seed: int) -> Estimate:
    value = _frechet(_gaussian(x), _gaussian(y))
    if x.shape[1] > _COSTLY_DIM:
        rounds = min(rounds, _COSTLY_ROUNDS)
    pairs = zip(draws(len(x), rounds, seed, 0), draws(len(y), rounds, seed, 1), strict=True)
    twins = [_frechet(_gaussian(x, u), _gaussian(y, v)) for u, v in pairs]
    note = rank_note(x.shape[1], len(x), len(y))
    return around(value, np.array(twins), bias=True, note=note)


def _mmd(
    x: Floats,
    y: Floats,
    degree: int,
    u: npt.NDArray[np.int64] | None = None,
    v: npt.NDArray[np.int64] | None = None,
) -> Floats:
    """Squared MMD over all pairs [1 + rounds]: plainly, then with rows weighted by each of u, v.

    A row is never paired with itself, nor with its copies in a resample: that keeps it unbiased.
    """
    ones_x, ones_y = np.ones((1, len(x))), np.ones((1, len(y)))
    wx = ones_x if u is None else np.concatenate([ones_x, u])
    wy = ones_y if v is None else np.concatenate([ones_y, v])
    within = _pairs(x, x, wx, wx, degree, same=True) + _pairs(y, y, wy, wy, degree, same=True)
    return within - 2.0 * _pairs(x, y, wx, wy, degree, same=False)


def _pairs(a: Floats, b: Floats, wa: Floats, wb: Floats, degree: int, *, same: bool) -> Floats:
    """Weighted mean of the kernel over pairs of rows, for each row of weights [R]."""
    sums = np.zeros(len(wa))
    for block in blocks(len(a), len(b)):
        first = block.start if same else 0  # the table is symmetric: half of it is enough
        table = a[block] @ b[first:].T
        table /= a.shape[1]
        table += 1.0
        power = table.copy()
        for _ in range(degree - 1):
            power *= table
        if same:
            power[:, len(power) :] *= 2.0
            power[np.arange(len(power)), np.arange(len(power))] = 0.0
        sums += np.einsum("nr,rn->r", power @ wb[:, first:].T, wa[:, block])
    counted = wa.sum(axis=1) * wb.sum(axis=1)
    if same:
        counted = counted - np.square(wa).sum(axis=1)
    means: Floats = sums / counted
    return means


def _kernel_interval(x: Floats, y: Floats, rounds: int, seed: int) -> Estimate:
    u, v = draws(len(x), rounds, seed, 0), draws(len(y), rounds, seed, 1)
    value, *twins = _mmd(x, y, 3, u, v)
    return around(float(value), np.array(twins))


def _at_least(count: int, *sets: Floats) -> None:
    least = min(len(rows) for rows in sets)
    if least < count:
        raise InputError(f"{least} pictures are too few: at least {count} are compared.")
