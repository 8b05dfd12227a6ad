"""Folders, zips, tars and lists give the same pictures; what is hostile in them does nothing."""

import io
import os
import pickle
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from kaogen.data.inputs.entries import LARGEST_SIDECAR, Index, beside, sample_key, sift
from kaogen.data.inputs.sources import Source, open_source
from kaogen.errors import ArchiveError, DataError, ImageError, LabelError
from kaogen.images import LARGEST_FILE

FILES = {
    "a.png": b"picture a",
    "a.txt": b"1girl, smile",
    "deep/b.jpg": b"picture b",
    "deep/b.jpg.json": b"{}",
    "deep/Re:Zero 01.webp": b"picture c",
}
PICTURES = ("a.png", "deep/Re:Zero 01.webp", "deep/b.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def kinds(folder: Path) -> list[Path]:
    listed = folder / "list.csv"
    listed.write_text("file,tags\n" + "".join(f"{name},x\n" for name in PICTURES))
    return [
        folder,
        zipped(folder.parent / "z.zip", FILES),
        zipped(folder.parent / "s.zip", FILES, zipfile.ZIP_STORED),
        tarred(folder.parent / "t.tar", FILES),
        listed,
    ]


def test_every_kind_gives_the_same_pictures_and_sidecars(folder: Path) -> None:
    for path in kinds(folder):
        source = open_source(path)
        assert source.names == PICTURES, path
        assert [source.read(name) for name in PICTURES] == [FILES[name] for name in PICTURES]
        assert source.sidecar("a.png", ".txt") == b"1girl, smile"
        assert source.sidecar("deep/b.jpg", ".json") == b"{}"
        assert source.sidecar("deep/b.jpg", ".txt") is None
        if path != folder:  # the list itself lies in the folder
            assert source.refused == []
        assert str(folder.parent) not in str(source.describe())


def test_a_part_is_small_and_works_in_another_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    more = {f"{n:05d}.png": b"x" for n in range(3000)}
    paths = [zipped(Path("m.zip"), FILES | more), tarred(Path("m.tar"), FILES | more)]
    paths += [path.relative_to(folder.parent) for path in kinds(folder)]
    sent = [pickle.dumps(open_source(path).part(PICTURES[:1])) for path in paths]
    monkeypatch.chdir("/")
    for path, data in zip(paths, sent, strict=True):
        assert len(data) < 1200, path
        part: Source = pickle.loads(data)
        assert part.names == ("a.png",)
        assert part.read("a.png") == b"picture a"
        assert part.sidecar("a.png", ".txt") == b"1girl, smile"


def test_what_is_no_picture_is_told_and_what_belongs_to_one_is_not(folder: Path) -> None:
    for name in ("notes.txt", "film.mp4", "Thumbs.db", ".hidden.png", "stray.json", "a.caption"):
        (folder / name).write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_bytes(b"x")
    (folder / "again").symlink_to(folder / "deep")
    (folder / "link.png").symlink_to(folder / "a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(folder / "nothing")
    source = open_source(folder)
    assert dict(source.refused) == {
        "again": "a link to a folder; those are not followed.",
        "film.mp4": "not a picture file by its name.",
        "notes.txt": "not a picture file by its name.",
        "stray.json": "not a picture file by its name.",
    }
    assert source.read("link.png") == b"picture a"
    with pytest.raises(ImageError, match="not a regular file"):
        source.read("pipe.png")  # and does not wait for somebody to write
    with pytest.raises(ImageError, match="cannot be read"):
        source.read("dangling.png")


def test_names_that_lead_out_are_refused_in_archives(tmp_path: Path) -> None:
    bad = ["../x.png", "/etc/x.png", "C:\\x.png", "a/../../x.png", "a\\b.png", "line\nend.png"]
    files = dict.fromkeys(bad, b"x") | {"fine..png": b"y"}
    for path in (zipped(tmp_path / "z.zip", files), tarred(tmp_path / "t.tar", files)):
        source = open_source(path)
        assert source.names == ("fine..png",)
        assert {reason for _, reason in source.refused} == {"its name is unsafe."}
        assert len(source.refused) == len(bad)


def test_files_that_are_too_large_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    with (folder / "a.png").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with (folder / "a.txt").open("wb") as file:
        file.truncate(LARGEST_SIDECAR + 1)
    bomb = {"a.png": bytes(LARGEST_FILE + 1), "a.txt": bytes(LARGEST_SIDECAR + 1)}
    for path in (folder, zipped(tmp_path / "b.zip", bomb), tarred(tmp_path / "b.tar", bomb)):
        source = open_source(path)
        with pytest.raises(ImageError, match="larger than 32 MiB"):
            source.read("a.png")
        with pytest.raises(LabelError, match=r"a\.txt is larger than 1 MiB"):
            source.sidecar("a.png", ".txt")


def bent_zip(tmp_path: Path, **changes: int) -> Path:
    """A zip whose directory says something else of its one entry than is true."""
    path = zipped(tmp_path / "bent.zip", {"a.png": bytes(200_000)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    places = {"flags": (8, 2), "method": (10, 2), "packed": (20, 4), "size": (24, 4)}
    for name, value in changes.items():
        offset, wide = places[name]
        data[at + offset : at + offset + wide] = value.to_bytes(wide, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 10},  # a bomb that promises little
        {"size": 2_000_000},
        {"packed": 60_000_000},
        {"packed": 3},
        {"flags": 1},  # encrypted
        {"method": 14},  # LZMA, whose decoder takes as much memory as the file says
        {"method": 0},
    ],
)
def test_a_zip_that_lies_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    source = open_source(bent_zip(tmp_path, **changes))
    with pytest.raises(ImageError, match=r"damaged, encrypted or oddly packed|larger than"):
        source.read("a.png")


def test_of_a_name_that_a_zip_has_twice_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.png", b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("a.png", b"second")
    source = open_source(path)
    assert source.refused == [("a.png", "its name stands there twice; the first counts.")]
    assert source.read("a.png") == b"first"


def test_what_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"nothing of the kind")
    (tmp_path / "x.tar").write_bytes(b"nothing of the kind" * 100)
    (tmp_path / "e.tar").write_bytes(b"")
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    for name, said in {
        "x.zip": "no readable zip",
        "x.tar": "no readable tar",
        "e.tar": "is empty",
        "none.tar": "does not exist",
        "{0..3}.tar": "names 4 tars, of which 4 are not there",
        "{0..999999}.tar": "more than 100,000 tars",
        "x.tar.gz": "compressed as a whole",
    }.items():
        with pytest.raises(DataError, match=said) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_names_beside_and_keys() -> None:
    assert sample_key("a.b/c.d.png") == "a.b/c"
    assert sample_key(".hidden/x.png") == ".hidden/x"
    assert beside("a/b.c.png", ".json") == ["a/b.c.png.json", "a/b.c.json"]
    assert beside("a/b.c.png", ".json", by_key=True)[-1] == "a/b.json"


def test_an_index_keeps_the_first_and_finds_by_name() -> None:
    entries = [("b", (1, 10)), ("a", (2, 20)), ("b", (3, 30)), ("a", (4, 40))]
    index, again = Index.build(entries)
    assert list(index.names) == ["a", "b"]
    assert again == ["a", "b"]
    assert (index.find("a"), index.find("b"), index.find("c")) == ((2, 20), (1, 10), None)
    part = index.part(["b", "z"])
    assert (list(part.names), part.find("b"), part.find("a")) == (["b"], (1, 10), None)
    empty, _ = Index.build([])
    assert empty.find("a") is None
    assert empty.part(["a"]).find("a") is None


def test_a_hundred_thousand_names_are_sorted_out_quickly() -> None:
    names = [f"{n % 97}/{n}.{kind}" for n in range(50_000) for kind in ("png", "png.json")]
    start = time.process_time()
    pictures, refused = sift(names)
    index, _ = Index.build((name, (n, n)) for n, name in enumerate(names))
    index.part(pictures[:256])
    assert time.process_time() - start < 5
    assert (len(pictures), refused) == (50_000, [])


def test_a_damaged_zip_entry_and_a_crc_that_is_wrong(tmp_path: Path) -> None:
    path = zipped(tmp_path / "z.zip", {"a.png": b"hello", "b.png": b"world"}, zipfile.ZIP_STORED)
    data = path.read_bytes().replace(b"hello", b"hullo")
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(ImageError, match="damaged"):
        source.read("a.png")
    assert source.read("b.png") == b"world"
    path.write_bytes(data[:-30])
    with pytest.raises(ArchiveError):
        open_source(path)
