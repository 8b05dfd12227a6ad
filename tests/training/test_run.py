"""A run folder: resume by the same command, what may change and what may not, signals."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kaogen.cli.train import settings, with_chosen
from kaogen.data.archives.archive import Archive
from kaogen.errors import ConfigError
from kaogen.tags import PAPER
from kaogen.training import checkpoint
from kaogen.training.inputs import vocabulary_of
from kaogen.training.run import Run, Tick
from training.conftest import CONFIG, NET, write_faces

TINY = replace(CONFIG, kimg=0.032, tick_kimg=0.016)
QUIET = NET.with_(noise=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    path = tmp_path_factory.mktemp("data") / "faces.zip"
    return Archive.open(write_faces(path, size=16, count=24))


def told(_: Tick) -> None:
    """Nobody listens."""


def test_finished_run_leaves_checkpoint_grid_and_progress(archive: Archive, tmp_path: Path) -> None:
    run = Run(tmp_path, archive, QUIET, TINY)
    assert run.train(told)
    generator, meta = checkpoint.load_generator(tmp_path)
    assert meta["seen"] == 32
    assert meta["vocabulary"] == ["pink hair", "blue hair", "smile", "glasses"]
    assert generator(torch.zeros(1, 8), torch.zeros(1, 4)).shape == (1, 3, 16, 16)
    grids = sorted(p.name for p in (tmp_path / "grids").iterdir())
    assert grids == ["0000000000.png", "0000000016.png", "0000000032.png"]
    lines = [json.loads(s) for s in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [entry.get("seen") for entry in lines] == [None, 16, 32]


def test_stopped_by_a_signal_and_gone_on_ends_the_same(archive: Archive, tmp_path: Path) -> None:
    straight = Run(tmp_path / "a", archive, QUIET, TINY)
    straight.train(told)
    stopped = Run(tmp_path / "b", archive, QUIET, TINY)

    def interrupt(tick: Tick) -> None:
        if tick.seen == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not stopped.train(interrupt)
    assert stopped.trainer.seen == 8
    again = Run(tmp_path / "b", archive, QUIET, TINY)
    assert again.trainer.seen == 8
    assert again.train(told)
    ends = [checkpoint.latest(tmp_path / x) / checkpoint.WEIGHTS for x in "ab"]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_another_seed_is_refused_and_another_rate_is_not(archive: Archive, tmp_path: Path) -> None:
    Run(tmp_path, archive, QUIET, TINY).train(told)
    with pytest.raises(ConfigError, match="seed was 0, now 1"):
        Run(tmp_path, archive, QUIET, replace(TINY, seed=1))
    again = Run(tmp_path, archive, QUIET, replace(TINY, lr_g=1e-4, kimg=0.048))
    assert again.trainer.opt_g.param_groups[0]["lr"] == 1e-4
    assert again.train(told)
    assert again.trainer.seen == 48


def test_a_run_of_an_older_kaogen_goes_on(archive: Archive, tmp_path: Path) -> None:
    Run(tmp_path, archive, QUIET, TINY).train(told)
    path = tmp_path / "config.json"
    old = json.loads(path.read_text())
    for name in ("lr_decay", "path_weight", "mixing", "ada_ops"):
        old["train"].pop(name, None)
    old["net"]["extra"] = {}
    old.pop("trunk")
    path.write_text(json.dumps(old))
    falling = replace(TINY, kimg=0.048, lr_decay="cosine")
    with pytest.raises(ConfigError, match=r"mixing was 0\.0, now 0\.9"):
        Run(tmp_path, archive, QUIET, replace(falling, mixing=0.9))
    again = Run(tmp_path, archive, QUIET, falling)
    assert again.trainer.seen == 32
    assert again.train(told)


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (QUIET.with_(resolution=8), "16 x 16, the preset makes 8"),
    ],
)
def test_archive_that_does_not_fit_is_one_line(
    archive: Archive, tmp_path: Path, net: object, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Run(tmp_path, archive, net, TINY)


def test_refused_start_leaves_no_run_behind(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Run(tmp_path / "new", archive, QUIET.with_(resolution=8), TINY)
    assert not (tmp_path / "new").exists()
    Run(tmp_path / "new", archive, QUIET, TINY)


def test_nameless_labels_are_not_taken_for_the_papers_tags(tmp_path: Path) -> None:
    class Nameless:
        vocabulary = None

    assert vocabulary_of(Nameless(), 3) == ["class 0", "class 1", "class 2"]
    assert vocabulary_of(Nameless(), 59) == list(PAPER.names)
    assert len(vocabulary_of(Nameless(), 70)) == 70


@pytest.mark.parametrize(
    ("preset", "critic", "batch", "gamma", "loss", "tag_weight"),
    [
        ("tiny64", None, None, 0.0, "hinge", 0.05),
        ("tiny64", "stylegan2", 16, 2e-4 * 64**2 / 16, "nonsaturating", 0.0),
        ("paper256", None, 32, 2e-4 * 256**2 / 32, "nonsaturating", 0.0),
        ("paper256", "features", None, 0.0, "hinge", 0.05),
    ],
)
def test_a_critic_of_choice_brings_its_recipe(
    preset: str, critic: str | None, batch: int | None, gamma: float, loss: str, tag_weight: float
) -> None:
    net, config = settings(preset, critic, None, False, batch)
    assert net.critic == (critic or net.critic)
    assert config.r1_gamma == pytest.approx(gamma)
    assert (config.loss, config.tag_weight) == (loss, tag_weight)
    assert batch is None or config.batch == batch


def test_options_stand_above_the_recipe_and_a_loss_brings_its_penalties() -> None:
    net, config = settings("tiny64", None, None, False, 16)
    chosen = {"loss": "relativistic", "r1_interval": 8, "augment": "ada"}
    config = with_chosen(config, net, chosen, None, begun=False)
    assert config.r1_gamma == config.r2_gamma == pytest.approx(2e-4 * 64**2 / 16)
    assert (config.r1_interval, config.r2_interval, config.augment) == (8, 1, "ada")
    with pytest.raises(ConfigError, match="Unknown loss 'mse'"):
        with_chosen(config, net, {"loss": "mse"}, None, begun=False)


def test_a_rate_of_choice_keeps_the_proportion_and_a_start_elsewhere_is_not_blurred() -> None:
    net, config = settings("tiny64", None, None, unconditional=False, batch=None)
    assert config.blur
    assert config.blur_kimg
    halved = with_chosen(config, net, {}, config.lr_g / 2, begun=True)
    assert (halved.lr_d, halved.blur) == (config.lr_d / 2, 0)
    both = with_chosen(config, net, {"lr_d": 1e-3, "blur": 2.0}, 3e-3, begun=True)
    assert (both.lr_g, both.lr_d, both.blur) == (3e-3, 1e-3, 2)
