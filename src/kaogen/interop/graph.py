"""An ONNX graph under construction, and how its constants are stored.

Only plain operators of opset 18, so that onnxruntime-web runs the same files. What depends on
constants alone (casts, scales, transforms of weights) onnxruntime computes once, at load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Storage = Literal["fp16", "int8", "fp32"]

OPSET = 18
IR_VERSION = 9
BLOCK = 16
"""Numbers that share a scale where weights are bytes."""


class Graph:
    """A graph under construction: nodes are appended, names are handed back.

    Args:
        storage: how large constants are kept in the file; they are always used as fp32.

    """

    def __init__(self, storage: Storage = "fp16") -> None:
        self.nodes: list[Any] = []
        self.storage = storage
        self.constants: list[Any] = []
        self._known: dict[str, str] = {}

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        name = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def exact(self, name: str, value: npt.ArrayLike, dtype: Any = np.float32) -> str:
        """Add a constant at full precision (biases, scalars, indices)."""
        if name not in self._known:
            array = np.ascontiguousarray(value, dtype=dtype)
            self.constants.append(numpy_helper.from_array(array, name))
            self._known[name] = name
        return self._known[name]

    def reshape(self, x: str, *shape: int) -> str:
        """The same numbers in another shape; one -1 is what is left."""
        return self.add("Reshape", x, self.exact(f"shape{shape}", shape, np.int64))

    def kernel(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a layer's weights, stored as the graph stores them."""
        if self.storage == "int8":
            return self.blocks(name, value)
        return self.weight(name, value)

    def weight(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add another large constant: as fp16 unless the graph keeps fp32, and used as fp32."""
        return self.exact(name, value) if self.storage == "fp32" else self.half(name, value)

    def byte_weight(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a large constant stored as int8 with one scale per first axis, used as fp32."""
        if name not in self._known:
            self._known[name] = self._bytes(name, value, tuple(range(1, value.ndim)), name)
        return self._known[name]

    def blocks(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a large constant stored as int8 with one scale for every 16 numbers, used as fp32.

        One scale per output of a layer is too coarse for a generator: on the model that ships,
        pictures differed by 1.3 grey levels on average.
        """
        if name not in self._known:
            rows = value.reshape(-1, math.gcd(value.size, BLOCK))
            flat = self._bytes(name, rows, (1,), f"{name}.flat")
            shape = self.exact(f"{name}.shape", value.shape, np.int64)
            self._known[name] = self.add("Reshape", flat, shape, out=name)
        return self._known[name]

    def _bytes(self, name: str, value: npt.NDArray[Any], axes: tuple[int, ...], out: str) -> str:
        """Cast and Mul rather than DequantizeLinear: onnxruntime folds the two at load, and keeps
        the third for quantised kernels that this is not meant for.
        """
        scale = np.abs(value).max(axis=axes, keepdims=True).clip(1e-12) / 127
        scale = scale.astype(np.float16).clip(6e-8).astype(np.float32)
        stored = np.rint(value / scale).clip(-127, 127).astype(np.int8)
        self.constants.append(numpy_helper.from_array(stored, f"{name}.byte"))
        whole = self.add("Cast", f"{name}.byte", to=TensorProto.FLOAT)
        half = numpy_helper.from_array(scale.astype(np.float16), f"{name}.scale")
        self.constants.append(half)
        times = self.add("Cast", f"{name}.scale", to=TensorProto.FLOAT)
        return self.add("Mul", whole, times, out=out)

    def half(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant stored as fp16, used as fp32, whatever the graph's own choice."""
        if name not in self._known:
            stored = np.clip(value, -65504, 65504).astype(np.float16)
            self.constants.append(numpy_helper.from_array(stored, f"{name}.half"))
            self._known[name] = self.add("Cast", f"{name}.half", out=name, to=TensorProto.FLOAT)
        return self._known[name]

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bytes:
        """Close the graph: input and output names with their shapes -> the file's bytes."""
        graph = helper.make_graph(
            self.nodes,
            "kaogen",
            [_value(name, shape) for name, shape in inputs.items()],
            [_value(name, shape) for name, shape in outputs.items()],
            initializer=self.constants,
        )
        model = helper.make_model(
            graph,
            producer_name="kaogen",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        # Deterministic, so that the same weights make the same file and the same model id.
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _value(name: str, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
