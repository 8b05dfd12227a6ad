"""`benchmarks/peers.py` as it is run: all three methods for a moment, on random faces."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kaogen.data.archives.archive import Item, write_archive
from kaogen.errors import ConfigError
from kaogen.tags import Vocabulary

ROOT = Path(__file__).parents[2]
TAGS = ("red hair", "blue hair", "smile", "glasses")
METHODS = ["dcgan", "stylegan2", "kaogen"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set of random faces and a judge."""
    folder = tmp_path_factory.mktemp("peers")
    source = np.random.default_rng(0)
    items = []
    for i in range(48):
        blocks = source.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        tags = [TAGS[i % 2], *(t for t in TAGS[2:] if source.random() < 0.4)]
        items.append(Item(np.kron(blocks, np.ones((8, 8, 1), np.uint8)), tags))
    write_archive(folder / "faces.zip", items, Vocabulary(TAGS))
    # The small tagger of the metrics' tests; folders of tests are no packages.
    place = ROOT / "tests" / "metrics" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_judge", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_judge(folder / "judge.onnx")
    return folder


@pytest.fixture
def run(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the benchmark with some more options; in this process, where torch is there already."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("KAOGEN_CACHE", str(work / "cache"))
    main = importlib.import_module("peers").main
    judge = str(work / "judge.onnx")
    options = [str(work / "faces.zip"), "--out", str(work / "out"), "--minutes", "0.0001"]
    options += ["--threads", "1", "--features", judge, "--judge", judge]
    options += ["--count", "20", "--each", "2", "--rounds", "2"]
    return lambda *more: main([*options, *more])


def test_three_methods_are_trained_once_judged_and_shown(
    work: Path, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    shown, out = capsys.readouterr(), work / "out"
    states = [json.loads((out / name / "state.json").read_text()) for name in METHODS]
    assert all(s["seen"] > 0 and s["seconds"] >= 0.006 for s in states)
    found = json.loads((out / "peers.json").read_text())
    assert list(found["distances"]) == ["judge"]
    assert list(found["distances"]["judge"]) == ["real", *METHODS]
    assert set(found["distances"]["judge"]["kaogen"]) >= {"frechet", "kernel", "coverage"}
    assert list(found["obedience"]) == METHODS
    table = (out / "peers.md").read_text()
    assert shown.out.strip() == table.strip()
    assert all(f"| {name} |" in table for name in METHODS)
    with Image.open(out / "peers.png") as sheet:
        assert sheet.size == (3 * 6 * 64 + 2 * 8, 8 * 64 + 16)

    run("--methods", "dcgan")
    assert states == [json.loads((out / name / "state.json").read_text()) for name in METHODS]
    # What was trained once is judged the same way twice.
    again = json.loads((out / "peers.json").read_text())
    assert again["obedience"]["dcgan"] == found["obedience"]["dcgan"]
    twice = (found["distances"]["judge"], again["distances"]["judge"])
    assert all(twice[0][name] == twice[1][name] for name in ("real", "dcgan"))

    with pytest.raises(ConfigError, match=r"trained with seed 0, not 1\. Choose another --out"):
        run("--seed", "1")
    weights = out / "dcgan" / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ConfigError, match="has changed since"):
        run()


def test_what_cannot_be_compared_is_refused(work: Path, run: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match="known are dcgan, stylegan2, kaogen"):
        run("--methods", "kaogen,vae")
    with pytest.raises(ConfigError, match="no features 'nothing'"):
        run("--features", "nothing")
    small = work / "small.zip"
    write_archive(small, [Item(np.zeros((16, 16, 3), np.uint8), ["smile"])], Vocabulary(TAGS))
    main = importlib.import_module("peers").main
    judge = str(work / "judge.onnx")
    words = [str(small), "--out", str(work / "none"), "--features", judge, "--judge", judge]
    with pytest.raises(ConfigError, match="16 x 16, all three methods make RGB of 64 x 64"):
        main([*words, "--threads", "1"])
