"""`kaogen eval` from the command line: files, figures, and what it refuses."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kaogen.cli.main import main
from kaogen.data.archives.archive import Item, write_archive
from kaogen.studio.bundle import Bundle, write_bundle
from kaogen.studio.manifest import PAYLOAD, Manifest
from kaogen.studio.rewrite import write_measured
from kaogen.tags import PAPER
from metrics.painted import write_reader


@pytest.fixture
def faces(tmp_path: Path, label_rows: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    items = (
        Item(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), label=[float(v) for v in row])
        for row in label_rows[:80]
    )
    path = tmp_path / "faces.zip"
    write_archive(path, items, vocabulary=PAPER)
    return path


@pytest.fixture
def call(
    tmp_path: Path, random_model: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The command for a model of one's own, fifty characters, judged by a small real tagger."""
    monkeypatch.setenv("KAOGEN_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "mine.kaogen"
    shutil.copy(random_model, model)
    reader = write_reader(tmp_path / "reader.onnx")
    return ["eval", str(model), "--data", str(faces), "-n", "50", "--features", str(reader)]


def test_the_same_command_gives_the_same_bytes(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Bundle.open(call[1]).manifest
    assert main([*call, "-o", str(tmp_path / "a.html"), "--write"]) == 0
    first = capsys.readouterr()
    after = Bundle.open(call[1]).manifest
    assert main([*call, "-o", str(tmp_path / "b.html"), "--json", str(tmp_path / "b.json")]) == 0
    assert capsys.readouterr().out == first.out
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    document = json.loads((tmp_path / "a.json").read_text())
    assert document["data"]["faces"] == 80
    assert document["networks"][0]["independent"] is True
    shown = {t["tag"]: t for t in document["models"][0]["obedience"][0]["tags"]}
    assert set(shown) == {"red hair", "green hair", "blue hair", "smile", ":d"}
    assert shown["smile"]["asked"]["of"] == 16
    assert "In the form of MakeGirlsMoe's report" in first.out

    assert (before.id, before.files) == (after.id, after.files)
    stored = {tag.name: tag.obedience for tag in after.tags}
    assert stored["smile"] == shown["smile"]["asked"]["share"]
    assert stored["glasses"] is None


def test_few_faces_and_a_model_without_tags_are_no_trouble(
    call: list[str], tmp_path: Path, label_rows: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    items = (
        Item(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), label=[float(v) for v in row])
        for row in label_rows[:21]
    )
    write_archive(call[3], items, vocabulary=PAPER)
    bundle = Bundle.open(call[1])
    tags = [tag.model_copy(update={"learnt": False}) for tag in bundle.manifest.tags]
    manifest = Manifest.model_validate({**bundle.manifest.model_dump(), "tags": tags})
    with zipfile.ZipFile(call[1]) as archive:
        payload = {name: archive.read(name) for name in PAYLOAD}
    sealed = manifest.model_copy(update={"id": manifest.content_id()})
    write_bundle(call[1], sealed, payload)
    assert main([*call, "-o", str(tmp_path / "few.html")]) == 0
    assert "has learnt no tag" in capsys.readouterr().out
    json.loads((tmp_path / "few.json").read_text(), parse_constant=pytest.fail)


def test_two_models_side_by_side(call: list[str], random_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "both.html"
    assert main([*call, "--compare", str(random_model), "-o", str(out)]) == 0
    one, two = json.loads(out.with_suffix(".json").read_text())["models"]
    assert one == two  # the same model twice, the same seeds and tags


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--features", "no-such"], "no features 'no-such'"),
        (["--features", "gone.onnx"], "there is no tagger file gone.onnx"),
        (["--data", "gone.zip"], "gone.zip does not exist"),
        (["--compare", "gone.kaogen"], "there is no model"),
        (["-o", "/"], "/ is a folder"),
        (["-o", "report.json"], "cannot be both the page and the figures"),
    ],
)
def test_what_is_refused(
    call: list[str], options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*call, *options]) != 0
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_faces_without_tags_are_refused(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.zip"
    write_archive(bare, iter([Item(np.zeros((16, 16, 3), np.uint8))]))
    assert main([*call, "--data", str(bare)]) == 3
    assert "has no tags" in capsys.readouterr().err


def test_measured_figures_of_unknown_tags_are_refused(random_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.kaogen"
    shutil.copy(random_model, model)
    written = model.read_bytes()
    with pytest.raises(KeyError, match="no such tag"):
        write_measured(model, {"no such tag": (0.5, 0.5)})
    assert model.read_bytes() == written
