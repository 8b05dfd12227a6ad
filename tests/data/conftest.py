"""A small real tagger for the tests of preparing."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

NAMES = ("red hair", "green hair", "blue hair", "smile")
HAIR = list(NAMES[:3])


def write_tagger(
    path: Path,
    size: int = 16,
    smile: float = 0.6,
    outputs: tuple[str, ...] = ("scores",),
    **changes: Any,
) -> Path:
    """Write `path` and its .json: the scores are the means of R, G and B, then `smile`."""
    width = {"scores": 4, "mean": 3}
    weight = numpy_helper.from_array(np.eye(3, 4, dtype=np.float32), "weight")
    bias = numpy_helper.from_array(np.array([0, 0, 0, smile], np.float32), "bias")
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", width[n]]) for n in outputs],
        [weight, bias],
    )
    opset = helper.make_opsetid("", 17)
    data = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    onnx.checker.check_model(data)
    path.write_bytes(data)
    tags = [
        {"name": n, "threshold": 0.5, "group": "hair colour" if n in HAIR else None, "learnt": True}
        for n in NAMES
    ]
    info = {
        "format": "kaogen-tagger",
        "version": 1,
        "size": size,
        "tags": tags,
        "exclusive": {"hair colour": HAIR},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(info | changes), encoding="utf-8")
    return path


@pytest.fixture
def make_tagger() -> Callable[..., Path]:
    """`make_tagger(path, **changes of its .json)` writes a tagger and gives its path back."""
    return write_tagger
