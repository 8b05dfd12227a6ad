"""Batches, losses, augmentation, checkpoints, tagger: each against what it promises."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kaogen.errors import CheckpointError
from kaogen.nets.tagger import TaggerNet
from kaogen.training import checkpoint, losses
from kaogen.training.augment import gaussian, shift_and_cut, translate
from kaogen.training.batches import Rows, repeats, torch_rng
from kaogen.training.config import TrainConfig
from kaogen.training.schedule import blur_sigma
from kaogen.training.tagger import average_precision, take_weight_back
from kaogen.training.tagger_data import EYES, HAIR, one_of
from kaogen.training.tagger_report import binary_row, calibration_error, matched_thresholds


def test_sample_order_is_the_same_wherever_one_stops() -> None:
    rows = Rows(np.ones(17, np.int64), seed=3)
    straight = rows.at(0, 50)
    for stop in range(1, 50):
        again = Rows(np.ones(17, np.int64), seed=3)
        assert np.array_equal(again.at(stop, 50 - stop), straight[stop:])
    for epoch in range(2):
        assert sorted(straight[epoch * 17 : (epoch + 1) * 17]) == list(range(17))


def test_the_blur_that_d_sees_through_fades_and_keeps_flat_pictures() -> None:
    config = TrainConfig(blur=2.0, blur_kimg=10)
    assert [blur_sigma(config, seen, 64) for seen in (0, 5000, 10_000, 20_000)] == [2, 1, 0, 0]
    assert blur_sigma(config, 0, 128) == 4
    assert blur_sigma(TrainConfig(blur=2.0), 0, 64) == 0
    flat = torch.full((1, 3, 16, 16), 0.5, dtype=torch.float64)
    torch.testing.assert_close(gaussian(flat, 2.0), flat)
    assert gaussian(flat, 0.05) is flat
    dot = torch.zeros(1, 2, 17, 17, dtype=torch.float64)
    dot[:, :, 8, 8] = 1
    seen = gaussian(dot, 1.5)
    torch.testing.assert_close(seen.sum(), dot.sum())
    torch.testing.assert_close(seen, seen.flip(2).transpose(2, 3))
    away = (torch.arange(17) - 8).double()
    assert float((seen[0, 0].sum(dim=1) * away.square()).sum()) == pytest.approx(1.5**2, rel=0.05)
    small = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gaussian(x, 1.0), [small])


def test_rare_rows_repeat_at_most_four_times() -> None:
    labels = np.zeros((1000, 3), np.float32)
    labels[:500, 0] = 1
    labels[:200, 1] = 1
    labels[:2, 2] = 1
    times = repeats(labels, 1000, balance=1.0)
    assert times[:2].tolist() == [4, 4]
    assert set(times[500:]) == {1}
    assert np.all(repeats(labels, 1000, balance=0.0) == 1)


def test_hinge_and_nonsaturating_known_values() -> None:
    real, fake = [torch.tensor([2.0, 0.0])], [torch.tensor([-2.0, 0.0])]
    assert float(losses.d_hinge(real, fake)) == 1.0
    assert float(losses.g_hinge([], fake)) == 1.0
    zero = [torch.zeros(3)]
    assert float(losses.d_nonsaturating(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(losses.g_nonsaturating([], zero)) == pytest.approx(math.log(2))


def test_r1_of_a_linear_score_is_its_squared_norm() -> None:
    images = torch.randn(4, 3, 2, 2, requires_grad=True)
    score = (images * 0.5).sum(dim=(1, 2, 3))
    assert float(losses.r1_penalty([score], images).detach()) == pytest.approx(12 * 0.25)


def test_tag_loss_prefers_the_tags_that_were_asked_for() -> None:
    outputs, vocabulary = ["red", "blue", "hat"], ["hat", "blue", "red"]
    layout = losses.layout_of(outputs, {"colour": ["red", "blue"]}, vocabulary)
    labels = torch.tensor([[1.0, 1.0, 0.0]])  # hat, blue
    right, wrong = torch.tensor([[-3.0, 3.0, 3.0]]), torch.tensor([[3.0, -3.0, -3.0]])
    good, bad = losses.tag_loss(right, labels, layout), losses.tag_loss(wrong, labels, layout)
    assert float(good) < 0.6 < float(bad)


def test_a_vocabulary_without_a_colour_group_has_no_loss_for_it() -> None:
    layout = losses.layout_of(["red", "blue", "hat"], {"colour": ["red", "blue"]}, ["hat"])
    assert layout.exclusive == ()
    value = losses.tag_loss(torch.zeros(2, 3), torch.ones(2, 1), layout)
    assert float(value) == pytest.approx(math.log(2) / 4)


def test_saving_the_same_position_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 8, tensors(), {})
    path = checkpoint.save(tmp_path, 8, {"a": torch.zeros(2)}, {})
    assert torch.equal(checkpoint.load(path)[0]["a"], torch.zeros(2))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [path.name]


def test_translate_repeats_the_edge() -> None:
    x = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4)
    moved = translate(x, torch.tensor([1]), torch.tensor([0]))
    assert moved[0, 0, 0].tolist() == [0, 0, 1, 2]


def test_augmentation_is_differentiable_repeatable_and_keeps_colours() -> None:
    x = torch.rand(8, 3, 16, 16, requires_grad=True)
    a = shift_and_cut(x, torch_rng("augment", 0, 0))
    b = shift_and_cut(x, torch_rng("augment", 0, 0))
    assert torch.equal(a, b)
    assert not torch.equal(a, shift_and_cut(x, torch_rng("augment", 0, 32)))
    a.sum().backward()
    assert x.grad is not None
    flat = torch.full((8, 3, 16, 16), 0.7)
    values = shift_and_cut(flat, torch_rng("augment", 0, 1)).unique()
    assert {round(float(v), 4) for v in values} <= {0.0, 0.7}


def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0), "b": torch.ones(2, 2)}


def test_checkpoint_round_trip_and_pruning(tmp_path: Path) -> None:
    for seen in (8, 16, 24):
        checkpoint.save(tmp_path, seen, tensors(), {"minutes": 1})
        checkpoint.prune(tmp_path, 2)
    found = checkpoint.listing(tmp_path)
    assert [p.name for p in found] == ["0000000016", "0000000024"]
    loaded, meta = checkpoint.load(found[-1])
    assert meta["seen"] == 24
    assert torch.equal(loaded["a"], tensors()["a"])


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 8, tensors(), {})
    weights = path / checkpoint.WEIGHTS
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    with pytest.raises(CheckpointError, match="has changed"):
        checkpoint.load(path)


def test_failed_save_keeps_the_one_before_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = checkpoint.save(tmp_path, 8, tensors(), {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(tmp_path, 16, tensors(), {})
    monkeypatch.undo()
    assert checkpoint.listing(tmp_path) == [good]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [good.name]
    checkpoint.load(good)


def test_leftovers_of_a_killed_save_are_swept(tmp_path: Path) -> None:
    stale = tmp_path / "checkpoints" / f"{checkpoint.TEMPORARY}0000000008"
    stale.mkdir(parents=True)
    (stale / checkpoint.WEIGHTS).write_bytes(b"half")
    assert checkpoint.listing(tmp_path) == []
    checkpoint.save(tmp_path, 16, tensors(), {})
    assert not stale.exists()


def test_not_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.latest(tmp_path)
    with pytest.raises(CheckpointError, match="There is no run folder"):
        checkpoint.latest(tmp_path / "nowhere")


def test_average_precision_known_answers() -> None:
    truth = np.array([True, False, True, False])
    assert average_precision(np.array([4, 3, 2, 1.0], np.float32), truth) == pytest.approx(5 / 6)
    assert average_precision(np.array([4, 1, 3, 2.0], np.float32), truth) == 1.0
    assert math.isnan(average_precision(np.zeros(4, np.float32), np.zeros(4, bool)))


def test_thresholds_match_the_share() -> None:
    scores = np.linspace(0, 1, 1001, dtype=np.float32)[:, None]
    threshold = matched_thresholds(scores, np.array([0.2], np.float32))[0]
    assert float((scores >= threshold).mean()) == pytest.approx(0.2, abs=0.01)
    row = binary_row(scores[:, 0], scores[:, 0] > 0.9, float(threshold))
    assert row["recall"] == 1.0
    assert row["precision"] == pytest.approx(0.5, abs=0.02)


def test_several_characters_colours_are_unknown() -> None:
    assert one_of({"pink hair", "blue hair"}, HAIR) == -1
    assert HAIR[one_of({"pink hair", "smile"}, HAIR)] == "pink hair"
    assert len(EYES) == 9
    assert len(HAIR) == 12


def test_calibration_error_of_known_cases() -> None:
    source = np.random.default_rng(0)
    said = source.random(200_000).astype(np.float32)
    assert calibration_error(said, source.random(200_000) < said) < 0.01
    assert calibration_error(said, source.random(200_000) < 0.5) == pytest.approx(0.25, abs=0.01)
    assert calibration_error(np.ones(4, np.float32), np.zeros(4, bool)) == 1


def test_a_weighted_loss_is_made_a_probability_again() -> None:
    # One output that has learnt the weighted optimum of a tag that 10% show.
    share, weight = 0.1, torch.tensor([3.0])
    skewed = 3 * share / (1 + 2 * share)
    net = TaggerNet(len(HAIR) + len(EYES) + 1, (4, 6))
    with torch.no_grad():
        net.head.bias[-1] = float(np.log(skewed / (1 - skewed)))
    take_weight_back(net, weight)
    assert float(net.head.bias.detach()[-1].sigmoid()) == pytest.approx(share, abs=1e-6)
