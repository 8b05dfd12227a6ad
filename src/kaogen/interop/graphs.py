"""The generator as two ONNX graphs, written node by node from its weights.

By hand, because the form matters more than the source: a tracer would record the modulation as
it stands in torch, with gains multiplied at run time. Here

- every weight is a constant, already times its equalised-learning-rate gain;
- modulation scales the activations before and after one shared convolution (StyleGAN2, eq. 1),
  and demodulation (eq. 3) is a matrix product of s^2 with the constant sums of w^2;
- the activation's sqrt(2) is folded into the demodulation, the biases and the noise;
- a noise map is a constant, times its strength;
- weights are stored as fp16 and cast to fp32, which onnxruntime does once, at load.

Only plain operators of opset 18, so that onnxruntime-web runs the same files.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kaogen.nets.config import NetConfig

Floats = npt.NDArray[np.float32]
State = Mapping[str, Floats]

OPSET = 18
IR_VERSION = 9
SLOPE = 0.2
EPS = 1e-8
SQRT2 = math.sqrt(2.0)
# The [1,3,3,1] filter along one axis, summing to 1.
TAPS = np.array([1, 3, 3, 1], np.float32) / 8


class Graph:
    """A graph under construction: nodes are appended, names are handed back."""

    def __init__(self, half: bool = True) -> None:
        self.nodes: list[Any] = []
        self.stores_half = half
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

    def weight(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a large constant: stored as fp16 where that was asked for, and used as fp32."""
        if not self.stores_half:
            return self.exact(name, value)
        return self.half(name, value)

    def byte_weight(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a large constant stored as int8 with one scale per first axis, used as fp32.

        Cast and Mul rather than DequantizeLinear: onnxruntime folds the two at load, and keeps
        the third for quantised kernels that this is not meant for.
        """
        if name not in self._known:
            axes = tuple(range(1, value.ndim))
            scale = np.abs(value).max(axis=axes, keepdims=True).clip(1e-12) / 127
            scale = scale.astype(np.float16).clip(6e-8).astype(np.float32)
            stored = np.rint(value / scale).clip(-127, 127).astype(np.int8)
            self.constants.append(numpy_helper.from_array(stored, f"{name}.byte"))
            whole = self.add("Cast", f"{name}.byte", to=TensorProto.FLOAT)
            half = numpy_helper.from_array(scale.astype(np.float16), f"{name}.scale")
            self.constants.append(half)
            times = self.add("Cast", f"{name}.scale", to=TensorProto.FLOAT)
            self._known[name] = self.add("Mul", whole, times, out=name)
        return self._known[name]

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


def mapping_graph(cfg: NetConfig, state: State, half: bool = True) -> bytes:
    """z [n, z_dim], labels [n, L] -> w [n, w_dim]; `state` is the Generator's state dict."""
    g = Graph(half)
    if cfg.conditioning == "paper":
        table = g.weight("label_concat", state["mapping.label_concat"])
        both = g.add("Concat", "z", g.add("MatMul", "labels", table), axis=1)
        x, width = _pixel_norm(g, both), cfg.z_dim + cfg.w_dim
    else:
        scaled = state["mapping.embed.weight"] / math.sqrt(cfg.num_tags)
        table = g.weight("embed.weight", scaled.T)
        shift = g.exact("embed.bias", state["mapping.embed.bias"])
        embedded = g.add("Add", g.add("MatMul", "labels", table), shift)
        x = g.add("Concat", _pixel_norm(g, "z"), _pixel_norm(g, embedded), axis=1)
        width = 2 * cfg.z_dim
    lr_mult = 0.01
    for i in range(cfg.mapping_layers):
        # Leaky ReLU is positively homogeneous: its gain goes into weight and bias.
        weight = state[f"mapping.dense{i}.weight"] * (SQRT2 * lr_mult / math.sqrt(width))
        bias = state[f"mapping.dense{i}.bias"] * (SQRT2 * lr_mult)
        x = g.add("MatMul", x, g.weight(f"dense{i}.weight", weight.T))
        x = g.add("Add", x, g.exact(f"dense{i}.bias", bias))
        x = g.add("LeakyRelu", x, alpha=SLOPE)
        width = cfg.w_dim
    g.add("Identity", x, out="w")
    return g.model({"z": ["n", cfg.z_dim], "labels": ["n", cfg.num_tags]}, {"w": ["n", cfg.w_dim]})


def synthesis_graph(cfg: NetConfig, state: State, half: bool = True) -> bytes:
    """ws [1, num_ws, w_dim] -> image [1, C, H, W]; `state` is the Generator's state dict."""
    g = Graph(half)
    slots = [
        g.add("Gather", "ws", g.exact(f"slot{i}", i, np.int64), axis=1) for i in range(cfg.num_ws)
    ]
    net = _Synthesis(g, cfg, state)
    x = g.weight("const", state[f"synthesis.b{cfg.base}.const"][None])
    rgb, slot = "", 0
    for size in cfg.sizes:
        block = f"b{size}"
        if size == cfg.base:
            x = net.styled_conv(x, slots[slot], f"{block}.conv")
        else:
            x = net.styled_conv(x, slots[slot], f"{block}.conv0_up", up=True)
            slot += 1
            x = net.styled_conv(x, slots[slot], f"{block}.conv1")
        slot += 1
        # ToRGB's slot is the one that the next block's first convolution uses as well.
        part = net.to_rgb(x, slots[slot], f"{block}.to_rgb")
        rgb = g.add("Add", net.upsample(rgb), part) if rgb else part
    g.add("Identity", rgb, out="image")
    image = [1, cfg.img_channels, *cfg.shape(cfg.resolution)]
    return g.model({"ws": [1, cfg.num_ws, cfg.w_dim]}, {"image": image})


class _Synthesis:
    """The layers of the synthesis network."""

    def __init__(self, graph: Graph, cfg: NetConfig, state: State) -> None:
        self.g = graph
        self.cfg = cfg
        self.state = state

    def styled_conv(self, x: str, w: str, layer: str, up: bool = False) -> str:
        """Modulated 3x3 convolution, demodulated, with noise, bias and leaky ReLU."""
        g = self.g
        raw = self._weight(layer)  # [O, I, 3, 3]
        styles = self._styles(w, layer)  # [1, I]
        x = g.add("Mul", x, self._plane(styles))
        if up:
            kernel = raw[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            x = g.add("ConvTranspose", x, g.weight(f"{layer}.weight", kernel), strides=[2, 2])
            x = self._blur(x, channels=raw.shape[0])
        else:
            x = g.add("Conv", x, g.weight(f"{layer}.weight", raw), pads=[1, 1, 1, 1])
        x = g.add("Mul", x, self._plane(self._demodulation(styles, raw, layer)))
        if f"synthesis.{layer}.noise_const" in self.state:
            noise = self.state[f"synthesis.{layer}.noise_const"]
            noise = noise * self.state[f"synthesis.{layer}.noise_strength"] * SQRT2
            x = g.add("Add", x, g.weight(f"{layer}.noise", noise[None, None]))
        bias = self.state[f"synthesis.{layer}.bias"] * SQRT2
        x = g.add("Add", x, g.exact(f"{layer}.bias", bias[None, :, None, None]))
        return g.add("LeakyRelu", x, alpha=SLOPE)

    def to_rgb(self, x: str, w: str, layer: str) -> str:
        """1x1 modulated convolution with bias, not demodulated."""
        g = self.g
        x = g.add("Mul", x, self._plane(self._styles(w, layer)))
        weight = g.weight(f"{layer}.weight", self._weight(layer))
        return g.add(
            "Conv", x, weight, g.exact(f"{layer}.bias", self.state[f"synthesis.{layer}.bias"])
        )

    def upsample(self, rgb: str) -> str:
        """Twice the size by the [1,3,3,1] filter with gain 4, channel by channel."""
        channels = self.cfg.img_channels
        kernel = np.tile(np.outer(TAPS, TAPS) * 4, (channels, 1, 1, 1))
        weight = self.g.exact("upsample", kernel)
        return self.g.add(
            "ConvTranspose", rgb, weight, strides=[2, 2], pads=[1, 1, 1, 1], group=channels
        )

    def _blur(self, x: str, channels: int) -> str:
        """[N, C, 2H+1, 2W+1] -> [N, C, 2H, 2W] by the [1,3,3,1] filter with gain 4."""
        kernel = np.tile(np.outer(TAPS, TAPS) * 4, (channels, 1, 1, 1))
        weight = self.g.weight(f"blur{channels}", kernel)
        return self.g.add("Conv", x, weight, pads=[1, 1, 1, 1], group=channels)

    def _weight(self, layer: str) -> Floats:
        """Times the equalised learning rate's gain, 1 / sqrt(fan in)."""
        raw = self.state[f"synthesis.{layer}.weight"]
        return (raw / math.sqrt(raw[0].size)).astype(np.float32)

    def _styles(self, w: str, layer: str) -> str:
        """Affine map of w to one scale per input channel, [1, I]."""
        weight = self.state[f"synthesis.{layer}.affine.weight"]
        weight = weight / math.sqrt(weight.shape[1])
        product = self.g.add("MatMul", w, self.g.weight(f"{layer}.affine.weight", weight.T))
        bias = self.g.exact(f"{layer}.affine.bias", self.state[f"synthesis.{layer}.affine.bias"])
        return self.g.add("Add", product, bias)

    def _demodulation(self, styles: str, weight: Floats, layer: str) -> str:
        """sqrt(2) / sqrt(sum of (w s)^2), [1, O]; the 2 goes into the constants as a half."""
        g = self.g
        energy = np.square(weight).sum(axis=(2, 3)).T / 2  # [I, O]
        square = g.add("Mul", styles, styles)
        total = g.add("MatMul", square, g.weight(f"{layer}.energy", energy))
        total = g.add("Add", total, g.exact("eps", EPS / 2))
        return g.add("Reciprocal", g.add("Sqrt", total))

    def _plane(self, vector: str) -> str:
        """[1, C] -> [1, C, 1, 1]."""
        return self.g.add("Reshape", vector, self.g.exact("plane", [1, -1, 1, 1], np.int64))


def _pixel_norm(g: Graph, x: str) -> str:
    """x / sqrt(mean(x^2) + eps) along the last axis."""
    mean = g.add("ReduceMean", g.add("Mul", x, x), g.exact("last", [-1], np.int64), keepdims=1)
    return g.add("Div", x, g.add("Sqrt", g.add("Add", mean, g.exact("norm_eps", EPS))))


def _value(name: str, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
