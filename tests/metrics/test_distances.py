"""Known answers: what each distance must say of sets whose truth can be written down."""

import time
import tracemalloc

import numpy as np
import pytest

from kaogen.errors import InputError
from kaogen.metrics.distances import (
    density_coverage,
    frechet,
    halves,
    kernel,
    measure,
    precision_recall,
    rank_note,
)


def gaussian(seed: int, count: int, dim: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)) * scale + shift
    return rows.astype(np.float32)


def exact(seed: int, count: int, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Rows whose own mean and covariance are these to the last bits."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(axis=0)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T)), rows.T)
    return (np.linalg.cholesky(covariance) @ white).T + mean


def by_the_book(a: np.ndarray, b: np.ndarray) -> float:
    """The Frechet distance by eigenvalues of the plain product, as the formula stands."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(ca @ cb).real, 0))
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(ca) + np.trace(cb) - 2 * roots.sum())


class TestFrechet:
    def test_a_set_against_itself_is_0(self) -> None:
        rows = gaussian(0, 500, 40)
        assert frechet(rows, rows) == pytest.approx(0, abs=1e-9)
        assert frechet(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)

    def test_shifted_and_scaled_gaussians_give_the_analytic_distance(self) -> None:
        # |m|^2 + sum (s_i - t_i)^2 where the axes are common to both.
        s, t = np.linspace(0.5, 3, 12), np.linspace(2, 0.1, 12)
        mean = np.linspace(-1, 2, 12)
        a = exact(1, 300, np.zeros(12), np.diag(s**2))
        b = exact(2, 200, mean, np.diag(t**2))
        assert frechet(a, b) == pytest.approx(mean @ mean + ((s - t) ** 2).sum(), rel=1e-10)

    def test_general_covariances_follow_the_formula(self) -> None:
        mix = np.random.default_rng(3).normal(size=(2, 20, 20))
        a, b = gaussian(4, 400, 20) @ mix[0], gaussian(5, 300, 20, shift=0.3) @ mix[1]
        assert frechet(a, b) == pytest.approx(by_the_book(a, b), rel=1e-8)
        assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-10)

    def test_fewer_pictures_than_dimensions_are_exact_and_said(self) -> None:
        a, b = gaussian(6, 15, 64), gaussian(7, 40, 64, scale=2, shift=1)
        assert frechet(a, b) == pytest.approx(by_the_book(a, b), rel=1e-6)
        assert frechet(a, a) == pytest.approx(0, abs=1e-9)
        assert "at most 14 of 64 dimensions" in measure(a, b, rounds=2)["frechet"].note
        assert rank_note(64, 65, 100) == ""
        assert rank_note(64, 64, 100)

    def test_features_that_never_fire_change_nothing(self) -> None:
        a, b = gaussian(8, 200, 10), gaussian(9, 200, 10, shift=1)
        dead = np.zeros((200, 5), np.float32)
        wide = frechet(np.hstack([a, dead]), np.hstack([b, dead]))
        assert wide == pytest.approx(frechet(a, b), rel=1e-6)

    def test_the_estimated_bias_is_the_true_one_and_the_interval_centres_on_the_figure(
        self,
    ) -> None:
        dim = 32
        a, b = gaussian(10, 800, dim), gaussian(11, 800, dim, scale=1.2, shift=0.1)
        truth = dim * (0.1**2 + 0.2**2)
        found = measure(a, b, rounds=60)["frechet"]
        assert found.low < found.value < found.high
        assert found.bias > 0
        assert abs(found.value - found.bias - truth) < 0.3 * abs(found.value - truth)


class TestKernel:
    def test_it_is_the_mean_over_pairs_of_different_pictures(self) -> None:
        a, b = gaussian(0, 30, 6), gaussian(1, 20, 6, shift=0.5)

        def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return (x.astype(np.float64) @ y.astype(np.float64).T / 6 + 1) ** 3

        def off(t: np.ndarray) -> float:
            return float((t.sum() - np.trace(t)) / (len(t) * (len(t) - 1)))

        assert kernel(a, b) == pytest.approx(off(k(a, a)) + off(k(b, b)) - 2 * k(a, b).mean())

    def test_two_halves_of_a_set_are_0_within_the_interval(self) -> None:
        rows = gaussian(2, 1200, 24)
        one, two = halves(len(rows), seed=3)
        found = measure(rows[one], rows[two], rounds=50)["kernel"]
        assert found.low < 0 < found.high
        assert found.bias == 0

    def test_it_is_unbiased(self) -> None:
        rows = gaussian(4, 200, 8)
        figures = [kernel(rows[a], rows[b]) for a, b in (halves(200, 40, s) for s in range(150))]
        error = np.std(figures) / np.sqrt(len(figures))
        assert abs(np.mean(figures)) < 4 * error
        assert min(figures) < 0 < max(figures)

    def test_subsets_tell_the_same(self) -> None:
        a, b = gaussian(5, 600, 16), gaussian(6, 600, 16, shift=0.4)
        all_pairs, some = kernel(a, b), kernel(a, b, subsets=30, size=200, seed=1)
        assert some == pytest.approx(all_pairs, rel=0.1)
        assert some == kernel(a, b, subsets=30, size=200, seed=1)


class TestBalls:
    def test_a_set_against_itself(self) -> None:
        rows = gaussian(0, 300, 8)
        assert precision_recall(rows, rows) == (1, 1)
        assert density_coverage(rows, rows)[1] == 1

    def test_two_samples_of_one_distribution(self) -> None:
        density, coverage = density_coverage(gaussian(1, 2000, 8), gaussian(2, 2000, 8))
        assert density == pytest.approx(1, abs=0.05)
        # Naeem et al., Lemma 1: 1 - prod (N - j) / (N + M - j), about 1 - 2^-k.
        assert coverage == pytest.approx(1 - 2**-5, abs=0.015)

    def test_they_are_what_the_whole_table_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("kaogen.metrics.neighbours._BLOCK", 700)  # a few rows a time
        real, fake = gaussian(10, 90, 3), gaussian(11, 70, 3, 1.3)

        def table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)

        wide = {k: np.sort(table(real, real), axis=1)[:, k] for k in (3, 5)}
        own, between = np.sort(table(fake, fake), axis=1)[:, 3], table(fake, real)
        assert precision_recall(real, fake) == (
            (between <= wide[3]).any(axis=1).mean(),
            (between <= own[:, None]).any(axis=0).mean(),
        )
        hit = between <= wide[5]
        assert density_coverage(real, fake) == (hit.mean() * 90 / 5, hit.any(axis=0).mean())

    def test_half_the_modes_are_missing(self) -> None:
        left, right = gaussian(3, 300, 4, 0.1, -5), gaussian(4, 300, 4, 0.1, 5)
        fake = gaussian(5, 600, 4, 0.1, -5)
        precision, recall = precision_recall(np.vstack([left, right]), fake)
        assert precision > 0.9
        assert recall == pytest.approx(0.5, abs=0.06)
        assert density_coverage(np.vstack([left, right]), fake)[1] == pytest.approx(0.5, abs=0.03)

    def test_half_the_fakes_are_off(self) -> None:
        real = gaussian(6, 600, 4, 0.1)
        fake = np.vstack([gaussian(7, 300, 4, 0.1), gaussian(8, 300, 4, 0.1, 50)])
        precision, recall = precision_recall(real, fake)
        assert precision == pytest.approx(0.5, abs=0.06)
        assert recall > 0.8
        assert density_coverage(real, fake)[0] == pytest.approx(0.5, abs=0.06)

    def test_one_picture_over_and_over_covers_nothing(self) -> None:
        real = gaussian(9, 400, 4)
        fake = np.tile(real[:1], (400, 1))
        precision, recall = precision_recall(real, fake)
        assert (precision, recall) == (1, 1 / 400)
        assert density_coverage(real, fake)[1] < 0.05


class TestMeasure:
    def test_all_six_agree_with_the_plain_functions_and_lie_within_their_intervals(self) -> None:
        a, b = gaussian(0, 300, 12), gaussian(1, 250, 12, shift=0.3)
        found = measure(a, b, rounds=40, seed=5)
        assert list(found) == ["frechet", "kernel", "precision", "recall", "density", "coverage"]
        assert found["frechet"].value == frechet(a, b)
        assert found["kernel"].value == pytest.approx(kernel(a, b), rel=1e-12)
        assert (found["precision"].value, found["recall"].value) == precision_recall(a, b)
        plain = density_coverage(a, b)
        assert (found["density"].value, found["coverage"].value) == pytest.approx(plain)
        assert all(e.low < e.value < e.high for e in found.values())

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        a, b = gaussian(0, 120, 6), gaussian(1, 120, 6)
        assert measure(a, b, rounds=10, seed=1) == measure(a, b, rounds=10, seed=1)
        assert measure(a, b, rounds=10, seed=1) != measure(a, b, rounds=10, seed=2)

    def test_without_resampling_there_is_no_interval(self) -> None:
        found = measure(gaussian(0, 50, 4), gaussian(1, 50, 4), rounds=0)
        assert all(e.low == e.value == e.high for e in found.values())

    def test_what_is_under_way_is_told(self) -> None:
        told: list[str] = []
        measure(gaussian(0, 20, 4), gaussian(1, 20, 4), rounds=1, tell=told.append)
        assert told == ["frechet", "kernel", "precision, recall, density and coverage"]

    def test_sets_that_cannot_be_compared_are_refused(self) -> None:
        good = gaussian(0, 20, 4)
        with pytest.raises(InputError, match="not \\(20, 4\\) and \\(20, 5\\)"):
            frechet(good, gaussian(1, 20, 5))
        with pytest.raises(InputError, match="not a number"):
            kernel(good, np.full((20, 4), np.nan, np.float32))
        with pytest.raises(InputError, match="1 pictures are too few"):
            frechet(good, good[:1])
        with pytest.raises(InputError, match="at least 6"):
            measure(good, good[:5])
        with pytest.raises(InputError, match="in halves"):
            halves(3)


def test_halves_share_nothing_and_are_as_large_as_asked() -> None:
    one, two = halves(100, 30, seed=1)
    assert len(one) == len(two) == 30
    assert not set(one) & set(two)
    assert [len(half) for half in halves(9, 30)] == [4, 4]
    np.testing.assert_array_equal(halves(100, 30, seed=1)[0], one)


def test_memory_is_bounded() -> None:
    # The whole table of 6,000 x 6,000 distances would be 288 MB.
    a, b = gaussian(0, 6000, 8), gaussian(1, 6000, 8)
    tracemalloc.start()
    try:
        precision_recall(a, b)
        kernel(a, b)
        assert tracemalloc.get_traced_memory()[1] < 110e6
    finally:
        tracemalloc.stop()


def test_thousands_of_pictures_take_seconds() -> None:
    # A sixth of the work of 10,000, which took 26 s on one busy core.
    a, b = gaussian(0, 4000, 256), gaussian(1, 4000, 256, shift=0.1)
    start = time.process_time()
    measure(a, b, rounds=10)
    assert time.process_time() - start < 30
