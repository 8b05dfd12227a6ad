"""A tiny model that draws coloured squares, so that the server is tested without a trained one."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.exceptions import StarletteDeprecationWarning

from kaogen.server.app import Settings, create_app
from kaogen.studio.bundle import Bundle, write_bundle
from kaogen.studio.draw import Studio
from kaogen.studio.manifest import LabelTable, Manifest, TagInfo, Trained, Truncation
from kaogen.tags import PAPER

with warnings.catch_warnings():
    # Starlette asks for httpx's successor; httpx is what is locked, and does the same here.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

Z, W, WS, SIDE = 8, 8, 2, 16
LEARNT = {
    "pink hair", "blue hair", "blonde hair", "blue eyes", "red eyes", "smile", "glasses",
    "cat ears", "animal ears", "open mouth", "cleavage",
}  # fmt: skip


def _graph(nodes: list, inputs: list, outputs: list, weights: dict[str, np.ndarray]) -> bytes:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _floats(name: str, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_tiny(path: Path, name: str = "tiny") -> Path:
    """Write a bundle of a few KB whose pictures depend on the seed and on every tag."""
    rng = np.random.default_rng(1)
    count = len(PAPER)
    weights = {
        "a": rng.normal(size=(Z, W)).astype(np.float32) / 3,
        "b": rng.normal(size=(count, W)).astype(np.float32),
    }
    mapping = _graph(
        [
            helper.make_node("MatMul", ["z", "a"], ["za"]),
            helper.make_node("MatMul", ["labels", "b"], ["lb"]),
            helper.make_node("Add", ["za", "lb"], ["w"]),
        ],
        [_floats("z", ["n", Z]), _floats("labels", ["n", count])],
        [_floats("w", ["n", W])],
        weights,
    )
    paint = rng.normal(size=(W, 3 * SIDE * SIDE)).astype(np.float32)
    synthesis = _graph(
        [
            helper.make_node("ReduceMean", ["ws"], ["w"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["w", "paint"], ["flat"]),
            helper.make_node("Tanh", ["flat"], ["bounded"]),
            helper.make_node("Reshape", ["bounded", "shape"], ["image"]),
        ],
        [_floats("ws", [1, WS, W])],
        [_floats("image", [1, 3, SIDE, SIDE])],
        {"paint": paint, "shape": np.array([1, 3, SIDE, SIDE], np.int64)},
    )
    rows = [["pink hair", "blue eyes", "smile"], ["blue hair", "red eyes"], ["blonde hair"]]
    labels = np.packbits(np.array([PAPER.encode(row) for row in rows], bool), axis=1).tobytes()
    tags = [TagInfo(name=n, learnt=n in LEARNT, share=0.1, obedience=0.9) for n in PAPER.names]
    payload = {
        "mapping.onnx": mapping,
        "synthesis.onnx": synthesis,
        "labels.bin": labels,
        "card.md": b"# tiny\n\nColoured squares.\n",
    }
    manifest = Manifest.sealed(
        payload,
        name=name,
        resolution=SIDE,
        z_dim=Z,
        w_dim=W,
        num_ws=WS,
        tags=tags,
        labels=LabelTable(count=3, bytes_per_row=(count + 7) // 8),
        truncation=Truncation(centre_samples=4, w_avg=[0.0] * W),
        trained=Trained(kimg=1.5, minutes=2, data="coloured squares", images=3),
        licence="CC0-1.0",
    )
    write_bundle(path, manifest, payload)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny.kaogen")


@pytest.fixture(scope="session")
def studio(tiny: Path) -> Studio:
    return Studio(Bundle.open(tiny))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(static=tmp_path / "static")


@pytest.fixture
def client(studio: Studio, settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(studio, settings), follow_redirects=False) as client:
        yield client
