"""Model files: what is written is read; what is broken or hostile is refused."""

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from kaogen.errors import BundleError, ModelNotFoundError
from kaogen.studio import bundle as module
from kaogen.studio.bundle import Bundle, find_bundle, open_graph, to_pixels, write_bundle
from kaogen.studio.manifest import PAYLOAD, Manifest
from kaogen.tags import PAPER

Contents = dict[str, bytes]


def _contents(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, contents: Contents, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def _edit(contents: Contents, **changes: object) -> Contents:
    return contents | {
        "model.json": json.dumps(json.loads(contents["model.json"]) | changes).encode()
    }


def test_reading_back(random_model: Path, label_rows: np.ndarray) -> None:
    bundle = Bundle.open(random_model)
    assert bundle.vocabulary == PAPER
    assert np.array_equal(bundle.labels, label_rows)
    assert bundle.id.startswith("random-")
    assert "short hair" not in bundle.learnt
    assert "pink hair" in bundle.learnt
    assert bundle.card.startswith("# random")
    share = {tag.name: tag.share for tag in bundle.manifest.tags}
    assert share["pink hair"] == pytest.approx(label_rows[:, PAPER.index("pink hair")].mean())


def test_same_input_same_bytes(random_model: Path, tmp_path: Path) -> None:
    contents = _contents(random_model)
    manifest = Bundle.open(random_model).manifest
    for name in ("a.kaogen", "b.kaogen"):
        write_bundle(tmp_path / name, manifest, contents)
    assert (tmp_path / "a.kaogen").read_bytes() == random_model.read_bytes()
    assert (tmp_path / "b.kaogen").read_bytes() == random_model.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.kaogen", "b.kaogen"]


def test_the_id_names_the_pictures_not_their_description(random_model: Path) -> None:
    contents = _contents(random_model)
    manifest = Bundle.open(random_model).manifest
    payload = {name: contents[name] for name in PAYLOAD}
    fields = {k: getattr(manifest, k) for k in Manifest.model_fields if k not in ("files", "id")}
    assert Manifest.sealed(payload, **fields).id == manifest.id
    assert Manifest.sealed(payload | {"card.md": b"better"}, **fields).id == manifest.id
    labels = bytes(reversed(payload["labels.bin"]))
    assert Manifest.sealed(payload | {"labels.bin": labels}, **fields).id != manifest.id


def test_synthesis_gives_pixels(random_model: Path) -> None:
    bundle = Bundle.open(random_model)
    z = np.ones((3, 16), np.float32)
    w = bundle.map(z, np.zeros((3, len(PAPER)), np.float32))
    assert w.shape == (3, 24)
    image = bundle.synthesise(w[0])
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8


def test_to_pixels_rounds_and_clips() -> None:
    image = np.array([-2, -1, 0, 1, 2], np.float32).reshape(1, 1, 5).repeat(3, axis=0)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


BROKEN: dict[str, Callable[[Contents], Contents]] = {
    "another format": lambda c: _edit(c, format="else"),
    "a later version": lambda c: _edit(c, version=2),
    "no manifest": lambda c: {k: v for k, v in c.items() if k != "model.json"},
    "manifest is not JSON": lambda c: c | {"model.json": b"{"},
    "manifest is not UTF-8": lambda c: c | {"model.json": b"\xff\xfe{}"},
    "manifest nests too deep": lambda c: c | {"model.json": b"[" * 100_000},
    "one file more": lambda c: c | {"../evil.py": b"x"},
    "one file less": lambda c: {k: v for k, v in c.items() if k != "labels.bin"},
    "changed weights": lambda c: c | {"synthesis.onnx": c["synthesis.onnx"][:-1] + b"\0"},
    "cut labels": lambda c: c | {"labels.bin": c["labels.bin"][:-8]},
    "another id": lambda c: _edit(c, id="random-00000000"),
    "a name that is a path": lambda c: _edit(c, name="../../x"),
    "w_avg of another size": lambda c: _edit(
        c, truncation={"psi": 0.7, "centre_samples": 4, "w_avg": [0.0]}
    ),
    "w_avg not finite": lambda c: (
        c | {"model.json": c["model.json"].replace(b'"w_avg": [\n', b'"w_avg": [\nNaN,')}
    ),
    "tag twice": lambda c: _edit(c, tags=[{"name": "hat", "learnt": True, "share": 0.1}] * 59),
    "huge sizes": lambda c: _edit(c, z_dim=10**12),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_files_are_refused(how: str, random_model: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.kaogen", BROKEN[how](_contents(random_model)))
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)


def test_compressed_entries_are_refused(random_model: Path, tmp_path: Path) -> None:
    bomb = _contents(random_model) | {"card.md": b"0" * 50_000_000}
    path = _write(tmp_path / "x.kaogen", bomb, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="compressed"):
        Bundle.open(path)


def test_entries_that_claim_more_than_the_file_holds(random_model: Path, tmp_path: Path) -> None:
    data = bytearray(random_model.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the last entry of the directory: sizes at 20 and 24
    data[at + 20 : at + 28] = struct.pack("<II", 1 << 29, 1 << 29)
    (tmp_path / "x.kaogen").write_bytes(data)
    with pytest.raises(BundleError):
        Bundle.open(tmp_path / "x.kaogen")


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip" * 100])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.kaogen").write_bytes(data)
    with pytest.raises(BundleError, match="not a model file"):
        Bundle.open(tmp_path / "x.kaogen")


def test_every_cut_of_a_file_is_refused(random_model: Path, tmp_path: Path) -> None:
    data = random_model.read_bytes()
    path = tmp_path / "x.kaogen"
    for cut in range(0, len(data), len(data) // 40):
        path.write_bytes(data[:cut])
        with pytest.raises(BundleError):
            Bundle.open(path)


def test_damaged_files_are_refused_or_harmless(random_model: Path, tmp_path: Path) -> None:
    """Half of the damage goes where the zip's structure and the manifest are."""
    data, rng = random_model.read_bytes(), np.random.default_rng(3)
    sound = Bundle.open(random_model)
    path, refused = tmp_path / "x.kaogen", 0
    places = (*rng.integers(0, len(data), 150), *rng.integers(len(data) - 800, len(data), 150))
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            opened = Bundle.open(path)
        except BundleError:
            refused += 1
        else:
            assert opened.manifest == sound.manifest
            assert opened._payload == sound._payload
    assert refused > 100


def _resealed(random_model: Path, tmp_path: Path, **fields: object) -> Bundle:
    """A sound file whose manifest has other fields."""
    contents = _contents(random_model)
    manifest = Bundle.open(random_model).manifest
    kept = {k: getattr(manifest, k) for k in Manifest.model_fields if k not in ("files", "id")}
    payload = {name: contents[name] for name in PAYLOAD}
    write_bundle(tmp_path / "y.kaogen", Manifest.sealed(payload, **(kept | fields)), payload)
    return Bundle.open(tmp_path / "y.kaogen")


def test_graphs_must_fit_the_manifest(random_model: Path, tmp_path: Path) -> None:
    bundle = _resealed(random_model, tmp_path, resolution=32, z_dim=17)
    with pytest.raises(BundleError, match=r"mapping\.onnx does not fit"):
        bundle.map(np.zeros((1, 17), np.float32), np.zeros((1, 59), np.float32))
    with pytest.raises(BundleError, match=r"synthesis\.onnx does not fit"):
        bundle.synthesise(np.zeros(24, np.float32))


def test_graphs_may_not_point_at_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(struct.pack("<f", 1.0))
    tensor = numpy_helper.from_array(np.ones(1, np.float32), "t")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(secret))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["t"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(BundleError, match="points at other files"):
        open_graph(model.SerializeToString(), "here")
    with pytest.raises(BundleError, match="cannot be loaded"):
        open_graph(b"\x08\x09garbage", "here")


def test_pictures_that_are_not_numbers(random_model: Path) -> None:
    with pytest.raises(BundleError, match="not finite"):
        Bundle.open(random_model).synthesise(np.full(24, np.nan, np.float32))


def test_finding(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAOGEN_MODEL", raising=False)
    monkeypatch.setattr(module, "MODELS", tmp_path)
    with pytest.raises(ModelNotFoundError, match="no model ships"):
        find_bundle()
    shipped = tmp_path / "random.kaogen"
    shipped.write_bytes(random_model.read_bytes())
    assert find_bundle() == shipped
    assert find_bundle("random") == shipped
    assert find_bundle(Bundle.open(shipped).id) == shipped
    assert find_bundle(random_model) == random_model
    with pytest.raises(ModelNotFoundError, match='no model "other"'):
        find_bundle("other")
    with pytest.raises(ModelNotFoundError, match="there is no model at"):
        Bundle.open(find_bundle("other.kaogen"))
    monkeypatch.setenv("KAOGEN_MODEL", str(random_model))
    assert find_bundle() == random_model
    monkeypatch.delenv("KAOGEN_MODEL")
    (tmp_path / "second.kaogen").write_bytes(random_model.read_bytes())
    with pytest.raises(ModelNotFoundError, match="several models"):
        find_bundle()


def test_manifest_hashes(random_model: Path) -> None:
    contents = _contents(random_model)
    files = json.loads(contents["model.json"])["files"]
    for name in PAYLOAD:
        assert files[name]["sha256"] == hashlib.sha256(contents[name]).hexdigest()
