"""A small real tagger for the tests of preparing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tagger_files import save_files

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
    return save_files(path, graph, size, NAMES, HAIR, **changes)


@pytest.fixture
def make_tagger() -> Callable[..., Path]:
    """`make_tagger(path, **changes of its .json)` writes a tagger and gives its path back."""
    return write_tagger
