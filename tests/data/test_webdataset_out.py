"""WebDataset shards: any loader reads them, nothing is half written, bytes are the same."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kaogen.data.archives.archive import Archive, Item
from kaogen.data.archives.convert import convert
from kaogen.data.archives.sets import open_set
from kaogen.data.archives.webdataset_in import ShardSet
from kaogen.data.archives.webdataset_out import write_webdataset
from kaogen.errors import ArchiveError, ConfigError, DataError, LabelError
from kaogen.tags import Vocabulary

TAGS = Vocabulary(["pink hair", "smile", "glasses"])


def faces(count: int = 7, size: int = 8) -> list[np.ndarray]:
    draw = np.random.default_rng(2)
    return [draw.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def items(count: int = 7) -> Iterator[Item]:
    for number, image in enumerate(faces(count)):
        yield Item(
            image,
            tags=TAGS.names[: number % 4],
            source=f"{number // 2}.png",
            sha256=f"{number // 2:064x}",
            scores=np.array([0.1, 1 / 3], np.float16) if number else None,
            box=(1, 2.25, 3, 4) if number == 2 else None,
        )


def write(folder: Path, count: int = 7, size: int = 3) -> Path:
    target = folder / "faces.tar"
    told = {"source": "drawn"}
    assert write_webdataset(target, items(count), TAGS, told, ("a", "b"), shard_size=size) == count
    return target


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def samples(folder: Path) -> list[dict[str, Any]]:
    """As WebDataset groups a tar: following files with one key, up to the first dot, are one."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                if not found or found[-1]["__key__"] != key:
                    found.append({"__key__": key, "__shard__": path.name})
                file = tar.extractfile(member)
                assert file is not None
                assert (member.mtime, member.uid, member.uname, member.mode) == (0, 0, "", 0o644)
                found[-1][suffix] = file.read()
    return found


def test_loaders_read_the_shards(tmp_path: Path) -> None:
    write(tmp_path)
    found = samples(tmp_path)
    assert [s["__key__"] for s in found] == [f"{n:08d}" for n in range(7)]
    assert [s["__shard__"] for s in found].count("faces-000001.tar") == 3
    for sample, image in zip(found, faces(), strict=True):
        pixels = np.array(PIL.Image.open(io.BytesIO(sample["png"])))
        np.testing.assert_array_equal(pixels, image)
    assert json.loads(found[2]["json"]) == {
        "tags": ["pink hair", "smile"],
        "label": [1, 1, 0],
        "source": "1.png",
        "sha256": f"{1:064x}",
        "box": [1.0, 2.2, 3.0, 4.0],
        "scores": [0.1, 0.3333],
    }
    index = json.loads((tmp_path / "faces.json").read_text())
    assert index["tags"] == list(TAGS.names)
    assert index["provenance"] == {"source": "drawn"}
    assert [shard["images"] for shard in index["shards"]] == [3, 3, 1]
    for shard in index["shards"]:
        data = (tmp_path / shard["name"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_same_faces_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


def test_there_and_back_is_the_same_archive(tmp_path: Path) -> None:
    target = write(tmp_path)
    for number, path in enumerate((target, tmp_path, tmp_path / "faces-{000000..000002}.tar")):
        out = tmp_path / f"{number}.zip"
        assert convert(path, out) == 7
        with Archive.open(out) as archive:
            np.testing.assert_array_equal(archive.pixels(), np.stack(faces()))
            assert archive.labels is not None
            assert archive.labels.tolist() == [TAGS.encode(TAGS.names[: n % 4]) for n in range(7)]
            # A pattern names bare tars: theirs is no index, so columns have no names.
            assert archive.vocabulary == (None if number == 2 else TAGS)
            scores = archive.scores()
            assert (scores is None) == (number == 2)
            if scores is not None:
                assert scores[0] == ("a", "b")
                assert np.isnan(scores[1][0]).all()
                assert scores[1][6].tolist() == np.array([0.1, 1 / 3], np.float16).tolist()
            assert archive.files()[5][1:] == ("2.png", f"{2:064x}")
            provenance = archive.provenance()
            assert provenance is not None
            assert provenance["files"][2][3] == [1.0, 2.2, 3.0, 4.0]
    again = tmp_path / "again"
    again.mkdir()
    convert(tmp_path / "0.zip", again / "faces.tar", shard_size=3)
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.tar"))] == [
        p.read_bytes() for p in sorted(again.glob("*.tar"))
    ]


def test_a_failing_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = write(tmp_path)
    before = listing(tmp_path)

    def broken() -> Iterator[Item]:
        yield from items(4)
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        write_webdataset(target, broken(), TAGS, shard_size=2)
    assert listing(tmp_path) == before
    stale = tmp_path / ".faces-000000.tar.left.tmp"
    stale.write_bytes(b"left by a killed run")
    os.utime(stale, (0, 0))
    # A shorter set takes the place of all of it.
    write(tmp_path, count=2)
    assert set(listing(tmp_path)) == {"faces.json", "faces-000000.tar"}


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "faces-000003.tar").write_bytes(b"mine")
    with pytest.raises(ArchiveError, match=r"faces-000003.tar is there already"):
        write(tmp_path)
    (tmp_path / "faces-000003.tar").unlink()
    (tmp_path / "faces.json").write_text("{}")
    with pytest.raises(ArchiveError, match=r"faces.json is there already"):
        write(tmp_path)
    assert listing(tmp_path) == {"faces.json": b"{}"}


def test_faces_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    one, other = faces(1)[0], faces(1, 16)[0]
    with pytest.raises(ConfigError, match=r"\.tar"):
        write_webdataset(tmp_path / "a.zip", items())
    with pytest.raises(ConfigError, match="at least one"):
        write_webdataset(target, items(), TAGS, shard_size=0)
    with pytest.raises(ArchiveError, match="no images"):
        write_webdataset(target, [])
    with pytest.raises(ArchiveError, match="b is"):
        write_webdataset(target, [Item(one), Item(other, source="b")])
    with pytest.raises(LabelError, match="0 labels, the first 3"):
        write_webdataset(target, [Item(one, []), Item(one)], TAGS)
    with pytest.raises(LabelError, match="vocabulary"):
        write_webdataset(target, [Item(one, ["smile"])])
    with pytest.raises(ArchiveError, match="cannot write"):
        write_webdataset(tmp_path / "nowhere" / "a.tar", items(), TAGS)
    assert list(tmp_path.iterdir()) == []


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(image).save(out, form)
    return out.getvalue()


def test_shards_of_others(tmp_path: Path) -> None:
    one, two = (encoded(image, "WEBP") for image in faces(2))
    bare = ShardSet(tar(tmp_path / "a.tar", {"x.webp": one, "y.webp": two, "y.txt": b"smile"}))
    assert (len(bare), bare.labels, bare.resolution) == (2, None, (8, 8))
    assert next(bare.items([1])).source == "y.webp"
    classes = {"x.webp": one, "x.cls": b"1\n", "y.webp": two, "y.cls": b"0"}
    labels = ShardSet(tar(tmp_path / "a.tar", classes)).labels
    assert labels is not None
    assert labels.tolist() == [[0, 1], [1, 0]]
    mixed = encoded(faces(1, 16)[0])
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"x.txt": b""}, "no pictures"),
        ({"x.webp": b"RIFF"}, "x.webp"),
        ({"x.webp": one, "y.png": mixed}, r"y.png is 16 x 16, the first 8 x 8"),
        ({"x.webp": one, "x.json": b"{", "y.webp": two}, "JSON of x.webp is broken"),
        ({"x.webp": one, "x.json": b'{"label": ["a"]}'}, "no row of numbers"),
        ({"x.webp": one, "x.json": b'{"label": [NaN]}'}, "no row of numbers"),
        ({"x.webp": one, "x.json": b'{"label": [1]}', "y.webp": two}, "some faces have labels"),
        ({"x.webp": one, "x.cls": b"3", "y.webp": two}, "some faces have a class"),
    ]
    for files, words in cases:
        with pytest.raises(ArchiveError, match=words):
            list(ShardSet(tar(tmp_path / "a.tar", files)).items())


def test_a_broken_index_is_told(tmp_path: Path) -> None:
    target = write(tmp_path)
    index = tmp_path / "faces.json"
    told = json.loads(index.read_text())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"images": 8}, "its index names 8"),
        ({"shards": [{"name": "../faces-000009.tar"}]}, "faces-000009.tar, which is not there"),
        ({"shards": [1]}, "lists no shards"),
        ({"tags": ["a", "a", "b"]}, "no fit vocabulary"),
        ({"tags": ["a", "b"]}, "do not fit the 2 tags"),
        ({"score_names": ["a"]}, "has 2 scores"),
    ]
    for change, words in cases:
        index.write_text(json.dumps(told | change))
        with pytest.raises(ArchiveError, match=words):
            list(open_set(target).items())
    index.write_text(json.dumps(told))
    (tmp_path / "other.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="several data sets"):
        open_set(tmp_path)
