"""The data set file: StyleGAN2-ADA reads what we write, we read what it writes."""

import io
import json
import multiprocessing
import os
import pickle
import stat
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.errors import ArchiveError, LabelError
from kaogen.tags import PAPER, Vocabulary

COUNT = 12


def faces(count: int = COUNT, size: int = 16, channels: int = 3) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 256, (size, size, channels), dtype=np.uint8) for _ in range(count)]


def tagged(images: list[np.ndarray]) -> Iterator[Item]:
    for number, image in enumerate(images):
        tags = ["pink hair", "smile"] if number % 3 else ["glasses"]
        yield Item(image, tags, source=f"{number}.webp", sha256="0" * 64)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "faces.zip"
    assert write_archive(path, tagged(faces()), PAPER, {"source": {"name": "made up"}}) == COUNT
    return path


class AdaReader:
    """What StyleGAN2-ADA's ImageFolderDataset does with a zip, as its behaviour is documented.

    Names: those whose extension Pillow can open, sorted. Images: decoded as they are, HWC to CHW.
    Labels: `labels` of `dataset.json` as a dict by name; whole numbers when flat, floats when not.
    """

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        listing = set(self.zip.namelist())
        PIL.Image.init()
        self.names = sorted(
            n
            for n in listing
            if os.path.splitext(n)[1].lower() in PIL.Image.EXTENSION  # noqa: PTH122
        )
        self.labels = None
        if "dataset.json" in listing:
            pairs = json.loads(self.zip.read("dataset.json"))["labels"]
            if pairs is not None:
                by_name = dict(pairs)
                table = np.array([by_name[name] for name in self.names])
                self.labels = table.astype({1: np.int64, 2: np.float32}[table.ndim])

    def image(self, index: int) -> np.ndarray:
        pixels = np.array(PIL.Image.open(io.BytesIO(self.zip.read(self.names[index]))))
        return (pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels).transpose(2, 0, 1)


def test_stylegan2_ada_reads_the_very_same(packed: Path) -> None:
    ada = AdaReader(packed)
    assert ada.names == [f"00000/img{i:08d}.png" for i in range(COUNT)]
    with Archive.open(packed) as ours:
        assert ours.names == tuple(ada.names)
        assert ours.labels is not None
        assert ada.labels is not None
        assert ada.labels.dtype == ours.labels.dtype == np.float32
        np.testing.assert_array_equal(ada.labels, ours.labels)
        for i in range(COUNT):
            np.testing.assert_array_equal(ada.image(i), ours.image(i).transpose(2, 0, 1))


def test_the_images_are_stored_and_our_sidecars_are_no_images(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        infos = archive.infolist()
        pictures = [info for info in infos if info.filename.endswith(".png")]
        assert {info.compress_type for info in pictures} == {zipfile.ZIP_STORED}
        rest = {info.filename for info in infos if not info.filename.endswith(".png")}
        labels = json.loads(archive.read("dataset.json"))["labels"]
    assert rest == {
        "dataset.json",
        "kaogen/tags.json",
        "kaogen/stats.json",
        "kaogen/provenance.json",
    }
    assert labels[0][0] == "00000/img00000000.png"
    assert len(labels[0][1]) == len(PAPER)


def test_the_round_trip_gives_everything_back(packed: Path) -> None:
    images = faces()
    with Archive.open(packed) as archive:
        assert (archive.resolution, archive.channels, len(archive)) == ((16, 16), 3, COUNT)
        assert archive.vocabulary == PAPER
        assert archive.labels is not None
        assert PAPER.decode(archive.labels[0].tolist()) == ("glasses",)
        assert PAPER.decode(archive.labels[1].tolist()) == ("pink hair", "smile")
        calls: list[tuple[int, int]] = []
        np.testing.assert_array_equal(
            archive.pixels(lambda a, b: calls.append((a, b))), np.stack(images)
        )
        assert calls[-1] == (COUNT, COUNT)
        stats, provenance = archive.stats(), archive.provenance()
    assert stats is not None
    assert (stats["images"], stats["labelled"]) == (COUNT, COUNT)
    assert (stats["tags"]["glasses"], stats["tags"]["smile"], stats["tags"]["hat"]) == (4, 8, 0)
    assert provenance is not None
    assert provenance["source"] == {"name": "made up"}
    assert provenance["files"][2] == ["00000/img00000002.png", "2.webp", "0" * 64]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, packed: Path) -> None:
    again = tmp_path / "again.zip"
    time.sleep(0.01)
    write_archive(again, tagged(faces()), PAPER, {"source": {"name": "made up"}})
    assert again.read_bytes() == packed.read_bytes()
    encoded = tmp_path / "encoded.zip"
    ready = [
        Item(encode_png(i.image), i.tags) for i in tagged(faces()) if not isinstance(i.image, bytes)
    ]
    write_archive(encoded, ready, PAPER)
    with Archive.open(encoded) as a, Archive.open(packed) as b:
        assert a.fingerprint == b.fingerprint  # other provenance, same data


def test_the_fingerprint_tells_other_data(tmp_path: Path, packed: Path) -> None:
    seen = {Archive.open(packed).fingerprint}
    for number, change in enumerate(("pixel", "tags", "count", "vocabulary")):
        items = list(tagged(faces()))
        vocabulary = PAPER
        if change == "pixel":
            items[3].image[0, 0, 0] ^= 1
        elif change == "tags":
            items[3] = Item(items[3].image, ["hat"])
        elif change == "count":
            items.pop()
        else:
            vocabulary = Vocabulary([*PAPER.names[1:], PAPER.names[0]])
        path = tmp_path / f"{number}.zip"
        write_archive(path, items, vocabulary)
        seen.add(Archive.open(path).fingerprint)
    assert len(seen) == 5


def test_labels_may_be_none_soft_or_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_archive(path, [Item(image) for image in faces()])
    with Archive.open(path) as archive:
        assert archive.labels is None
        assert archive.vocabulary is None
    assert AdaReader(path).labels is None
    soft = [0.1, 1 / 3, 1e-20]
    write_archive(path, [Item(faces()[0], label=soft)])
    with Archive.open(path) as archive:
        assert archive.labels is not None
        np.testing.assert_array_equal(archive.labels, np.array([soft], np.float32))
    # As StyleGAN2-ADA's tool writes CIFAR: one class number per image.
    with zipfile.ZipFile(path, "w") as out:
        for i, image in enumerate(faces(3)):
            out.writestr(f"{i}.png", encode_png(image))
        out.writestr(
            "dataset.json", json.dumps({"labels": [["0.png", 2], ["1.png", 0], ["2.png", 1]]})
        )
    with Archive.open(path) as archive:
        assert archive.labels is not None
        assert archive.labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.zip"
    images = faces(channels=channels)
    write_archive(path, [Item(image) for image in images])
    with Archive.open(path) as archive:
        assert archive.channels == channels
        np.testing.assert_array_equal(archive.pixels(), np.stack(images))


def test_a_failing_write_leaves_the_old_file_and_no_other(packed: Path) -> None:
    before = packed.read_bytes()

    def broken() -> Iterator[Item]:
        yield from tagged(faces(3))
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        write_archive(packed, broken(), PAPER)
    assert packed.read_bytes() == before
    assert os.listdir(packed.parent) == [packed.name]  # noqa: PTH208


def test_stale_temporaries_are_swept_and_the_file_is_an_ordinary_one(packed: Path) -> None:
    old, young = (packed.parent / f".faces.zip.{name}.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"left by a killed run")
    os.utime(old, (0, 0))
    write_archive(packed, tagged(faces()), PAPER)
    assert not old.exists()
    assert young.exists()
    assert stat.S_IMODE(packed.stat().st_mode) & 0o444 == 0o444


def test_items_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    small, large = faces(1, 8)[0], faces(1, 16)[0]
    with pytest.raises(ArchiveError, match="no images"):
        write_archive(path, [])
    with pytest.raises(ArchiveError, match=r"b is 16 x 16 x 3, the first 8 x 8 x 3"):
        write_archive(path, [Item(small), Item(large, source="b")])
    with pytest.raises(ArchiveError, match="uint8"):
        write_archive(path, [Item(small.astype(np.float32))])  # type: ignore[arg-type]
    with pytest.raises(ArchiveError, match="8-bit PNG"):
        write_archive(path, [Item(b"GIF89a")])
    for items in ([Item(small), Item(small, [])], [Item(small, []), Item(small)]):
        with pytest.raises(LabelError, match="labelled"):
            write_archive(path, items, PAPER)
    with pytest.raises(LabelError, match="vocabulary"):
        write_archive(path, [Item(small, ["smile"])])
    with pytest.raises(LabelError, match="2 numbers instead of 1"):
        write_archive(path, [Item(small, label=[0.5]), Item(small, label=[0.5, 1])])
    with pytest.raises(ArchiveError, match="cannot write"):
        write_archive(tmp_path / "nowhere" / "a.zip", [Item(small)])
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_anywhere_is_one_clear_error(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    cut = tmp_path / "cut.zip"
    for length in (0, 4, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ArchiveError, match=r"no readable zip") as caught:
            Archive.open(cut)
        assert "\n" not in str(caught.value)
    with pytest.raises(ArchiveError, match="does not exist"):
        Archive.open(tmp_path / "none.zip")


def test_a_flipped_bit_never_passes_unseen(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    right = Archive.open(packed)
    pixels, labels = right.pixels(), right.labels
    assert labels is not None
    bent = tmp_path / "bent.zip"
    for place in np.random.default_rng(3).integers(0, len(whole), 150):
        data = bytearray(whole)
        data[place] ^= 0x10
        bent.write_bytes(data)
        try:
            archive = Archive.open(bent)
            seen = archive.pixels()
        except ArchiveError:
            continue
        # Fields that nobody reads (dates, permissions), or a file's name: then it is seen here.
        same = seen.shape == pixels.shape and (seen == pixels).all()
        assert same or archive.fingerprint != right.fingerprint


def _with(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return path


def test_hostile_and_foreign_zips(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    png = encode_png(faces(1)[0])
    row, tags = b'{"labels": [["a.png", [1]]]}', b'{"tags": ["smile", "hat"]}'
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"readme.txt": b""}, "no images"),
        ({"a.png": b"no image"}, "broken image"),
        ({"a.png": png[:-30]}, "broken image"),
        ({"a.png": png, "dataset.json": b"{"}, "not valid JSON"),
        ({"a.png": png, "dataset.json": b"[" * 100_000}, "not valid JSON"),
        ({"a.png": png, "dataset.json": b"[1]"}, "no JSON object"),
        ({"a.png": png, "dataset.json": b'{"labels": [["b.png", [1]]]}'}, "no label for"),
        ({"a.png": png, "dataset.json": b'{"labels": [["a.png", ["x"]]]}'}, "one list of numbers"),
        ({"a.png": png, "dataset.json": b'{"labels": [["a.png", [NaN]]]}'}, "finite"),
        ({"a.png": png, "dataset.json": b'{"labels": [["a.png", 1e9]]}'}, "class numbers"),
        ({"a.png": png, "dataset.json": b'{"labels": 7}'}, "one list of numbers"),
        ({"a.png": png, "dataset.json": row, "kaogen/tags.json": tags}, "columns"),
        ({"a.png": png, "kaogen/tags.json": b'{"tags": [1]}'}, "lists no tags"),
        ({"a.png": png, "kaogen/tags.json": b'{"tags": ["a", "a"]}'}, "no vocabulary"),
        ({"a.png": encode_png(np.zeros((1, 5000, 3), np.uint8))}, "at most 4096"),
    ]
    for entries, words in cases:
        with pytest.raises(ArchiveError, match=words):
            Archive.open(_with(path, entries))
    archive = Archive.open(_with(path, {"a.png": png, "b.png": encode_png(faces(1, 8)[0])}))
    with pytest.raises(ArchiveError, match=r"b\.png is 8 x 8 x 3, the first image 16 x 16 x 3"):
        archive.pixels()


def _mean(archive: Archive) -> float:
    return float(np.mean([archive.image(i).mean() for i in range(len(archive))]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_may_be_pickled_forked_and_shared_by_threads(packed: Path, method: str) -> None:
    archive = Archive.open(packed)
    want = _mean(archive)
    if method == "spawn":
        archive = pickle.loads(pickle.dumps(archive))
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(_mean, [archive] * 8)) == {want}
        return
    # An open handle crosses the fork here: parent and child must not share its position.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert set(pool.map(_mean, [archive] * 4)) == {want}
    assert _mean(archive) == want
