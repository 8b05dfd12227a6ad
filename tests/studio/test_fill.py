"""Unpicked tags come from real label rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaogen.studio.fill import Filled, fill
from kaogen.tags import PAPER, Vocabulary

WORDS = ["pink hair", "blue hair", "red eyes", "hat", "animal ears", "cat ears", "smile", ":d"]
SMALL = Vocabulary(WORDS)


def _rows(*tags: tuple[str, ...]) -> np.ndarray:
    return np.array([SMALL.encode(row) for row in tags], dtype=bool)


def _fill(rows: np.ndarray, yes: tuple[str, ...] = (), no: tuple[str, ...] = (), **kw) -> Filled:
    return fill(rows, SMALL, kw.pop("learnt", SMALL.names), yes=yes, no=no, seed=kw.pop("seed", 0))


ROWS = _rows(
    ("pink hair", "red eyes"),
    ("pink hair", "hat", "smile"),
    ("blue hair", "animal ears", "cat ears"),
    ("blue hair", "animal ears"),
    ("blue hair", "smile"),
)


def test_a_row_that_agrees_is_taken_whole() -> None:
    found = {_fill(ROWS, ("pink hair",), seed=seed).tags for seed in range(40)}
    assert found == {("pink hair", "red eyes"), ("pink hair", "hat", "smile")}
    only = _fill(ROWS, ("pink hair",), ("hat",))
    assert only.tags == ("pink hair", "red eyes")
    assert not only.rare


def test_without_picks_all_rows_are_used_about_alike() -> None:
    rows = [_fill(ROWS, seed=seed).row for seed in range(500)]
    assert np.bincount(rows, minlength=5).min() > 60


def test_no_row_agrees() -> None:
    result = _fill(ROWS, ("pink hair", "cat ears"))
    assert result.rare
    assert {"pink hair", "cat ears", "animal ears"} <= set(result.tags)
    assert "blue hair" not in result.tags  # the rival of what was asked for


def test_refusing_a_tag_refuses_what_implies_it() -> None:
    for seed in range(20):
        assert "cat ears" not in _fill(ROWS, (), ("animal ears",), seed=seed).tags


def test_implied_tags_that_are_not_learnt_stay_off() -> None:
    result = _fill(ROWS, ("cat ears",), learnt=[w for w in WORDS if w != "animal ears"], seed=1)
    assert not result.rare
    rows = _rows(("cat ears",))
    assert _fill(rows, ("cat ears",), learnt=["cat ears"]).tags == ("cat ears",)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.data())
def test_a_pick_that_is_met_already_changes_nothing(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(5)
    rows = rng.random((50, len(PAPER))) < 0.1
    # Real rows hold one hair colour, and what they imply.
    rows = np.array(
        [
            PAPER.encode(
                PAPER.with_implied(
                    t
                    for t in PAPER.decode(row.astype(float).tolist())
                    if not any(t in names for names in PAPER.exclusive.values())
                )
            )
            for row in rows
        ],
        dtype=bool,
    )
    first = fill(rows, PAPER, PAPER.names, yes=(), no=(), seed=seed)
    if not first.tags:
        return
    yes = tuple(data.draw(st.sets(st.sampled_from(first.tags))))
    again = fill(rows, PAPER, PAPER.names, yes=yes, no=(), seed=seed)
    assert again.tags == first.tags
    assert again.row == first.row


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_labels_are_zeros_and_ones(seed: int) -> None:
    labels = _fill(ROWS, ("smile",), seed=seed).labels
    assert labels.dtype == np.float32
    assert set(labels.tolist()) <= {0.0, 1.0}
