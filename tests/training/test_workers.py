"""Several processes that train one model: real ranks with gloo between them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kaogen.errors import ConfigError
from kaogen.nets.discriminator import Discriminator
from kaogen.training.loop import Trainer
from kaogen.training.workers import ALONE, Workers
from training import ranks


@pytest.mark.parametrize("critic", ["stylegan2", "features"])
def test_two_ranks_take_the_steps_of_one_process(tmp_path: Path, critic: str) -> None:
    folder = tmp_path / critic
    folder.mkdir()
    assert ranks.ranks(ranks.train, folder) == [0, 0]
    first, second = (json.loads((folder / f"{i}.json").read_text()) for i in (0, 1))
    assert first == second  # to the bit, weights and moments too
    alone = ranks.trained(critic)
    for name, gradient in alone["gradients"].items():
        expected, found = np.array(gradient), np.array(first["gradients"][name])
        bound = 1e-4 * max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=bound, err_msg=name)
    for step, (losses, expected) in enumerate(zip(first["told"], alone["told"], strict=True)):
        assert losses == pytest.approx(expected, rel=0.02, abs=0.005), step
    assert {"r1", "r2", "gp", "path"} <= set(alone["told"][0])


@pytest.mark.parametrize("task", [ranks.fail_on_one, ranks.fail_on_one_before_the_rest_agree])
def test_what_fails_on_one_rank_is_told_once_and_ends_all(tmp_path: Path, task: ranks.Task) -> None:
    assert ranks.ranks(task, tmp_path) == [2, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["1.error"]


def test_only_the_first_rank_needs_the_disk(tmp_path: Path) -> None:
    (tmp_path / "0.disk").write_text("a checkpoint")
    assert ranks.ranks(ranks.read_on_first, tmp_path) == [0, 0]
    assert [(tmp_path / f"{i}.found").read_text() for i in (0, 1)] == ["a checkpoint"] * 2


def test_ranks_that_drift_apart_stop(tmp_path: Path) -> None:
    assert ranks.ranks(ranks.drift_apart, tmp_path) == [7, 7]
    assert "Rank 1 has other weights than rank 0" in (tmp_path / "0.error").read_text()
    assert not (tmp_path / "1.error").exists()


def test_ranks_that_find_other_devices_stop(tmp_path: Path) -> None:
    assert ranks.ranks(ranks.find_other_devices, tmp_path) == [2, 2]
    assert "Some ranks found a CUDA device" in (tmp_path / "0.error").read_text()


def test_the_rows_of_a_rank_are_whole_groups_of_one_process() -> None:
    batch, group, world = 32, 4, 4
    group_of = torch.arange(batch) % (batch // group)  # as minibatch_stddev groups them
    seen = []
    for rank in range(world):
        mine = Workers(rank, world).share(group_of)
        groups = mine.reshape(group, -1)
        assert (groups == groups[0]).all()
        seen += groups[0].tolist()
    assert sorted(seen) == list(range(batch // group))


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (9, "A batch of 9 does not divide over 2 processes. Give --batch a multiple of 2."),
        (12, "A batch of 12, 6 on each of 2 processes, does not divide into groups of 4."),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(batch: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Workers(0, 2).check_batch(batch, 4)
    assert str(caught.value) == says


def test_path_batches_are_shared_out_evenly() -> None:
    assert [Workers(0, 2).rounded(n) for n in (1, 2, 5, 8)] == [2, 2, 4, 8]
    assert [ALONE.rounded(n) for n in (0, 1, 5)] == [1, 1, 5]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "--device cuda: there are 0 CUDA devices here, and 1 are needed."),
        ("cuda:3", "--device cuda:3: there are 0 CUDA devices here, and 4 are needed."),
        ("tpu", "There is no device 'tpu' here. --device auto, cpu, cuda or cuda:1."),
        ("cuda:x", "There is no device 'cuda:x' here."),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ALONE.device(name)
    assert str(caught.value).startswith(says)


def test_devices_and_threads_are_found() -> None:
    assert ALONE.device("cpu") == torch.device("cpu")
    assert ALONE.device("auto").type in ("cpu", "cuda")
    assert Workers(0, 64, 0, 64).threads() >= 1
    assert Workers(0, 2, 0, 2).threads() <= ALONE.threads()


def test_all_of_a_trainer_goes_to_its_device() -> None:
    """Also the feature discriminator's trunk, which is not among its modules."""
    from kaogen.nets.critic import FeatureCritic
    from kaogen.nets.tagger import TaggerNet

    meta = torch.device("meta")
    net = ranks.NET.with_(critic="features")
    for critic in (Discriminator(ranks.NET), FeatureCritic(net, TaggerNet(4, (4, 6), folded=True))):
        kind = net if isinstance(critic, FeatureCritic) else ranks.NET
        trainer = Trainer(kind, ranks.CONFIG, ranks.some_data(), critic, device=meta)
        modules = [*trainer.modules().values()]
        modules += [critic.trunk] if isinstance(critic, FeatureCritic) else []
        where = {t.device.type for m in modules for t in m.state_dict().values()}
        assert where == {"meta"}
