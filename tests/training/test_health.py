"""Trouble in a run's figures: each kind shown by a trace that has it, and none by a healthy one."""

from dataclasses import replace
from typing import Any

import pytest

from kaogen.training.config import TrainConfig
from kaogen.training.health import Trouble, judge

HINGE = TrainConfig(loss="hinge", augment="shift+cut")
ADA = replace(HINGE, augment="ada", ada_max=0.8)
Tick = dict[str, Any]

# A healthy run's own figures (64 px faces, hinge, 8 kimg a tick).
HEALTHY: list[Tick] = [
    {"d": 1.99, "g": 0.18, "rt": 0.12, "variety": 0.41, "z_variety": 0.30, "rate": 55.0},
    {"d": 1.77, "g": 0.51, "rt": 0.18, "variety": 0.55, "z_variety": 0.38, "rate": 54.1},
    {"d": 1.55, "g": 0.74, "rt": 0.22, "variety": 0.71, "z_variety": 0.45, "rate": 40.2},
    {"d": 1.47, "g": 0.82, "rt": 0.26, "variety": 0.82, "z_variety": 0.52, "rate": 38.2},
    {"d": 1.43, "g": 0.86, "rt": 0.29, "variety": 0.93, "z_variety": 0.55, "rate": 54.9},
    {"d": 1.34, "g": 0.70, "rt": 0.37, "variety": 0.98, "z_variety": 0.61, "rate": 66.5},
]


def trace(*last: Tick, before: int = len(HEALTHY)) -> list[Tick]:
    """A healthy run that ends in `last`, which say only what is unlike it."""
    ticks = [*HEALTHY[:before], *({**HEALTHY[-1], **tick} for tick in last)]
    held = {"held": 0.3, "rv": 0.25, "rv_error": 0.05}
    return [{"seen": 8000 * (i + 1), **held, **tick} for i, tick in enumerate(ticks)]


def found(ticks: list[Tick], config: TrainConfig = HINGE, since: int = 0) -> list[str]:
    return [trouble.name for trouble in judge(ticks, config, since)]


@pytest.mark.parametrize("count", range(len(HEALTHY) + 1))
@pytest.mark.parametrize("config", [HINGE, ADA, replace(HINGE, loss="nonsaturating")])
def test_a_healthy_run_raises_no_alarm_at_any_tick(count: int, config: TrainConfig) -> None:
    assert found(trace()[:count], config) == []


def test_figures_that_are_not_told_raise_none() -> None:
    assert found([{"seen": 1000, "d": 1.3}, {"seen": 2000}, {"seen": 3000, "g": None}]) == []


@pytest.mark.parametrize(
    ("name", "ticks", "says"),
    [
        ("d wins", [{"d": 0.02}] * 3, "its loss is 0.020"),
        ("g explodes", [{"g": 31.0}], "grown to 31.0"),
        ("g explodes", [{"g": 9.0}], "grown to 9.0"),
        ("overfitting", [{"rt": 0.93}] * 3, "r_t 0.93"),
        ("overfitting", [{"rv": 0.7}] * 3, "70% of the way to fakes"),
        ("collapse", [{"variety": 0.2}] * 3, "vary 0.20 times"),
        ("one face a tag", [{"z_variety": 0.05}] * 3, "whatever the latent"),
        ("slow", [{"rate": 12.0}] * 3, "12.0 images a second, and was 66.5"),
    ],
)
def test_trouble_is_noticed_and_said(name: str, ticks: list[Tick], says: str) -> None:
    (trouble,) = judge(trace(*ticks), HINGE)
    assert trouble.name == name
    assert says in trouble.what
    assert trouble.advice.endswith((".", "?"))
    assert "\n" not in str(trouble)


@pytest.mark.parametrize(
    "ticks",
    [
        [{"d": 0.02}],  # one odd tick
        [{"d": 0.02}, {}, {"d": 0.02}],
        [{"g": 3.0}],
        [{"rt": 0.8}] * 3,
        [{"rv": 0.7, "rv_error": 0.6}] * 3,  # too few faces held out to be sure
        [{"variety": 0.5}] * 3,
        [{"z_variety": 0.3}] * 3,
        [{"rate": 12.0}, {}, {}],  # a machine that slept
    ],
)
def test_what_is_no_trouble_yet(ticks: list[Tick]) -> None:
    assert found(trace(*ticks)) == []


def test_a_beginning_network_is_dull_but_not_for_long() -> None:
    dull = {"variety": 0.2, "z_variety": 0.1}
    assert found(trace(*[dull] * 5, before=0)) == []
    assert found(trace(*[dull] * 12, before=0)) == ["collapse", "one face a tag"]


def test_a_discriminator_that_is_ahead_is_not_overfitting() -> None:
    ahead = [{"rt": 0.95, "d": 0.05, "rv": 0.02}] * 3
    assert found(trace(*ahead)) == ["d wins"]
    early = [{**tick, "seen": tick["seen"] // 20} for tick in trace(*ahead)]
    assert found(early) == []


def test_adaptive_augmentation_is_given_its_time() -> None:
    sure = {"rt": 0.95}
    assert found(trace(*[{**sure, "p": 0.3}] * 3), ADA) == []
    (trouble,) = judge(trace(*[{**sure, "p": 0.8}] * 3), ADA)
    assert "at its limit" in trouble.advice


def test_losses_of_differences_are_judged_by_their_own_measure() -> None:
    sure = trace(*[{"rt": 0.93, "d": 0.3, "g": 25.0}] * 3)
    assert found(sure, replace(HINGE, loss="wgan-gp")) == []
    sure = trace(*[{"rt": 0.99, "d": 0.3}] * 3)
    assert found(sure, replace(HINGE, loss="relativistic")) == ["overfitting"]


def test_a_restart_on_a_slower_machine_is_not_slow() -> None:
    ticks = trace(*[{"rate": 12.0}] * 4)
    assert found(ticks, since=8000 * len(HEALTHY)) == []


def test_label_transition_is_advised_only_where_there_is_none() -> None:
    flat = trace(*[{"z_variety": 0.05}] * 3)
    with_it = replace(HINGE, uncond_kimg=50)
    told: dict[bool, Trouble] = {c is HINGE: judge(flat, c)[0] for c in (HINGE, with_it)}
    assert "--uncond-kimg" in told[True].advice
    assert "--uncond-kimg" not in told[False].advice
