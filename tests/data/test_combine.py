"""Thresholds of one's own, and several opinions made one."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.conftest import write_tagger
from data.tagger_graphs import wd
from kaogen.data.tagging.combine import CombinedTagger, Merger, combine
from kaogen.data.tagging.tag_rules import Thresholds, level, mcut, read_thresholds
from kaogen.data.tagging.taggers import Tagger, TagRule, open_tagger
from kaogen.errors import ConfigError, UnknownTagError
from kaogen.tags import Vocabulary

NAN = float("nan")
WORDS = Vocabulary(["red hair", "green hair", "blue hair", "smile", "hat"])


def test_thresholds_are_read_from_options_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"*": 0.4, "smile": 0.3, "=_=": 0.2}))
    assert read_thresholds([], file) == Thresholds(0.4, {"smile": 0.3, "=_=": 0.2})
    read = read_thresholds(["0.5", "smile = 0.6", "==0.1"], file)
    assert (read.every, dict(read.of)) == (0.5, {"smile": 0.6, "=_=": 0.2, "=": 0.1})
    assert read_thresholds(["MCut"]).mcut
    for options in (["smile=2"], ["smile=x"], ["=0.4"], ["often"], ["-0.1"], ["nan"]):
        with pytest.raises(ConfigError, match="threshold"):
            read_thresholds(options)
    for text in ("[]", "{", '{"smile": true}', '{"smile": "high"}', '{"*": null}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"t\.json"):
            read_thresholds([], file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_thresholds([], tmp_path / "none.json")


def test_mcut_is_the_middle_of_the_widest_gap() -> None:
    assert mcut([0.9, 0.1, 0.8, 0.2]) == pytest.approx(0.5)
    assert mcut([0.1, 0.09]) == 0.15
    assert mcut([0.7]) == 0.15


def test_the_common_scale_keeps_order_and_puts_thresholds_at_a_half() -> None:
    rules = [TagRule("smile", 0.2, None, True), TagRule("hat", 0.5, None, False)]
    scores = np.array([[0, 0.3], [0.1, 0.3], [0.2, 0.3], [0.6, 0.3], [1, 1]], np.float32)
    levels = level(scores, rules)
    np.testing.assert_allclose(levels[:, 0], [0, 0.25, 0.5, 0.75, 1])
    assert np.isnan(levels[:, 1]).all()  # not learnt: no opinion


def test_rules_of_combining() -> None:
    opinions = np.array([[NAN, 0.2, 0.9, NAN], [0.4, 0.8, 0.1, NAN]], np.float32)
    np.testing.assert_allclose(combine(opinions, "max"), [0.4, 0.8, 0.9, 0])
    np.testing.assert_allclose(combine(opinions, "mean"), [0.4, 0.5, 0.5, 0])
    np.testing.assert_allclose(combine(opinions, "first"), [0.4, 0.2, 0.9, 0])


def opened(tmp_path: Path, rule: str = "max", **changes: object) -> CombinedTagger:
    """Red, green and blue hair by kaogen's own kind, corner colours and smile by a WD tagger."""
    own = write_tagger(tmp_path / "own.onnx", smile=0.4)
    path = wd(tmp_path)
    rows = [f"{i},{w},0,1" for i, w in enumerate(["hat", "x", "smile", *"abcdef"])]
    (tmp_path / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]))
    tagger = open_tagger(f"{own}+{path}", WORDS, combine=rule, **changes)  # type: ignore[arg-type]
    assert isinstance(tagger, CombinedTagger)
    return tagger


@pytest.mark.parametrize(
    ("rule", "smile"),
    [("max", 0.5 + 0.5 * (0.6 - 0.35) / 0.65), ("first", 0.4), ("mean", None)],
)
def test_taggers_are_combined_by_rule(tmp_path: Path, rule: str, smile: float | None) -> None:
    tagger = opened(tmp_path, rule)
    assert tagger.names == ("red hair", "green hair", "blue hair", "smile", "hat")
    assert tagger.size == 48
    face = np.full((20, 20, 3), (153, 51, 0), np.uint8)
    row = tagger.scores([face, face])[1]
    wanted = (0.4 + 0.5 + 0.5 * (0.6 - 0.35) / 0.65) / 2 if smile is None else smile
    np.testing.assert_allclose(row, [0.6, 0.2, 0, wanted, 0], atol=1e-6)
    assert [n for n, _ in tagger.tags(row)] == ["red hair", "smile"][: 1 + (wanted >= 0.5)]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tagger)).scores([face])[0], row)
    assert tagger.describe()["combine"] == rule
    assert [part["name"] for part in tagger.describe()["taggers"]] == ["own.onnx", "model.onnx"]


def test_what_cannot_be_combined(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--combine min"):
        opened(tmp_path, "min")
    with pytest.raises(UnknownTagError, match="tears"):
        opened(tmp_path, thresholds=Thresholds(of={"tears": 0.4}))
    strict = opened(tmp_path, thresholds=Thresholds(of={"hat": 0.9}))
    assert [name for name, _ in strict.tags([1, 0, 0, 0.6, 0.8])] == ["red hair", "smile"]


@pytest.mark.parametrize(
    ("rule", "row", "listed", "tags"),
    [
        # red, green, blue hair, smile by the tagger; hat is in the vocabulary alone
        ("max", [0.9, 0.1, 0, 0.7], ["hat"], ["red hair", "smile", "hat"]),
        ("first", [0.9, 0.1, 0, 0.7], ["hat"], ["red hair", "hat"]),
        ("mean", [0.9, 0.1, 0, 0.7], ["hat"], ["red hair", "hat"]),
        ("mean", [0.9, 0.1, 0, 0.95], ["hat"], ["red hair", "smile", "hat"]),
        ("mean", [0.9, 0.1, 0, 0.05], ["smile"], ["red hair"]),
        ("max", [0.9, 0.1, 0, 0], ["blue hair"], ["blue hair"]),
        ("first", [0.9, 0.1, 0, 0], ["blue hair"], ["blue hair"]),
        # several characters' tags, mixed: the tagger says which
        ("first", [0.2, 0.1, 0.6, 0], ["red hair", "blue hair"], ["blue hair"]),
        ("max", [0.2, 0.1, 0.6, 0], [], ["blue hair"]),
        ("max", None, ["blue hair", "hat"], ["blue hair", "hat"]),
        ("max", [0.2, 0.1, 0.6, 0.6], None, ["blue hair", "smile"]),
        ("max", None, None, []),
    ],
)
def test_what_people_wrote_and_what_a_tagger_saw(
    make_tagger: Callable[..., Path],
    tmp_path: Path,
    rule: str,
    row: list[float] | None,
    listed: list[str] | None,
    tags: list[str],
) -> None:
    merger = Merger(Tagger.load(make_tagger(tmp_path / "t.onnx")), WORDS, rule)  # type: ignore[arg-type]
    assert [name for name, _ in merger.tags(row, listed)] == tags
