"""`kaogen data`, as it is typed."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from data.records import write_tfrecords
from kaogen.cli.main import main
from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.data.archives.contact_sheet import Caption, caption, choose, contact_sheet
from kaogen.data.archives.sets import open_set
from kaogen.errors import ConfigError, UnknownTagError
from kaogen.tags import PAPER

COMMANDS = ("show", "stats", "check", "merge", "split", "convert")


def faces(count: int, size: int = 16, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "faces.zip"
    items = [
        Item(image, ["pink hair", "smile", "glasses"][: n % 4], source=f"{n}.png")
        for n, image in enumerate(faces(40))
    ]
    write_archive(path, items, PAPER)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Example:" in said
    assert f"kaogen data {command} " in said


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in COMMANDS)


def test_show_draws_a_sheet(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = packed.parent / "sheets" / "sheet.png"
    words = ["data", "show", str(packed), "--tag", "pink_hair, -glasses", "-n", "6", "-o", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{out}: 6 of 20 faces with pink_hair, -glasses\n"
    with PIL.Image.open(out) as page:
        assert page.width > 300
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]
    for wrong, status in (
        (["--tag", "pink hiar"], 2),
        (["--tag", "hat"], 2),
        (["-n", "0"], 2),
        (["-n", "2000"], 2),
        (["-o", "sheet.gif"], 2),
    ):
        assert main(["data", "show", str(packed), "-o", str(out), *wrong]) == status
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["data", "show", str(packed.parent / "none.zip"), "-o", str(out)]) == 3


def test_a_sample_is_the_same_for_the_same_seed(packed: Path) -> None:
    opened = open_set(packed)
    places, fitting, marked = choose(opened, 5, tags="smile", seed=3)
    assert places == sorted(places)
    assert (places, fitting, marked) == choose(opened, 5, tags="smile", seed=3)
    assert (fitting, tuple(marked)) == (20, ("smile",))
    assert places != choose(opened, 5, tags="smile", seed=4)[0]
    assert len(choose(opened, 64)[0]) == 40
    with pytest.raises(UnknownTagError, match="--tag"):
        choose(opened, 5, tags="smlie")
    with pytest.raises(ConfigError, match="no face with hat"):
        choose(opened, 5, tags="hat")


@pytest.mark.parametrize("shape", [(8, 8, 1), (24, 16, 4), (300, 200, 3), (64, 64, 3)])
def test_sheets_of_any_faces(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = tmp_path / "a.zip"
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(5)]
    write_archive(path, [Item(image, source="folder/name.png") for image in images])
    opened = open_set(path)
    cells = [(item, caption(opened, item)) for item in opened.items()]
    assert cells[0][1].words == ("name.png",)
    # A caption of many long words stays within its card.
    cells[1] = (cells[1][0], Caption(tuple(f"a rather long tag {n}" for n in range(30))))
    cells[2] = (cells[2][0], Caption(("endless" * 40,)))
    page = contact_sheet(cells, "title " * 60, "subtitle")
    assert page.mode == "RGB"
    assert page.width > 150


def test_stats_as_a_table_as_json_and_as_a_page(
    packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "stats", str(packed)]) == 0
    said = capsys.readouterr().out
    assert "40 faces of 16 x 16 RGB" in said
    assert "pink hair" in said
    assert "75.0%" in said
    page = packed.parent / "page.html"
    assert main(["data", "stats", str(packed), "--json", "--report", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tags"]["smile"] == 20
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_check_says_so_by_its_status(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(packed)]) == 0
    assert capsys.readouterr().out == f"{packed}: 40 images, all whole\n"
    twins = packed.parent / "twins.zip"
    write_archive(twins, [Item(faces(1)[0])] * 70)
    assert main(["data", "check", str(twins)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 52
    assert lines[0].endswith("00000/img00000001.png is the same picture as 00000/img00000000.png.")
    assert lines[50] == "... and 19 more; --all names them."
    assert lines[51] == f"{twins}: 69 faults in 70 images"
    assert main(["data", "check", str(twins), "--all"]) == 3
    assert len(capsys.readouterr().out.splitlines()) == 70


def test_split_merge_and_convert(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = packed.parent
    train, test, both, shards = (
        str(folder / name) for name in ("train.zip", "test.zip", "both.zip", "both.tar")
    )
    words = ["--held-out", "0.2", "-o", train, "--rest", test]
    assert main(["data", "split", str(packed), *words]) == 0
    assert f"{test}: 8 faces, held out" in capsys.readouterr().out
    assert main(["data", "merge", train, test, str(packed), "-o", both]) == 0
    said = capsys.readouterr().out
    assert f"{both}: 40 faces, 59 tags" in said
    assert "the same pixels as an earlier face: 40" in said
    assert main(["data", "convert", both, "-o", shards, "--shard-size", "15"]) == 0
    said = capsys.readouterr().out
    assert said == f"{shards}: 40 faces in 3 shards, both-000000.tar and so on\n"
    assert main(["data", "convert", shards, "-o", str(folder / "again.zip")]) == 0
    assert Archive.open(folder / "again.zip").fingerprint == Archive.open(both).fingerprint
    assert main(["data", "merge", train, "-o", both]) == 2
    assert main(["data", "split", str(packed), "--held-out", "2", "-o", train, "--rest", test]) == 2


def test_convert_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tfrecords(tmp_path / "old", faces(3), np.eye(3, dtype=np.float32))
    out = str(tmp_path / "new.zip")
    assert main(["data", "convert", str(folder), "-o", out]) == 0
    assert main(["data", "stats", out]) == 0
    said = capsys.readouterr().out
    assert "3 label columns without names" in said
    assert "column 2" in said
    names = tmp_path / "names.txt"
    names.write_text("red hair\nhat\nsmile\n")
    assert main(["data", "convert", str(folder), "--vocabulary", str(names), "-o", out]) == 0
    assert main(["data", "stats", out]) == 0
    assert "3 tags, 1.0 a face" in capsys.readouterr().out
    assert main(["data", "convert", str(folder), "--vocabulary", "paper", "-o", out]) == 3
    assert "the vocabulary 59 tags" in capsys.readouterr().err
    with (folder / "old-r04.tfrecords").open("r+b") as file:
        file.truncate(1000)
    assert main(["data", "convert", str(folder), "-o", out]) == 3
    said = capsys.readouterr().err
    assert "old-r04.tfrecords: record 1 is cut short." in said
    assert "Traceback" not in said
