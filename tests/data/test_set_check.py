"""`check` names every fault of a data set, each in one line."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import write_tfrecords
from kaogen.data.archives.archive import Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.archives.set_check import check
from kaogen.data.archives.webdataset_out import write_webdataset
from kaogen.tags import Vocabulary

TAGS = Vocabulary(["pink hair", "smile"])
FIRST, LAST = "00000/img00000000.png", "00000/img00000003.png"
Entries = dict[str, bytes]


def face(seed: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "faces.zip"
    items = [
        Item(face(n), ["smile"], source=f"{n}.png", sha256="0" * 64, scores=[0.5]) for n in range(4)
    ]
    write_archive(path, items, TAGS, score_names=["smile"])
    return path


def edit(path: Path, change: Callable[[Entries], object]) -> Path:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def json_edit(name: str, change: Callable[[Any], object]) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        value = json.loads(entries[name])
        change(value)
        entries[name] = json.dumps(value).encode()

    return apply


def npy(table: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, table)
    return out.getvalue()


def test_a_whole_set_has_no_fault(packed: Path) -> None:
    seen: list[tuple[int, int]] = []
    checked = check(packed, lambda done, total: seen.append((done, total)))
    assert (checked.images, checked.faults) == (4, [])
    assert seen[-1] == (4, 4)


LABELS, TAGS_JSON = "dataset.json", "kaogen/tags.json"
STATS, PROVENANCE = "kaogen/stats.json", "kaogen/provenance.json"
CASES: list[tuple[Callable[[Entries], object], str]] = [
    (lambda e: e.update({LAST: b"no image"}), f"{LAST} is a broken image"),
    (lambda e: e.update({LAST: e[LAST][:-30]}), f"{LAST} is a broken image"),
    (lambda e: e.update({LAST: encode_png(face(9, 4))}), f"{LAST} is 4 x 4 x 3; {FIRST} is 8 x 8"),
    (lambda e: e.update({LAST: e[FIRST]}), f"{LAST} is the same picture as {FIRST}."),
    (lambda e: e.pop(LAST), f"{LAST} has a label, but is not there."),
    (lambda e: e.pop(LAST), f"{LAST} has a source in {PROVENANCE}, but is not there."),
    (lambda e: e.pop(LAST), f"{STATS} says 4 images; there are 3."),
    (lambda e: e.update({"../x.png": encode_png(face(9))}), "../x.png has an unsafe name."),
    (lambda e: e.update({"x.png": encode_png(face(9))}), "x.png has no label."),
    (lambda e: e.update({"x.png": encode_png(face(9))}), f"x.png has no source in {PROVENANCE}."),
    (json_edit(LABELS, lambda v: v["labels"].pop()), f"{LAST} has no label."),
    (json_edit(LABELS, lambda v: v["labels"].append(v["labels"][0])), f"{FIRST} has 2 labels."),
    (json_edit(LABELS, lambda v: v["labels"][3][1].pop()), "has 1 numbers instead of 2."),
    (json_edit(LABELS, lambda v: v["labels"][3].insert(1, ["a", 0])), "is not made of numbers."),
    (json_edit(LABELS, lambda v: v["labels"][3].insert(1, [2, 0])), "has numbers beyond 0 to 1."),
    (lambda e: e.update({LABELS: b"{"}), f"{LABELS} is not valid JSON"),
    (lambda e: e.update({LABELS: b'{"labels": [7]}'}), f"{LABELS} does not list labels"),
    (lambda e: e.update({TAGS_JSON: b'{"tags": ["a", "a"]}'}), "is no vocabulary"),
    (json_edit(STATS, lambda v: v["tags"].update(smile=3)), '"smile" 3 times; it is 4.'),
    (lambda e: e.update({STATS: b"[]"}), "holds no counts."),
    (json_edit(PROVENANCE, lambda v: v["files"].pop()), f"{LAST} has no source"),
    (json_edit(PROVENANCE, lambda v: v["files"][0].insert(2, "x")), "is not entry, source"),
    (json_edit(PROVENANCE, lambda v: v.pop("files")), "lists no files."),
    (lambda e: e.pop("kaogen/scores.json"), "only one is there."),
    (lambda e: e.update({"kaogen/scores.npy": npy(np.zeros((4, 1)))}), "is float64 (4, 1), not"),
    (lambda e: e.update({"kaogen/scores.npy": npy(np.full((4, 1), 2, "f2"))}), "beyond 0 to 1."),
    (lambda e: e.update({"kaogen/scores.npy": b"x"}), "scores.npy cannot be read"),
    (lambda e: [e.pop(name) for name in list(e) if name.endswith(".png")], "holds no images."),
]


@pytest.mark.parametrize(("change", "words"), CASES, ids=[words[:40] for _, words in CASES])
def test_a_fault_is_named(packed: Path, change: Callable[[Entries], object], words: str) -> None:
    faults = check(edit(packed, change)).faults
    assert any(words in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_one_fault_does_not_hide_the_next(packed: Path) -> None:
    def several(entries: Entries) -> None:
        entries[FIRST] = b"no image"
        entries[LAST] = encode_png(face(9, 4))
        json_edit(LABELS, lambda v: v["labels"].pop(1))(entries)

    faults = check(edit(packed, several)).faults
    assert len([f for f in faults if "img00000000" in f or "img00000003" in f]) == 2
    assert any("img00000001.png has no label" in fault for fault in faults)


def test_bent_bytes_are_named_with_their_entry(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        place = archive.getinfo(LAST).header_offset + 100
    data[place] ^= 1
    packed.write_bytes(data)
    faults = check(packed).faults
    assert len(faults) == 1
    assert LAST in faults[0]
    assert "Bad CRC-32" in faults[0]
    packed.write_bytes(data[: len(data) // 2])
    assert len(check(packed).faults) == 1


def test_other_kinds_are_read_through(tmp_path: Path) -> None:
    folder = write_tfrecords(tmp_path / "old", [face(1), face(2), face(1)])
    checked = check(folder)
    assert checked.images == 3
    assert checked.faults == ["old-r03.tfrecords#2 is the same picture as old-r03.tfrecords#0."]
    path = folder / "old-r03.tfrecords"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert check(folder).faults == [f"{path}: record 2 fails its checksum."]
    shards = tmp_path / "faces.tar"
    write_webdataset(shards, [Item(face(1)), Item(face(2))], shard_size=1)
    assert check(shards).faults == []
    second = tmp_path / "faces-000001.tar"
    second.write_bytes(second.read_bytes() + bytes(512))
    assert check(shards).faults == [
        "faces-000001.tar is not what its index says: its SHA-256 differs."
    ]
    assert "does not exist" in check(tmp_path / "none").faults[0]
