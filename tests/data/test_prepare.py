"""Ready faces and a CSV to a data set file; what is broken is counted, never fatal."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from kaogen.cli.main import main
from kaogen.data.archives.archive import Archive
from kaogen.data.inputs.sources import open_source
from kaogen.data.preparing.prepare import Preparation, Report, prepare
from kaogen.data.tagging.tag_table import TagTable
from kaogen.errors import (
    ArchiveError,
    ConfigError,
    DataError,
    LabelError,
    ModelNotFoundError,
    UnknownTagError,
)
from kaogen.tags import PAPER

MakeTagger = Callable[..., Path]

COUNT = 150  # many shards, so that two workers have something to hand back out of order


def picture(number: int, size: int = 20, form: str = "WEBP") -> bytes:
    colour = (number * 40 % 256, number * 90 % 256, number * 7 % 256)
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, form, lossless=True)
    return out.getvalue()


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w") as out:
        for number in reversed(range(COUNT)):
            out.writestr(f"{number:03d}.webp", picture(number))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{n:03d}.webp,{'pink_hair|Cat Ears' if n % 2 else ''}" for n in range(COUNT)]
    return write_csv(tmp_path / "tags.csv", *rows)


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["file,tags", *rows]) + "\n", encoding="utf-8")
    return path


def run(source: Path, **options: object) -> Report:
    options = {"size": 8, "workers": 0} | options
    return prepare(Preparation(source, source.parent / "out.zip", **options))  # type: ignore[arg-type]


def test_faces_and_tags_become_a_data_set(faces: Path, table: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    plan = Preparation(faces, faces.parent / "out.zip", 8, table, workers=0)
    report = prepare(plan, lambda *told: calls.append(told))
    assert (report.written, report.dropped, report.detected) == (COUNT, [], False)
    assert ("looking at pictures", COUNT, COUNT) in calls
    assert calls[-1] == ("writing faces", COUNT, COUNT)
    with Archive.open(plan.out) as archive:
        assert (archive.resolution, len(archive)) == ((8, 8), COUNT)
        assert archive.vocabulary == PAPER
        assert archive.labels is not None
        assert PAPER.decode(archive.labels[0].tolist()) == ()
        # Danbooru's spelling is understood, and what a tag implies is set.
        assert set(PAPER.decode(archive.labels[1].tolist())) == {
            "pink hair",
            "cat ears",
            "animal ears",
        }
        assert archive.image(3)[0, 0].tolist() == [120, 14, 21]
        provenance = archive.provenance()
    assert provenance is not None
    assert provenance["source"]["name"] == "source.zip"
    assert len(provenance["source"]["sha256"]) == 64
    assert provenance["files"][3][1] == "003.webp"
    assert str(faces.parent) not in json.dumps(provenance)  # no paths of this machine


def test_the_bytes_do_not_depend_on_workers_or_time(
    faces: Path, table: Path, make_tagger: MakeTagger
) -> None:
    tagger = str(make_tagger(faces.parent / "t.onnx"))
    some = faces.parent / "some.csv"
    some.write_text("".join(table.read_text().splitlines(keepends=True)[:40]))
    packed = []
    for workers in (0, 2, 1):
        run(faces, tags=some, tagger=tagger, workers=workers)
        packed.append((faces.parent / "out.zip").read_bytes())
    assert packed[0] == packed[1] == packed[2]


def test_a_folder_gives_the_same_faces_as_its_zip(faces: Path, table: Path) -> None:
    folder = faces.parent / "folder"
    (folder / "deep").mkdir(parents=True)
    for number in range(COUNT):
        (folder / "deep" / f"{number:03d}.webp").write_bytes(picture(number))
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.webp").write_bytes(picture(1))
    run(faces, tags=table)
    with Archive.open(faces.parent / "out.zip") as archive:
        want = archive.fingerprint
    # The CSV names the files without the subfolder; each name is there once, so that will do.
    assert run(folder, tags=table).written == COUNT
    with Archive.open(faces.parent / "out.zip") as archive:
        assert archive.fingerprint == want


def broken_files() -> Iterator[tuple[str, bytes, str]]:
    bomb = io.BytesIO()
    Image.new("L", (9000, 9000)).save(bomb, "PNG")
    yield "cut.webp", picture(1, 64)[:-20], "damaged"
    yield "empty.png", b"", "empty"
    yield "text.jpg", b"<html>not found</html>", "not a JPEG"
    yield "bomb.png", bomb.getvalue(), "9000x9000"
    yield "notes.txt", b"hello", "not a picture file"
    yield "../../escape.png", picture(1, form="PNG"), "unsafe"
    yield "/etc/escape.png", picture(1, form="PNG"), "unsafe"
    yield "C:\\escape.png", picture(1, form="PNG"), "unsafe"


def test_broken_files_are_counted_with_reasons_and_never_stop_a_run(tmp_path: Path) -> None:
    source = tmp_path / "in" / "source.zip"
    source.parent.mkdir()
    with zipfile.ZipFile(source, "w") as out:
        out.writestr("good.webp", picture(1))
        out.writestr("__MACOSX/good.webp", b"\0")
        for name, data, _ in broken_files():
            out.writestr(name, data)
    report = run(source)
    assert report.written == 1
    reasons = dict(report.dropped)
    for name, _, words in broken_files():
        assert words in reasons.pop(name)
    assert reasons == {}
    assert sum(count for _, count, _ in report.reasons()) == 8
    assert max(count for _, count, _ in report.reasons()) == 3
    # Nothing is ever extracted, whatever a name says.
    assert sorted(os.listdir(tmp_path)) == ["in"]  # noqa: PTH208
    assert sorted(os.listdir(source.parent)) == ["out.zip", "source.zip"]  # noqa: PTH208
    with Archive.open(source.parent / "out.zip") as archive:
        assert archive.labels is None
        provenance = archive.provenance()
    assert provenance is not None
    assert len(provenance["dropped"]) == 8


def test_an_entry_that_is_damaged_inside_the_zip_is_left_out(faces: Path) -> None:
    data = bytearray(faces.read_bytes())
    data[data.index(picture(7)) + 30] ^= 0xFF
    faces.write_bytes(data)
    report = run(faces)
    assert report.dropped == [("007.webp", "the zip entry is damaged, encrypted or oddly packed.")]
    assert report.written == COUNT - 1


def test_a_truncated_zip_is_one_clear_error(faces: Path) -> None:
    faces.write_bytes(faces.read_bytes()[:-100])
    with pytest.raises(ArchiveError, match="no readable zip"):
        run(faces)


def test_csv_and_source_need_not_agree(faces: Path) -> None:
    table = write_csv(faces.parent / "t.csv", "001.webp,hat", "003.webp,", "gone.webp,hat")
    report = run(faces, tags=table)
    assert (report.written, report.not_in_csv, report.not_in_source) == (2, COUNT - 2, 1)
    table = write_csv(faces.parent / "t.csv", "gone.webp,hat")
    with pytest.raises(DataError, match=r"t\.csv lists none of the 150 pictures"):
        run(faces, tags=table)


def test_the_tagger_tags_what_the_csv_does_not_list(faces: Path, make_tagger: MakeTagger) -> None:
    table = write_csv(faces.parent / "t.csv", "000.webp,glasses")
    tagger = str(make_tagger(faces.parent / "t.onnx"))
    report = run(faces, tags=table, tagger=tagger)
    assert (report.written, report.tagged) == (COUNT, COUNT - 1)
    with Archive.open(faces.parent / "out.zip") as archive:
        assert archive.labels is not None
        assert PAPER.decode(archive.labels[0].tolist()) == ("glasses",)
        assert PAPER.decode(archive.labels[1].tolist()) == ("smile", "green hair")
        provenance = archive.provenance()
    assert provenance is not None
    assert provenance["tagger"]["name"] == "t.onnx"
    with pytest.raises(ModelNotFoundError):
        run(faces, tagger=str(faces.parent / "none.onnx"))


def test_limit_takes_the_first_by_name(faces: Path) -> None:
    assert run(faces, limit=5).written == 5
    with Archive.open(faces.parent / "out.zip") as archive:
        provenance = archive.provenance()
    assert provenance is not None
    assert [source for _, source, _ in provenance["files"]] == [f"{n:03d}.webp" for n in range(5)]


def test_tags_beyond_the_vocabulary_are_counted_contradictions_left_out(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "t.csv",
        "a.png,male|smile|orange eyes",
        "b.png,pink hair|aqua hair|hat|long hair",
        "c.png,long hair|short hair|gray hair|male",
    )
    table = TagTable.read(path, PAPER)
    assert table.rows == {
        "a.png": ("smile",),
        "b.png": ("long hair", "hat"),
        "c.png": ("silver hair",),
    }
    assert table.ignored == {"male": 2, "orange eyes": 1, "aqua hair": 1}
    assert table.contradictions == {"hair colour": 1, "hair length": 1}


def test_an_unknown_tag_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "a.png,smile", "b.png,smile|pnik hair")
    with pytest.raises(UnknownTagError) as caught:
        TagTable.read(path, PAPER, strict=True)
    assert str(caught.value).startswith(
        'unknown tag "pnik hair" in t.csv line 3. Nearest: pink hair'
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name;tags\n", "no header"),
        (b"", "no header"),
        (b"file,tags\na.png,hat\na.png,hat\n", "line 3 lists a.png a second time"),
        (b"file,tags\n,hat\n", "line 2 names no file"),
        (b"file,tags\n\xff\xfe,hat\n", "cannot be read as CSV"),
        (b"file,tags\n" + b"a" * 200_000 + b",hat\n", "cannot be read as CSV"),
    ],
)
def test_a_broken_csv_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=words):
        TagTable.read(path, PAPER)


def test_excels_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufefffile,tags\r\n.\\a.png, smile | hat \r\nb.png\r\n".encode())
    assert TagTable.read(path, PAPER).rows == {"a.png": ("smile", "hat"), "b.png": ()}


def test_values_that_cannot_be_are_refused(faces: Path) -> None:
    for options, words in (
        ({"size": 60}, "no power of two"),
        ({"size": 4}, "no power of two"),
        ({"size": (64, 100)}, "multiples of 8"),
        ({"limit": 0}, "--limit 0"),
        ({"workers": -1}, "--workers -1"),
        ({"margin": -0.1}, "--margin"),
        ({"finder": "dlib"}, "--finder dlib"),
        ({"vocabulary": None}, "needs a tagger"),
        ({"engine": "slurm"}, "--engine slurm"),
        ({"filters": {"blur": 9}}, "--blur 9"),
        ({"out": faces.parent}, "is a folder"),
        ({"out": faces.parent / "none" / "a.zip"}, "there is no folder"),
        ({"report": faces.parent / "none" / "a.html"}, "there is no folder"),
        ({"rejected": faces.parent}, "holds other files"),
    ):
        plan = {"source": faces, "out": faces.parent / "out.zip"} | options
        with pytest.raises(ConfigError, match=words):
            prepare(Preparation(**plan))  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="no such file"):
        run(faces, tags=faces.parent / "none.csv")
    with pytest.raises(DataError, match="does not exist"):
        open_source(faces.parent / "nowhere")
    empty = faces.parent / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="has no pictures"):
        run(empty)
    (empty / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"No picture .* a\.png: the file is empty"):
        run(empty)
    assert not (faces.parent / "out.zip").exists()


def test_the_command(faces: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = faces.parent / "a.zip"
    call = ["prepare", str(faces), "--tags", str(table), "--size", "8", "-o", str(out)]
    assert main([*call, "--workers", "0"]) == 0
    told = capsys.readouterr().out
    assert f"{out}: 150 faces of 8 x 8, 59 tags" in told
    assert "taken as ready faces: 150" in told
    assert "enlarged" not in told
    assert (faces.parent / "a.report.html").is_file()
    write_csv(table, "000.webp,smlie|male|1girl", "x.webp,hat")
    assert main([*call, "--size", "32", "--workers", "0", "--report", "none"]) == 0
    told = capsys.readouterr().out
    assert "perhaps misspelt, so not counted: smlie (smile?) 1" in told
    assert "words that are no tags here: 1girl 1" in told
    assert "not in the CSV, so left out: 149" in told
    assert f"in the CSV but not in {faces}: 1" in told
    assert "ignored tags beyond the vocabulary: male 1" in told
    assert "enlarged, being smaller than 32 x 32 pixels: 1" in told


def shared(name: str) -> Path:
    root = Path(__file__).parents[2]
    path = Path(os.environ.get("KAOGEN_DATA", root.parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"{name} is not there; KAOGEN_DATA names the folder with the real faces")
    return path


def test_real_faces(tmp_path: Path) -> None:
    out = tmp_path / "faces.zip"
    plan = Preparation(shared("getchu.zip"), out, 64, shared("getchu.csv"), limit=100, workers=0)
    report = prepare(plan)
    assert (report.written, report.dropped) == (100, [])
    assert report.ignored["male"] > 100
    with Archive.open(out) as archive:
        assert archive.labels is not None
        assert archive.labels.sum(axis=1).mean() > 3
        assert archive.pixels().std() > 40
