"""Every form of a convolution gives what the equation says; nothing but activations is computed."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'kaogen[train]'")

from torch.nn import functional  # noqa: E402

from kaogen.interop import convolutions  # noqa: E402
from kaogen.interop.graph import BLOCK, Graph, Storage  # noqa: E402
from kaogen.interop.graphs import synthesis_graph  # noqa: E402
from kaogen.nets.config import NetConfig  # noqa: E402
from kaogen.nets.generator import Generator  # noqa: E402

torch.set_num_threads(1)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def run(g: Graph, result: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    g.add("Identity", result, out="y")
    graph = g.model({"x": list(x.shape)}, {"y": list(shape)})
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("outputs", "inputs", "shape", "form"),
    [
        (3, 5, (6, 9), "Conv"),
        (128, 127, (16, 16), "Conv"),
        (128, 128, (12, 12), "Conv"),
        (128, 128, (18, 18), "Conv"),
        (128, 144, (16, 16), "MatMul"),
        (136, 128, (12, 32), "MatMul"),
    ],
)
def test_plain(outputs: int, inputs: int, shape: tuple[int, int], form: str) -> None:
    x, w = draw(1, inputs, *shape), draw(outputs, inputs, 3, 3) / math.sqrt(9 * inputs)
    g = Graph("fp32")
    got = run(g, convolutions.conv3x3(g, "x", "layer", w, shape), x, (1, outputs, *shape))
    assert (form == "MatMul") == any(node.op_type == "MatMul" for node in g.nodes)
    expected = functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=1)
    np.testing.assert_allclose(got, expected.numpy(), atol=2e-4)


@pytest.mark.parametrize(
    ("outputs", "inputs", "shape", "form"),
    [
        (3, 5, (6, 9), "ConvTranspose"),
        (8, 128, (15, 15), "ConvTranspose"),
        (7, 128, (16, 16), "Transpose"),
        (5, 130, (17, 19), "Transpose"),
    ],
)
def test_doubling(outputs: int, inputs: int, shape: tuple[int, int], form: str) -> None:
    x, w = draw(1, inputs, *shape), draw(outputs, inputs, 3, 3) / math.sqrt(9 * inputs)
    g = Graph("fp32")
    result = (1, outputs, 2 * shape[0], 2 * shape[1])
    got = run(g, convolutions.conv3x3_up(g, "x", "layer", w, shape), x, result)
    kinds = {node.op_type for node in g.nodes}
    assert ("ConvTranspose" in kinds) == (form == "ConvTranspose")
    kernel = torch.from_numpy(w).flip((2, 3)).transpose(0, 1)
    y = functional.conv_transpose2d(torch.from_numpy(x), kernel, stride=2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    spread = torch.outer(taps, taps).expand(outputs, 1, 4, 4)
    expected = functional.conv2d(y, spread, padding=1, groups=outputs)
    np.testing.assert_allclose(got, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize("storage", ["fp16", "int8", "fp32"])
def test_onnxruntime_computes_what_hangs_on_weights_at_load(
    storage: Storage, tmp_path: Path
) -> None:
    """In the graph that it really runs, every convolution's weights are stored numbers."""
    cfg = NetConfig(
        32, {8: 128, 16: 128, 32: 128}, z_dim=8, w_dim=8, mapping_layers=1, num_tags=1, base=8
    )
    torch.manual_seed(0)
    state = {name: tensor.numpy() for name, tensor in Generator(cfg).state_dict().items()}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(
        synthesis_graph(cfg, state, storage), options, providers=["CPUExecutionProvider"]
    )
    graph = onnx.load(tmp_path / "run.onnx").graph
    stored = {tensor.name for tensor in graph.initializer}
    kinds = {node.op_type for node in graph.node}
    assert {"Conv", "ConvTranspose", "Transpose"} <= kinds  # each form is there
    assert not kinds & {"Cast", "ReduceSum", "DequantizeLinear"}
    for node in graph.node:
        if node.op_type in ("Conv", "FusedConv", "ConvTranspose"):
            assert node.input[1] in stored
        assert not all(name in stored for name in node.input if name), node


def test_int8_keeps_a_scale_for_every_few_numbers() -> None:
    g, value = Graph("int8"), draw(16, 8, 3, 3)
    value[0, 0] *= 100  # one large weight must not coarsen the others
    g.add("Add", "x", g.kernel("k", value), out="y")
    graph = g.model({"x": [1]}, {"y": list(value.shape)})
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    got = session.run(None, {"x": np.zeros(1, np.float32)})[0].reshape(-1, BLOCK)
    rows = value.reshape(-1, BLOCK)
    steps = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(got - rows) <= 0.51 * steps).all()
    assert len(graph) < 1.5 * value.size + 1000
