"""What cannot be trained is told in one line before any hour is spent; what breaks stops clean."""

import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kaogen.cli.main import main
from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.errors import ConfigError, TrainingError
from kaogen.interop.ancestor import source_of
from kaogen.interop.onnx import ExportOptions, export
from kaogen.studio.bundle import MODELS, Bundle
from kaogen.tags import Vocabulary
from kaogen.training import checkpoint, inputs
from kaogen.training.run import Run, Tick
from training.conftest import CONFIG, NET

torch.set_num_threads(1)

TINY = replace(CONFIG, kimg=0.032, tick_kimg=0.016)
TAGS = ("pink hair", "blue hair", "smile", "glasses")


def make(
    path: Path, tags: Sequence[str] | None = TAGS, size: int = 16, used: int = 2, count: int = 24
) -> Archive:
    """A data set of noise; its faces have the first `used` tags in turn."""
    source = np.random.default_rng(0)
    items = [
        Item(
            image=source.integers(0, 255, (size, size, 3), dtype=np.uint8),
            tags=(tags[i % used],) if tags and used else (),
            source=f"{i}.png",
        )
        for i in range(count)
    ]
    write_archive(path, items, Vocabulary(tags) if tags else None, {})
    return Archive.open(path)


def relabelled(path: Path, labels: object) -> Path:
    """The same data set with other labels, or without any."""
    out = path.with_name("relabelled.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "dataset.json":
                names = [name for name in old.namelist() if name.endswith(".png")]
                rows = None if labels is None else [[name, labels] for name in names]
                data = json.dumps({"labels": rows}).encode()
            new.writestr(info, data)
    return out


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make(tmp_path_factory.mktemp("data") / "faces.zip")


@pytest.fixture(scope="module")
def finished(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 32 images."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    Run(folder, archive, NET, TINY).train(told)
    return folder


def told(_: Tick) -> None:
    """Nobody listens."""


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The last thing said: the error."""
    said = capsys.readouterr().err.strip().splitlines()
    assert sum("error:" in line for line in said) == 1
    return said[-1]


def refused(capsys: pytest.CaptureFixture[str], status: int, *argv: object) -> str:
    """`kaogen train` with these arguments ends with this status and one line, and no run."""
    out = Path(str(argv[argv.index("--out") + 1]))
    before = sorted(out.rglob("*")) if out.exists() else []
    assert main(["train", *map(str, argv)]) == status
    assert (sorted(out.rglob("*")) if out.exists() else []) == before
    return one_line(capsys)


def test_an_archive_of_another_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], archive: Archive
) -> None:
    said = refused(capsys, 2, archive.path, "--out", tmp_path / "run")
    assert "its pictures are 16 x 16, the preset makes 64" in said
    assert "--size 64" in said
    large = make(tmp_path / "large.zip", size=128, count=2)
    said = refused(capsys, 2, large.path, "--out", tmp_path / "run")
    assert "or train with --preset base128" in said


@pytest.mark.parametrize(
    ("labels", "status", "says"),
    [
        (None, 2, "has no labels, but the networks take 59 tags. Prepare it with --tags"),
        ([0, 0, 0, 0], 3, "no face has any tag"),
        ([0, 3, 0, 1], 3, "labels go from 0 to 3; tags are 0 or 1"),
        ([0, -1, 0, 1], 3, "labels go from -1 to 1"),
        ([0, 1, 1], 3, "labels have 3 columns, kaogen/tags.json names 4"),
        ([0, float("nan"), 0, 1], 3, "no finite rows"),
        ("pink", 3, "does not hold one list of numbers per image"),
    ],
)
def test_labels_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: object, status: int, says: str
) -> None:
    path = make(tmp_path / "faces.zip", size=64, count=3).path
    said = refused(capsys, status, relabelled(path, labels), "--out", tmp_path / "run")
    assert says in said


def test_tags_that_no_face_has_are_told(archive: Archive, tmp_path: Path) -> None:
    run = Run(tmp_path, archive, NET, TINY)
    assert run.told == ["2 of 4 tags are on no face and cannot be learnt: smile, glasses."]


def test_going_on_with_other_tags_says_which(finished: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other.zip", ("pink hair", "hat", "smile", "glasses"))
    with pytest.raises(ConfigError, match="vocabulary: without blue hair and with hat"):
        Run(finished, other, NET, TINY)


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ("nowhere", 4, "There is nothing to start from at nowhere"),
        ("empty", 4, "holds no checkpoint"),
        ("weights.pkl", 4, "is not a kaogen model"),
        ("broken.kaogen", 4, "is not a"),
    ],
)
def test_nothing_to_start_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, status: int, says: str
) -> None:
    faces = make(tmp_path / "faces.zip", size=64, count=3).path
    (tmp_path / "empty").mkdir()
    for name in ("weights.pkl", "broken.kaogen"):
        (tmp_path / name).write_bytes(b"PK nothing of the kind")
    given = tmp_path / given if given != "nowhere" else given
    assert says in refused(capsys, status, faces, "--out", tmp_path / "run", "--init-from", given)


def test_a_damaged_checkpoint_is_no_start(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    source = checkpoint.latest(finished)
    folder.mkdir()
    for file in source.iterdir():
        data = bytearray(file.read_bytes())
        if file.name == checkpoint.WEIGHTS:
            data[-1] ^= 1
        (folder / file.name).write_bytes(data)
    with pytest.raises(Exception, match="has changed since it was written"):
        source_of(folder)


def test_a_run_notes_its_ancestors_and_needs_their_file_no_more(
    archive: Archive, finished: Path, tmp_path: Path
) -> None:
    source = source_of(finished)
    run = Run(tmp_path / "fine", archive, NET, TINY, source=source)
    assert "discriminator: 20 tensors as they are." in run.told
    const = run.trainer.g.get_parameter("synthesis.b4.const")
    assert torch.equal(const, source.raw["synthesis.b4.const"])
    assert run.minutes == 0

    def interrupt(tick: Tick) -> None:
        raise KeyboardInterrupt  # before the first tick

    with pytest.raises(KeyboardInterrupt):
        run.train(interrupt)
    again = Run(tmp_path / "fine", archive, NET, TINY)
    expected = source.ema["synthesis.b4.const"]
    assert torch.equal(again.trainer.ema.get_parameter("synthesis.b4.const"), expected)
    again.train(told)
    _, meta = checkpoint.load_generator(tmp_path / "fine")
    sha = json.loads((checkpoint.latest(finished) / checkpoint.STATE).read_text())["sha256"]
    assert meta["from"] == [{"name": "first", "sha256": sha, "kimg": 0.032}]
    # And its own descendants note both.
    child = source_of(tmp_path / "fine").line()
    assert [entry["name"] for entry in child] == ["fine", "first"]
    export(tmp_path / "fine", archive.path, tmp_path / "fine.kaogen", ExportOptions("fine"))
    bundle = Bundle.open(tmp_path / "fine.kaogen")
    assert [a.name for a in bundle.manifest.trained.ancestors] == ["first"]
    # A run that began elsewhere is not begun again.
    with pytest.raises(ConfigError, match="began from first, not from this fine"):
        Run(tmp_path / "fine", archive, NET, TINY, source=source_of(tmp_path / "fine"))
    with pytest.raises(ConfigError, match="began from nothing"):
        Run(finished, archive, NET, TINY, source=source_of(tmp_path / "fine"))


def test_a_model_file_gives_the_generator_back(
    archive: Archive, finished: Path, tmp_path: Path
) -> None:
    made = export(finished, archive.path, tmp_path / "m.kaogen", ExportOptions("m", min_examples=1))
    source = source_of(tmp_path / "m.kaogen")
    assert source.name == made.id
    assert source.vocabulary == TAGS
    assert source.net == replace(NET, critic="stylegan2")
    ours = checkpoint.load_generator(finished)[0].state_dict()
    for name, value in source.ema.items():
        if "noise" not in name and name != "mapping.w_avg":
            torch.testing.assert_close(value, ours[name], rtol=2e-3, atol=2e-3)
    run = Run(tmp_path / "fine", archive, NET, TINY, source=source)
    assert f"discriminator: begins anew; {made.id} holds no discriminator." in run.told
    run.train(told)


def test_the_shipped_model_gives_its_weights_back() -> None:
    source = source_of(MODELS / "faces64.kaogen")  # which draws with them, and compares
    assert source.net.resolution == 64
    assert len(source.vocabulary) == source.net.num_tags == 59
    assert source_of(Path("faces64")).name == source.name


def test_freeze_d_wants_something_learnt(archive: Archive, finished: Path, tmp_path: Path) -> None:
    frozen = replace(TINY, freeze_d=2)
    export(finished, archive.path, tmp_path / "m.kaogen", ExportOptions("m", min_examples=1))
    with pytest.raises(ConfigError, match=r"learnt nothing: m-\w+ holds no discriminator"):
        Run(tmp_path / "a", archive, NET, frozen, source=source_of(tmp_path / "m.kaogen"))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="learnt nothing: there is no --init-from"):
        Run(tmp_path / "a", archive, NET, frozen)
    run = Run(tmp_path / "b", archive, NET, frozen, source=source_of(finished))
    before = run.trainer.d.state_dict()["from_rgb.weight"].clone()
    run.train(told)
    assert torch.equal(run.trainer.d.state_dict()["from_rgb.weight"], before)
    Run(tmp_path / "b", archive, NET, frozen)


def test_the_discriminator_learns_first(archive: Archive, tmp_path: Path) -> None:
    run = Run(tmp_path, archive, NET, replace(TINY, d_first_kimg=0.016))
    start = {k: v.clone() for k, v in run.trainer.g.state_dict().items() if "w_avg" not in k}
    judge = run.trainer.d.state_dict()["dense0.weight"].clone()
    for step in range(3):
        run.trainer.step()
        now = run.trainer.g.state_dict()
        same = all(torch.equal(v, now[k]) for k, v in start.items())
        assert same == (step < 2)
    assert not torch.equal(run.trainer.d.state_dict()["dense0.weight"], judge)


def test_twice_the_size_from_a_run(finished: Path, tmp_path: Path) -> None:
    large = make(tmp_path / "large.zip", size=32)
    net = NET.with_(resolution=32, channels={4: 8, 8: 8, 16: 8, 32: 4})
    run = Run(tmp_path / "run", large, net, TINY, source=source_of(finished))
    assert any(line.startswith("generator: ") and "new (b32)" in line for line in run.told)
    assert run.train(told)


def test_a_disk_without_room_is_found_before_the_first_step(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = inputs.shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(inputs.shutil, "disk_usage", lambda _: free)
    with pytest.raises(TrainingError, match="0 MB are free on its disk"):
        Run(tmp_path / "run", archive, NET, TINY)
    assert not (tmp_path / "run").exists()


# A file of more bytes than this cannot be written, as on a disk that is full.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from kaogen.cli.main import main
from kaogen.training import run

def limit(tick):
    if tick.saved is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

import kaogen.cli.train as command
train = run.Run.train
run.Run.train = lambda self, tell: train(self, limit)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs resource limits")
def test_a_disk_that_fills_up_ends_the_run_in_one_line(tmp_path: Path) -> None:
    faces = make(tmp_path / "faces.zip", size=16)
    net = NET.to_dict()
    preset = tmp_path / "small.json"
    preset.write_text(json.dumps(net))
    out = tmp_path / "run"
    command = [
        *(sys.executable, "-c", LIMITED, "train", str(faces.path), "--out", str(out)),
        *("--preset", str(preset), "--kimg", "0.064", "--tick", "0.016", "--batch", "8"),
        *("--threads", "1", "--precision", "fp32"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode in (4, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("kaogen: error: ")
    assert "run the same command" in done.stderr
    # What had been saved before is whole, and the same command goes on from it.
    saved = checkpoint.listing(out)
    assert saved
    assert checkpoint.load(saved[-1])[1]["seen"] == 16
    assert not [p for p in (out / "checkpoints").iterdir() if p.name.startswith(".tmp")]


def test_numbers_that_are_none_end_the_run_with_what_was_good(
    archive: Archive, tmp_path: Path
) -> None:
    run = Run(tmp_path, archive, NET, TINY)

    def poison(tick: Tick) -> None:
        if tick.seen == 24:  # between two ticks: the loss is still a number
            with torch.no_grad():
                run.trainer.g.get_parameter("synthesis.b16.conv1.weight")[0, 0] = float("nan")

    with pytest.raises(TrainingError, match="diverged at 32 images"):
        run.train(poison)
    good = checkpoint.listing(tmp_path)
    assert [path.name for path in good] == ["0000000016"]
    assert Run(tmp_path, archive, NET, TINY).trainer.seen == 16
