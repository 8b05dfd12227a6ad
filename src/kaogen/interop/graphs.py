"""The generator as two ONNX graphs, written node by node from its weights.

By hand, because the form matters more than the source: a tracer would record the modulation as
it stands in torch, with gains multiplied at run time. Here

- every weight is a constant, already times its equalised-learning-rate gain;
- modulation scales the activations before and after one shared convolution (StyleGAN2, eq. 1),
  and demodulation (eq. 3) is a matrix product of s^2 with the constant sums of w^2;
- the activation's sqrt(2) is folded into the demodulation, the biases and the noise;
- a noise map is a constant, times its strength;
- a convolution has the form that onnxruntime runs fastest at its size (convolutions.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from kaogen.interop.convolutions import conv3x3, conv3x3_up, upsample
from kaogen.interop.graph import Graph, Storage
from kaogen.nets.config import NetConfig
from kaogen.nets.generator import Generator

Floats = npt.NDArray[np.float32]
State = Mapping[str, Floats]

SLOPE = 0.2
EPS = 1e-8
SQRT2 = math.sqrt(2.0)


def mapping_graph(cfg: NetConfig, state: State, storage: Storage = "fp16") -> bytes:
    """z [n, z_dim], labels [n, L] -> w [n, w_dim]; `state` is the Generator's state dict."""
    g = Graph(storage)
    if not cfg.num_tags:
        x, width = _pixel_norm(g, "z"), cfg.z_dim
    elif cfg.conditioning == "paper":
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


def synthesis_graph(cfg: NetConfig, state: State, storage: Storage = "fp16") -> bytes:
    """ws [1, num_ws, w_dim] -> image [1, C, H, W]; `state` is the Generator's state dict."""
    g = Graph(storage)
    slots = [
        g.add("Gather", "ws", g.exact(f"slot{i}", i, np.int64), axis=1) for i in range(cfg.num_ws)
    ]
    net = _Synthesis(g, cfg, state)
    x = g.weight("const", state[f"synthesis.b{cfg.base}.const"][None])
    rgb, slot = "", 0
    for size in cfg.sizes:
        block = f"b{size}"
        if size == cfg.base:
            x = net.styled_conv(x, slots[slot], f"{block}.conv", cfg.shape(size))
        else:
            half = cfg.shape(size // 2)
            x = net.styled_conv(x, slots[slot], f"{block}.conv0_up", half, up=True)
            slot += 1
            x = net.styled_conv(x, slots[slot], f"{block}.conv1", cfg.shape(size))
        slot += 1
        # ToRGB's slot is the one that the next block's first convolution uses as well.
        part = net.to_rgb(x, slots[slot], f"{block}.to_rgb", cfg.shape(size))
        rgb = g.add("Add", upsample(g, rgb, cfg.img_channels), part) if rgb else part
    g.add("Identity", rgb, out="image")
    image = [1, cfg.img_channels, *cfg.shape(cfg.resolution)]
    return g.model({"ws": [1, cfg.num_ws, cfg.w_dim]}, {"image": image})


def graphs_size(cfg: NetConfig, storage: Storage = "fp16") -> int:
    """Bytes of both graphs of a configuration, by writing them with weights of zero."""
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in Generator(cfg).state_dict().items()}
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return len(mapping_graph(cfg, state)) + len(synthesis_graph(cfg, state, storage))


class _Synthesis:
    """The layers of the synthesis network."""

    def __init__(self, graph: Graph, cfg: NetConfig, state: State) -> None:
        self.g = graph
        self.cfg = cfg
        self.state = state

    def styled_conv(
        self, x: str, w: str, layer: str, shape: tuple[int, int], up: bool = False
    ) -> str:
        """Modulated 3x3 convolution of [1, I, *shape], with all that follows it."""
        g = self.g
        weight = self._weight(layer)  # [O, I, 3, 3]
        styles = self._styles(w, layer)  # [1, I]
        x = g.add("Mul", x, self._plane(styles))
        x = (conv3x3_up if up else conv3x3)(g, x, layer, weight, shape)
        bias = g.exact(f"{layer}.bias", self.state[f"synthesis.{layer}.bias"] * SQRT2)
        x = self._scale_shift(x, self._demodulation(styles, layer, up), bias, weight.shape[0])
        if f"synthesis.{layer}.noise_const" in self.state:
            noise = self.state[f"synthesis.{layer}.noise_const"]
            noise = noise * self.state[f"synthesis.{layer}.noise_strength"] * SQRT2
            x = g.add("Add", x, g.weight(f"{layer}.noise", noise[None, None]))
        return g.add("LeakyRelu", x, alpha=SLOPE)

    def to_rgb(self, x: str, w: str, layer: str, shape: tuple[int, int]) -> str:
        """1x1 modulated convolution of [1, I, *shape] with bias, not demodulated.

        A matrix product with few rows: scaling those is cheaper than scaling all of x.
        """
        g, raw = self.g, self._weight(layer)
        outputs, inputs = raw.shape[:2]
        weight = g.reshape(g.weight(f"{layer}.weight", raw), outputs, inputs)
        weight = g.add("Mul", weight, self._styles(w, layer))
        rgb = g.add("MatMul", weight, g.reshape(x, inputs, math.prod(shape)))
        bias = self.state[f"synthesis.{layer}.bias"][None, :, None, None]
        return g.add("Add", g.reshape(rgb, 1, outputs, *shape), g.exact(f"{layer}.bias", bias))

    def _scale_shift(self, x: str, scale: str, shift: str, channels: int) -> str:
        """[1, C, H, W] times scale [1, C] plus shift [C] in one pass over x.

        That is what batch normalisation does with a mean of 0 and a variance of 1.
        """
        g = self.g
        mean, variance = (
            g.exact(f"{name}{channels}", np.full(channels, value))
            for name, value in (("mean", 0.0), ("variance", 1.0))
        )
        flat = g.reshape(scale, channels)
        return g.add("BatchNormalization", x, flat, shift, mean, variance, epsilon=0.0)

    def _weight(self, layer: str) -> Floats:
        """Times the equalised learning rate's gain, 1 / sqrt(fan in)."""
        raw = self.state[f"synthesis.{layer}.weight"]
        return (raw / math.sqrt(raw[0].size)).astype(np.float32)

    def _styles(self, w: str, layer: str) -> str:
        """Affine map of w to one scale per input channel, [1, I]."""
        weight = self.state[f"synthesis.{layer}.affine.weight"]
        weight = weight / math.sqrt(weight.shape[1])
        product = self.g.add("MatMul", w, self.g.kernel(f"{layer}.affine.weight", weight.T))
        bias = self.g.exact(f"{layer}.affine.bias", self.state[f"synthesis.{layer}.affine.bias"])
        return self.g.add("Add", product, bias)

    def _demodulation(self, styles: str, layer: str, up: bool) -> str:
        """sqrt(2) / sqrt(sum of (w s)^2), [1, O]; the 2 goes into the constants as a half.

        The sums of w^2 are made from the stored weights, at load.
        """
        g, kernel = self.g, f"{layer}.weight"
        edges = g.exact("edges", [2, 3], np.int64)
        energy = g.add("ReduceSum", g.add("Mul", kernel, kernel), edges, keepdims=0)
        if not up:  # [O, I]
            energy = g.add("Transpose", energy, perm=[1, 0])
        energy = g.add("Mul", energy, g.exact("a half", 0.5))
        total = g.add("MatMul", g.add("Mul", styles, styles), energy)
        total = g.add("Add", total, g.exact("eps", EPS / 2))
        return g.add("Reciprocal", g.add("Sqrt", total))

    def _plane(self, vector: str) -> str:
        """[1, C] -> [1, C, 1, 1]."""
        return self.g.reshape(vector, 1, -1, 1, 1)


def _pixel_norm(g: Graph, x: str) -> str:
    """x / sqrt(mean(x^2) + eps) along the last axis."""
    mean = g.add("ReduceMean", g.add("Mul", x, x), g.exact("last", [-1], np.int64), keepdims=1)
    return g.add("Div", x, g.add("Sqrt", g.add("Add", mean, g.exact("norm_eps", EPS))))
