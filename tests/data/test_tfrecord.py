"""Old StyleGAN data sets: what is in them is read exactly, what is wrong with them is told."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import crc32c as plain_crc32c
from data.records import (
    example,
    field,
    int64s,
    masked,
    picture,
    record,
    varint,
    write_tfrecords,
)
from kaogen.data.archives.crc32c import crc32c, masked_crc32c
from kaogen.data.archives.example import MalformedError
from kaogen.data.archives.tfrecord import RecordFile, open_tfrecords, read_picture
from kaogen.errors import ArchiveError, ConfigError


def faces(count: int, size: int = 16, channels: int = 3) -> list[np.ndarray]:
    draw = np.random.default_rng(4)
    return [draw.integers(0, 256, (size, size, channels), dtype=np.uint8) for _ in range(count)]


def one_record(path: Path, content: bytes) -> Path:
    path.write_bytes(record(content))
    return path


def test_the_checksum_is_rfc_3720s() -> None:
    # The RFC's own examples, B.4, and the usual check value.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283
    # A record's length of 0, as TensorFlow writes it.
    assert struct.pack("<I", masked_crc32c(bytes(8))) == masked(bytes(8))


@given(st.binary(max_size=700))
def test_the_checksum_is_that_of_its_definition(data: bytes) -> None:
    assert crc32c(data) == crc32c(memoryview(data)) == plain_crc32c(data)


def test_a_data_set_is_read_at_any_of_its_sizes(tmp_path: Path) -> None:
    images, labels = faces(5), np.eye(5, 7, dtype=np.float32)
    folder = write_tfrecords(tmp_path / "faces", images, labels)
    whole = open_tfrecords(folder)
    assert (whole.name, len(whole.file), whole.file.shape) == ("faces", 5, (16, 16, 3))
    np.testing.assert_array_equal(list(whole.file.pictures()), images)
    np.testing.assert_array_equal(list(whole.file.pictures(iter([3, 1]))), [images[3], images[1]])
    assert whole.labels is not None
    np.testing.assert_array_equal(whole.labels, labels)
    assert whole.labels.dtype == np.float32
    small = open_tfrecords(folder, 4)
    assert small.file.shape == (4, 4, 3)
    means = [i.reshape(4, 4, 4, 4, 3).astype(float).mean((1, 3)) for i in images]
    np.testing.assert_allclose(list(small.file.pictures()), means, atol=0.51)
    # A file by itself is that size; the labels beside it are its labels.
    alone = open_tfrecords(folder / "faces-r03.tfrecords")
    assert alone.file.shape == (8, 8, 3)
    assert alone.labels is not None
    with pytest.raises(ConfigError, match=r"no pictures of 32 pixels\. It has: 4, 8, 16"):
        open_tfrecords(folder, 32)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_and_unpacked_numbers(tmp_path: Path, channels: int) -> None:
    image = faces(1, 8, channels)[0]
    path = one_record(tmp_path / "a.tfrecords", picture(image, packed=False))
    np.testing.assert_array_equal(next(RecordFile(path).pictures()), image)


def test_labels_may_be_classes_and_must_fit(tmp_path: Path) -> None:
    folder = write_tfrecords(tmp_path / "a", faces(3), np.array([2, 0, 1]))
    labels = open_tfrecords(folder).labels
    assert labels is not None
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    path = folder / "a-rxx.labels"
    cases = [
        (np.zeros((4, 2), np.float32), r"shape \(4, 2\) for 3 pictures"),
        (np.zeros((3, 2, 2), np.float32), "shape"),
        (np.full((3, 2), np.nan, np.float32), "no finite numbers"),
        (np.array([0, 1, -1]), "class numbers"),
        (np.array([0, 1, 10**9]), "class numbers"),
        (np.array([0, 1, 0.5]), "class numbers"),
        (np.array(["a", "b", "c"]), "no numbers"),
    ]
    for table, words in cases:
        with path.open("wb") as file:
            np.save(file, table)
        with pytest.raises(ArchiveError, match=words):
            open_tfrecords(folder)
    # Never unpickled, never believed: a header that claims 2**40 rows.
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2)}"
    for content in (
        b"",
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(24),
        b"\x80\x04cos\nsystem\n(S'false'\ntR.",
    ):
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match="no labels file"):
            open_tfrecords(folder)
    with path.open("wb") as file:
        np.save(file, np.array([{}, 1, 2], dtype=object))
    with pytest.raises(ArchiveError, match="no labels file"):
        open_tfrecords(folder)
    path.unlink()
    assert open_tfrecords(folder).labels is None


def test_folders_without_one_data_set(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"holds no \.tfrecords"):
        open_tfrecords(tmp_path)
    write_tfrecords(tmp_path, faces(1, 4), name="a")
    write_tfrecords(tmp_path, faces(1, 4), name="b")
    with pytest.raises(ArchiveError, match=r"several data sets: a, b\. Name one"):
        open_tfrecords(tmp_path)
    (tmp_path / "c.tfrecords").write_bytes(b"")
    with pytest.raises(ArchiveError, match="is empty"):
        open_tfrecords(tmp_path / "c.tfrecords")
    with pytest.raises(ArchiveError, match="cannot be read"):
        RecordFile(tmp_path / "none.tfrecords")


def test_every_flipped_bit_and_every_cut_is_met(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecords"
    image = faces(1, 8)[0]
    whole = record(picture(image))
    for place in range(len(whole)):
        bent = bytearray(whole)
        bent[place] ^= 1 << place % 8
        path.write_bytes(bent)
        with pytest.raises(ArchiveError, match="record 0 ") as caught:
            list(RecordFile(path).pictures())
        assert "\n" not in str(caught.value)
    two = whole + whole
    for length in (1, 11, 12, 40, len(whole) - 1, len(whole) + 5, len(two) - 1):
        path.write_bytes(two[:length])
        with pytest.raises(ArchiveError, match=r"record \d .*cut short"):
            list(RecordFile(path).pictures())


def test_lying_records_are_refused_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecords"
    good = np.zeros((8, 8, 3), np.uint8)
    data = field(1, field(1, bytes(192)))

    def shaped(*shape: int) -> bytes:
        return example({"shape": int64s(shape), "data": data})

    deep = b"x"
    for _ in range(60):
        deep = field(1, deep)
    cases = [
        (shaped(3, 2**40, 2**40), "has the shape"),
        (shaped(3, 2**62, 4), "has the shape"),
        (shaped(3, -8, -8), "has the shape"),
        (shaped(3, 0, 8), "has the shape"),
        (shaped(2, 8, 12), "has the shape"),
        (shaped(3, 8, 9), "192 bytes of pixels for the shape"),
        (shaped(192), "not three whole numbers"),
        (example({"shape": int64s(range(10**4)), "data": data}), "too many numbers"),
        (example({"data": data}), r'no feature "shape", only: "data"'),
        (example({"img": data, "shape": int64s((3, 8, 8))}), r'no feature "data", only: "img"'),
        (example({"shape": int64s((3, 8, 8)), "data": int64s((1, 2))}), "one string of bytes"),
        (example({"shape": int64s((3, 8, 8)), "data": field(1, b"")}), "one string of bytes"),
        (example({str(n): b"" for n in range(300)}), "too many fields"),
        (b"", "no feature"),
        (b"no protobuf at all", "no tf.train.Example"),
        (varint(1 << 3 | 2) + varint(2**63) + b"x", "no tf.train.Example"),
        (b"\xff" * 40, "no tf.train.Example"),
        (b"\x0b" * 40, "no tf.train.Example"),  # groups
        (deep, "no feature"),
    ]
    tracemalloc.start()
    try:
        for content, words in cases:
            one_record(path, content)
            with pytest.raises(ArchiveError, match=words):
                RecordFile(path)
        # A length with a right checksum of its own, far beyond the file.
        for length in (2**63, 2**40, 10**6):
            head = struct.pack("<Q", length)
            path.write_bytes(head + masked(head) + bytes(100))
            with pytest.raises(ArchiveError, match=r"claims|cut short"):
                RecordFile(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    other = record(picture(np.zeros((4, 4, 3), np.uint8)))
    path.write_bytes(record(picture(good)) + other)
    with pytest.raises(ArchiveError, match=r"record 1 is \(4, 4, 3\), the first \(8, 8, 3\)"):
        list(RecordFile(path).pictures())


MUTATIONS: list[Callable[[np.random.Generator, bytearray], object]] = [
    lambda draw, data: data.__setitem__(int(draw.integers(len(data))), int(draw.integers(256))),
    lambda draw, data: data.__delitem__(slice(int(draw.integers(len(data))), None)),
    lambda draw, data: data.__delitem__(int(draw.integers(len(data)))),
    lambda draw, data: data.insert(int(draw.integers(len(data))), int(draw.integers(256))),
    lambda draw, data: data.extend(draw.bytes(9)),
]


@pytest.mark.timeout(0 if "KAOGEN_FUZZ" in os.environ else 300)
def test_mutated_examples_are_read_or_refused() -> None:
    """Beyond the checksums, which anyone can compute. KAOGEN_FUZZ=100000 makes it the long form."""
    whole, draw = picture(faces(1, 4)[0]), np.random.default_rng(0)
    read = refused = 0
    for _ in range(int(os.environ.get("KAOGEN_FUZZ", "2000"))):
        data = bytearray(whole)
        for _ in range(int(draw.integers(1, 4))):
            if data:
                MUTATIONS[int(draw.integers(len(MUTATIONS)))](draw, data)
        try:
            assert read_picture(bytes(data)).dtype == np.uint8
            read += 1
        except MalformedError:
            refused += 1
    assert read > 50
    assert refused > 500
