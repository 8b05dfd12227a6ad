"""ONNX taggers, with a small real graph: three scores from the mean colour, a fourth constant."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.tagging.taggers import Tagger, Thresholds, open_tagger
from kaogen.errors import BundleError, ModelNotFoundError
from kaogen.tags import PAPER

MakeTagger = Callable[..., Path]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


def test_scores_are_of_rgb_in_0_to_1_whatever_the_faces_size(
    tmp_path: Path, make_tagger: MakeTagger
) -> None:
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx"))
    colours = [(255, 0, 51), (0, 102, 255)] * 40
    sizes = [(16, 16), (40, 30)] * 40
    scores = tagger.scores([plain(c, s) for c, s in zip(colours, sizes, strict=True)])
    assert scores.shape == (80, 4)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[0], [1, 0, 0.2, 0.6], atol=1e-6)
    np.testing.assert_allclose(scores[1], [0, 0.4, 1, 0.6], atol=1e-6)
    np.testing.assert_array_equal(scores, np.tile(scores[:2], (40, 1)))
    assert tagger.scores([]).shape == (0, 4)


def test_of_an_exclusive_group_the_best_counts_of_others_the_threshold(
    tmp_path: Path, make_tagger: MakeTagger
) -> None:
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx"))
    assert tagger.tags([0.1, 0.3, 0.2, 0.5]) == [("green hair", 0.3), ("smile", 0.5)]
    assert tagger.tags([0.9, 0.8, 0.7, 0.49]) == [("red hair", 0.9)]


def test_what_it_has_not_learnt_it_never_says(tmp_path: Path, make_tagger: MakeTagger) -> None:
    path = make_tagger(tmp_path / "t.onnx")
    info = json.loads(path.with_suffix(".json").read_text())
    for tag in info["tags"]:
        tag["learnt"] = tag["name"] == "red hair"
    path.with_suffix(".json").write_text(json.dumps(info))
    tagger = Tagger.load(path)
    assert tagger.tags([0.9, 0.8, 0.0, 0.9]) == [("red hair", 0.9)]
    assert tagger.tags([0.7, 0.8, 0.0, 0.9]) == []
    assert tagger.describe()["learnt"] == ["red hair"]


def test_what_tags_imply_counts_and_of_long_and_short_hair_the_surer(
    tmp_path: Path, make_tagger: MakeTagger
) -> None:
    names = ("long hair", "short hair", ":d", "smile")
    rules = [{"name": n, "threshold": 0.5, "group": None, "learnt": True} for n in names]
    rules[0]["threshold"] = 0.8
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx", tags=rules, exclusive={}))
    assert [n for n, _ in tagger.tags([0.9, 0.6, 0.7, 0.2])] == ["short hair", ":d", "smile"]
    assert [n for n, _ in tagger.tags([0.9, 0.5, 0.4, 0.2])] == ["long hair"]


def test_the_one_that_ships_is_sound() -> None:
    tagger = Tagger.load()
    red = [plain((200, 40, 30), (64, 64))]
    assert tagger.scores(red).shape == (1, len(tagger.rules))
    learnt = {rule.name for rule in tagger.rules if rule.learnt}
    assert {"pink hair", "blue eyes", "long hair"} <= learnt
    assert {name for name, _ in tagger.tags(tagger.scores(red)[0])} <= learnt


def test_it_may_be_pickled(tmp_path: Path, make_tagger: MakeTagger) -> None:
    tagger = Tagger.load(make_tagger(tmp_path / "t.onnx"))
    again = pickle.loads(pickle.dumps(tagger))
    face = [plain((10, 20, 30))]
    np.testing.assert_array_equal(again.scores(face), tagger.scores(face))


def test_thresholds_of_ones_own(tmp_path: Path, make_tagger: MakeTagger) -> None:
    path = make_tagger(tmp_path / "t.onnx")
    tagger = open_tagger(str(path), PAPER, thresholds=Thresholds(of={"smiling": 0.3}))
    assert tagger.tags([0.9, 0, 0, 0.4]) == [("red hair", 0.9), ("smile", 0.4)]
    assert pickle.loads(pickle.dumps(tagger)).tags([0.9, 0, 0, 0.4])[1:] == [("smile", 0.4)]
    assert tagger.describe()["thresholds"] == {"smiling": 0.3}
    assert "thresholds" not in open_tagger(str(path)).describe()


def test_a_graph_may_give_more_after_its_scores(tmp_path: Path, make_tagger: MakeTagger) -> None:
    path = make_tagger(tmp_path / "t.onnx", outputs=("scores", "mean"))
    assert Tagger.load(path).scores([plain((255, 0, 51))]).shape == (1, 4)
    with pytest.raises(BundleError, match="not image to scores"):
        Tagger.load(make_tagger(path, outputs=("mean", "scores")))


def test_what_is_no_tagger_is_one_clear_error(tmp_path: Path, make_tagger: MakeTagger) -> None:
    with pytest.raises(ModelNotFoundError, match="no tagger file"):
        Tagger.load(tmp_path / "none.onnx")
    path = tmp_path / "t.onnx"
    for changes, words in [
        ({"format": "other"}, "does not describe a kaogen tagger"),
        ({"version": 2}, "version 2"),
        ({"size": 0}, "does not describe"),
        ({"tags": []}, "does not describe"),
        ({"tags": None}, "does not describe"),
        ({"exclusive": {"hair colour": ["no such"]}}, "does not describe"),
        ({"sha256": "0" * 64}, "SHA-256 differs"),
    ]:
        make_tagger(path, **changes)
        with pytest.raises(BundleError, match=words) as caught:
            Tagger.load(path)
        assert "\n" not in str(caught.value)
    info = json.loads(make_tagger(path).with_suffix(".json").read_text())
    make_tagger(path, tags=info["tags"][:3])
    with pytest.raises(BundleError, match="gives 4 scores"):
        Tagger.load(path)
    make_tagger(path, sha256=hashlib.sha256(b"no graph").hexdigest())
    path.write_bytes(b"no graph")
    with pytest.raises(BundleError, match="no usable ONNX"):
        Tagger.load(path)
    path.with_suffix(".json").write_text("[")
    with pytest.raises(BundleError, match="not valid JSON"):
        Tagger.load(path)
