"""Our reader of tars against Python's own, and against tars that are made to do harm."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from kaogen.data.inputs.sources import open_source
from kaogen.data.inputs.tars import scan
from kaogen.data.inputs.webdataset import expand
from kaogen.errors import ArchiveError, DataError, ImageError, LabelError

LONG = "deep/" * 40 + "picture.png"
FOREIGN = "絵/顔.png"


def member(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def write(
    path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, "w", format=form) as out:
        for info, data in members:
            out.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_python_finds_them(tmp_path: Path, form: int) -> None:
    rng = random.Random(form)
    names = [LONG, FOREIGN, "./dot.png", "a" * 97 + ".p", "x.png", "y.jpg"]
    members = [member(name, rng.randbytes(rng.randrange(2000))) for name in names]
    members.insert(2, member("folder/", b"", type=tarfile.DIRTYPE))
    path = write(tmp_path / "t.tar", *members, form=form)
    with tarfile.open(path) as theirs:
        files = [info for info in theirs if info.isreg()]
        want = [(info.name.removeprefix("./"), info.offset_data, info.size) for info in files]
    assert [(m.name, m.offset, m.size) for m in scan(path)] == want
    source = open_source(path)
    for info, data in members:
        if info.name.endswith((".png", ".jpg")):
            assert source.read(info.name.removeprefix("./")) == data


def test_samples_of_a_web_dataset(tmp_path: Path) -> None:
    one = {"000.jpg": b"j", "000.cls": b"1", "000.json": b"{}", "d.x/001.left.png": b"l"}
    one |= {"d.x/001.txt": b"smile", "__meta__/x.json": b"[]", "notes.json": b"n"}
    write(tmp_path / "s-00.tar", *[member(name, data) for name, data in one.items()])
    write(tmp_path / "s-01.tar", member("000.jpg", b"other"), member("000.txt", b"hat"))
    source = open_source(tmp_path / "s-{00..01}.tar")
    assert source.names == ("s-00/000.jpg", "s-00/d.x/001.left.png", "s-01/000.jpg")
    assert source.read("s-01/000.jpg") == b"other"
    assert source.sidecar("s-00/d.x/001.left.png", ".txt") == b"smile"  # of the same key
    assert source.sidecar("s-01/000.jpg", ".txt") == b"hat"
    assert source.sidecar("s-01/000.jpg", ".json") is None
    assert [name for name, _ in source.refused] == ["s-00/000.cls", "s-00/notes.json"]
    for other in (tmp_path, tmp_path / "s-*.tar", tmp_path / "s-{00,01}.tar"):
        assert open_source(other).names == source.names
    told = source.describe()
    assert (told["kind"], told["tars"]) == ("webdataset", 2)
    write(tmp_path / "s-01.tar", member("000.jpg", b"longer than before"))
    assert open_source(tmp_path).describe()["listing_sha256"] != told["listing_sha256"]


def test_links_devices_and_sparse_files_are_refused(tmp_path: Path) -> None:
    kinds = {
        "hard.png": (tarfile.LNKTYPE, "a link"),
        "soft.png": (tarfile.SYMTYPE, "a link"),
        "tape.png": (tarfile.CHRTYPE, "a device"),
        "pipe.png": (tarfile.FIFOTYPE, "a pipe"),
        "holes.png": (tarfile.GNUTYPE_SPARSE, "a sparse file"),
    }
    members = [
        member(name, b"", type=kind, linkname="/etc/passwd") for name, (kind, _) in kinds.items()
    ]
    pax = member("pax.png", b"x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.size": "99"})
    path = write(tmp_path / "t.tar", *members, pax, member("good.png"))
    source = open_source(path)
    assert source.names == ("good.png",)
    refused = dict(source.refused)
    assert "a sparse file" in refused.pop("pax.png")
    assert set(refused) == set(kinds)
    assert all(refused[name].startswith(said) for name, (_, said) in kinds.items())


def test_a_tar_that_is_cut_short_gives_what_comes_before(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tar", *[member(f"{n}.png", bytes([n]) * 700) for n in range(5)])
    whole = path.read_bytes()
    for length in range(512, len(whole), 300):
        path.write_bytes(whole[:length])
        source = open_source(path)
        complete = min(5, max(0, (length - 512 - 700) // 1536 + 1))
        assert len(source.names) == complete
        assert "cut short" in str(source.refused) or length > 5 * 1536
        assert all(source.read(name)[:1] == bytes([int(name[0])]) for name in source.names)
    with (path).open("wb") as file:
        file.write(whole[:2000])
    source = open_source(path)
    path.write_bytes(whole[:600])  # changed after it was listed
    with pytest.raises(ImageError, match="shorter than when it was listed"):
        source.read("0.png")


def header(data: bytearray, field: slice, value: bytes) -> bytes:
    """The tar with a field of its first header changed, and the checksum made right."""
    data[field] = value.ljust(field.stop - field.start, b"\0")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (slice(124, 136), b"777777777777", "cut short"),  # 64 GiB in 10 KiB
        (slice(124, 136), b"\x80" + b"\xff" * 11, "no readable tar"),
        (slice(124, 136), b"\xff" * 12, "no readable tar"),
        (slice(124, 136), b"-1", "no readable tar"),
        (slice(124, 136), b"many", "no readable tar"),
        (slice(156, 157), b"L", "no readable tar"),  # a long name of 200 KB
        (slice(156, 157), b"x", "no readable tar"),
        (slice(0, 100), b"../../escape.png", "unsafe"),
        (slice(0, 100), b"/etc/escape.png", "unsafe"),
        (slice(0, 100), b"\xff\xfe.png", "unsafe"),
    ],
)
def test_headers_that_lie(tmp_path: Path, field: slice, value: bytes, said: str) -> None:
    path = write(tmp_path / "t.tar", member("a.png", bytes(200_000)), form=tarfile.USTAR_FORMAT)
    path.write_bytes(header(bytearray(path.read_bytes()), field, value))
    if said == "no readable tar":
        with pytest.raises(ArchiveError, match=said):
            open_source(path)
        return
    source = open_source(path)
    assert source.names == ()
    assert said in str(source.refused)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (b"999999999 path=x\n", "pax header"),
        (b"0 a=b\n", "pax header"),
        (b"x path=y\n", "pax header"),
        (b"7\n", "pax header"),
        (b"11 size=-1\n", "a size cannot be"),
        (b"12 size=1e9\n", "a size is no number"),
    ],
)
def test_pax_records_that_lie(tmp_path: Path, records: bytes, said: str) -> None:
    path = tmp_path / "t.tar"
    bad = member("x", records, type=tarfile.XHDTYPE)
    write(path, bad, member("a.png"), form=tarfile.USTAR_FORMAT)
    told = ""
    try:
        told = str(list(scan(path)))
    except ArchiveError as error:
        told = str(error)
    assert said in told


def test_tars_that_were_glued_together_are_told(tmp_path: Path) -> None:
    one = write(tmp_path / "a.tar", member("a.png")).read_bytes()
    glued = tmp_path / "glued.tar"
    glued.write_bytes(one + one)
    source = open_source(glued)
    assert source.names == ("a.png",)
    assert "several tars in one" in str(source.refused)


def test_mutated_tars_end_and_name_nothing_outside(tmp_path: Path) -> None:
    rng = random.Random(5)
    members = [member(LONG, b"1" * 600), member("b.png", b"2"), member("b.json", b"{}")]
    sound = [
        write(tmp_path / f"{form}.tar", *members, form=form).read_bytes()
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ]
    path = tmp_path / "bent.tar"
    opened = 0
    for _ in range(250):
        data = bytearray(rng.choice(sound)[:8192])
        for _ in range(rng.choice([1, 3, 9])):
            at = rng.randrange(len(data))
            data[at] = rng.randrange(256)
        if rng.random() < 0.5:
            header(data, slice(0, 0), b"")
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(1, len(data))])])
        try:
            source = open_source(path)
        except DataError:
            continue
        opened += 1
        for name in source.names:
            assert ".." not in name.split("/")
            assert not name.startswith("/")
            try:
                source.read(name)
                source.sidecar(name, ".json")
            except (ImageError, LabelError) as error:
                assert error.message  # noqa: PT017
    assert opened > 100


def test_patterns(tmp_path: Path) -> None:
    for name in ("08.tar", "09.tar", "10.tar", "a.tar"):
        (tmp_path / name).write_bytes(b"")
    names = [path.name for path in expand(tmp_path / "{08..10}.tar")]
    assert names == ["08.tar", "09.tar", "10.tar"]
    assert [path.name for path in expand(tmp_path / "{a,10}.tar")] == ["a.tar", "10.tar"]
    assert [path.name for path in expand(tmp_path / "*.tar")] == [
        "08.tar",
        "09.tar",
        "10.tar",
        "a.tar",
    ]
    assert expand(tmp_path / "{x}.tar") == []
    with pytest.raises(DataError, match=r"names 4 tars, of which 1 are not there, such as 11\.tar"):
        expand(tmp_path / "{08..11}.tar")
    with pytest.raises(DataError, match="100,000 are allowed"):
        expand(tmp_path / "{0..999}{0..999}.tar")
