"""A small tagger that gives features, and sets of features whose distances are known."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

NAMES = ("smile", "blush", "glasses", "hat")


def write_judge(path: Path, *, features: bool = True) -> Path:
    """A tagger at `path`: its features are the means of R, G and B, its scores their sigmoids."""
    weight = numpy_helper.from_array(np.eye(3, 4, dtype=np.float32), "weight")
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])]
    if features:
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3]))
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])]
    graph = helper.make_graph(nodes, "judge", inputs, outputs, [weight])
    opset = helper.make_opsetid("", 17)
    data = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    onnx.checker.check_model(data)
    path.write_bytes(data)
    tags = [{"name": n, "threshold": 0.5, "group": None, "learnt": True} for n in NAMES]
    info = {
        "format": "kaogen-tagger",
        "version": 1,
        "size": 16,
        "tags": tags,
        "exclusive": {},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(info), encoding="utf-8")
    return path


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    return write_judge(tmp_path / "judge.onnx")


@pytest.fixture
def blind_judge(tmp_path: Path) -> Path:
    return write_judge(tmp_path / "blind.onnx", features=False)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (70, 24, 20, 3), dtype=np.uint8)
