"""Intervals: that they are where they should be, and as wide."""

import math

import numpy as np
import pytest

from kaogen.metrics.estimates import Estimate, around, bootstrap, draws


def test_resamples_are_as_large_as_the_set_and_come_from_the_seed() -> None:
    weights = draws(50, 20, seed=1)
    assert weights.shape == (20, 50)
    assert (weights.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(weights, draws(50, 20, seed=1))
    assert (weights != draws(50, 20, seed=2)).any()
    assert (weights != draws(50, 20, seed=1, stream=1)).any()
    assert draws(50, 0, seed=1).shape == (0, 50)


def test_an_interval_is_as_wide_as_theory_says() -> None:
    found = bootstrap(np.arange(1000) < 300, rounds=400)
    assert found.value == 0.3
    spread = 2 * 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert found.high - found.low == pytest.approx(spread, rel=0.15)


def test_intervals_hold_the_truth_19_times_in_20() -> None:
    source = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        found = bootstrap(source.random(200) < 0.4, rounds=100, seed=trial)
        held += found.low <= 0.4 <= found.high
    assert held / 300 == pytest.approx(0.95, abs=0.035)


def test_shares_stay_within_0_and_1() -> None:
    assert bootstrap(np.ones(10)) == Estimate(1, 1, 1)
    assert bootstrap([0] * 9 + [1]).low == 0
    assert bootstrap([0.2, 0.4], rounds=0).low == pytest.approx(0.3)


def test_of_nothing_there_is_no_share() -> None:
    assert math.isnan(bootstrap([]).value)


def test_a_biased_figure_keeps_the_middle_of_its_interval() -> None:
    twins = np.random.default_rng(0).normal(13, 1, 1000)  # resampling raised it by 3
    found = around(10, twins, bias=True, note="n")
    assert found.bias == pytest.approx(3, abs=0.1)
    assert (found.low, found.high) == pytest.approx((8.04, 11.96), abs=0.25)
    assert found.note == "n"


def test_json_there_and_back() -> None:
    found = bootstrap([0.1, 0.2, 0.4], rounds=5, note="three")
    again = Estimate.from_dict(found.to_dict())
    assert again.to_dict() == found.to_dict()
    assert again.value == 0.233333
    assert str(found).startswith("0.2333 [")
