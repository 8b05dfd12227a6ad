"""Nearest neighbours, against the whole table of distances."""

import numpy as np
import pytest

from kaogen.errors import InputError
from kaogen.metrics import neighbours
from kaogen.metrics.neighbours import nearest, radii


def rows(seed: int, count: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None].astype(np.float64), axis=2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 700)  # 7 rows a time


@pytest.mark.parametrize("k", [1, 4])
def test_nearest(k: int) -> None:
    a, b = rows(0, 50), rows(1, 100)
    distances, found = nearest(a, b, k)
    np.testing.assert_array_equal(found, np.argsort(table(a, b), axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(table(a, b), axis=1)[:, :k], rtol=1e-9)


def test_of_equal_neighbours_the_first_is_given() -> None:
    base = np.repeat(rows(2, 10), 3, axis=0)
    np.testing.assert_array_equal(nearest(base[::3], base)[1][:, 0], np.arange(0, 30, 3))


def test_near_twins_far_from_the_origin_are_told_apart() -> None:
    base = rows(3, 100).astype(np.float64) + 1e4
    twins = base + 1e-5
    distances, found = nearest(twins, base)
    np.testing.assert_array_equal(found[:, 0], np.arange(100))
    np.testing.assert_allclose(distances[:, 0], np.sqrt(5) * 1e-5, rtol=1e-3)


def test_radii_leave_the_row_itself_out() -> None:
    a = rows(4, 100)
    true = np.sort(table(a, a), axis=1) ** 2
    for k, radius in zip((3, 1), radii(a, 3, 1), strict=True):
        np.testing.assert_allclose(radius, true[:, k], rtol=1e-9)
    doubled = np.repeat(a, 2, axis=0)
    np.testing.assert_allclose(radii(doubled, 1)[0], 0, atol=1e-12)


def test_more_neighbours_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="too few for the 3 nearest others"):
        radii(rows(0, 3), 3)
    with pytest.raises(InputError, match="4 neighbours were asked for among 3"):
        nearest(rows(0, 5), rows(1, 3), 4)
