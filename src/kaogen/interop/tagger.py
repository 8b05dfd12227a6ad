"""A trained tagger as files: an ONNX graph for judging, safetensors as the critic's trunk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from kaogen.interop.graph import Graph
from kaogen.nets.efficientnet import Block, EfficientNetLite, Unit
from kaogen.nets.tagger import TaggerNet, fold_norms, units
from kaogen.training.tagger import TaggerNetwork, TwoTaggers
from kaogen.training.tagger_card import card
from kaogen.training.tagger_data import EYES, HAIR

# Measured with animeface on 44 of the labelled faces: the box is 0.76 of the crop's edge.
MARGIN = 0.16


def build_graph(net: TaggerNetwork | TwoTaggers, size: int) -> bytes:
    """A tagger as ONNX, its normalisations folded, its weights stored as bytes.

    ``image`` [N, 3, size, size] in [0, 1] -> ``scores`` [N, T], probabilities, and ``features``
    [N, F], what the last layer sees.
    """
    graph = Graph()
    x = graph.add("Mul", "image", graph.exact("two", 2.0))
    x = graph.add("Sub", x, graph.exact("one", 1.0))
    rest = net.rest if isinstance(net, TwoTaggers) else net
    logits = said = _logits(graph, rest, x, size, "features")
    if isinstance(net, TwoTaggers):
        said = _logits(graph, net.colours, x, size, "colours.features", "colours.")
    parts = []
    a, b, c = len(HAIR), len(HAIR) + len(EYES), rest.head.out_features
    for name, start, stop, op in (
        ("hair", 0, a, "Softmax"),
        ("eyes", a, b, "Softmax"),
        ("rest", b, c, "Sigmoid"),
    ):
        columns = graph.exact(f"{name}.columns", np.arange(start, stop), np.int64)
        part = graph.add("Gather", logits if name == "rest" else said, columns, axis=1)
        parts.append(graph.add(op, part, axis=1) if op == "Softmax" else graph.add(op, part))
    graph.add("Concat", *parts, out="scores", axis=1)
    outputs = {"scores": ["n", c], "features": ["n", rest.head.in_features]}
    return graph.model({"image": ["n", 3, size, size]}, outputs)


def _logits(
    graph: Graph, net: TaggerNetwork, x: str, size: int, features: str, prefix: str = ""
) -> str:
    if isinstance(net, EfficientNetLite):
        x = _lite(graph, net, x, size, prefix)
    else:
        x = _plain(graph, net, x, prefix)
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x), out=features)
    weight = graph.byte_weight(f"{prefix}head.weight", net.head.weight.detach().numpy())
    bias = graph.exact(f"{prefix}head.bias", net.head.bias.detach().numpy())
    return graph.add("Gemm", x, weight, bias, transB=1)


def _plain(graph: Graph, net: TaggerNet, x: str, prefix: str) -> str:
    for i, unit in enumerate(units(fold_norms(net))):
        stride = unit.conv.stride[0]
        assert unit.conv.bias is not None
        weight = graph.byte_weight(f"{prefix}conv{i}.weight", unit.conv.weight.detach().numpy())
        bias = graph.exact(f"{prefix}conv{i}.bias", unit.conv.bias.detach().numpy())
        x = graph.add("Conv", x, weight, bias, pads=[1, 1, 1, 1], strides=[stride, stride])
        x = graph.add("Relu", x)
    return x


def _lite(graph: Graph, net: EfficientNetLite, x: str, size: int, prefix: str) -> str:
    count = 0

    def unit(x: str, layer: Unit) -> str:
        nonlocal size, count
        weight, bias = _fold(layer)
        left, right, top, bottom = layer.padding(size, size)
        stride = layer.conv.stride[0]
        size, count = -(-size // stride), count + 1
        x = graph.add(
            "Conv",
            x,
            graph.byte_weight(f"{prefix}conv{count}.weight", weight),
            graph.half(f"{prefix}conv{count}.bias", bias),
            pads=[top, left, bottom, right],
            strides=[stride, stride],
            group=layer.conv.groups,
        )
        if not layer.act:
            return x
        return graph.add("Clip", x, graph.exact("zero", 0.0), graph.exact("six", 6.0))

    x = unit(x, net.stem)
    for block in net.blocks:
        assert isinstance(block, Block)
        before = x
        for layer in block.units:
            assert isinstance(layer, Unit)
            x = unit(x, layer)
        if block.skip:
            x = graph.add("Add", before, x)
    return unit(x, net.top)


def _fold(layer: Unit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of the convolution with its normalisation in it (see `fold_norms`)."""
    norm = layer.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = layer.conv.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return weight.detach().numpy(), bias.detach().numpy()


def save_tagger(
    net: TaggerNetwork | TwoTaggers,
    report: dict[str, Any],
    size: int,
    folder: Path,
    name: str = "tagger",
) -> None:
    """Write NAME.onnx, NAME.json and its card NAME.md; a plain network as NAME.safetensors too.

    Args:
        net: as trained, with its normalisations.
        report: from `training.tagger_report.evaluate`.
        size: edge in pixels of what the network sees.
        folder: made if it is not there.
        name: of the files, without ending.

    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = build_graph(net, size)
    described = {
        "format": "kaogen-tagger",
        "version": 1,
        "size": size,
        # How much of a picture the faces it learnt from show around the face that a finder
        # finds, on each side, as a share of the face's edge.
        "margin": MARGIN,
        **report,
        "tags": [
            {**t, "threshold": 0.5 if t["threshold"] is None else t["threshold"]}
            for t in report["tags"]
        ],
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    (folder / f"{name}.onnx").write_bytes(graph)
    text = json.dumps(described, indent=1) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    if "hair_top1" in described:
        (folder / f"{name}.md").write_text(card(name, described), encoding="utf-8")
    if isinstance(net, TaggerNet):  # the form in which the critic's trunk is kept
        folded = fold_norms(net).state_dict()
        halves = {k: v.to(torch.float16).contiguous() for k, v in folded.items()}
        save_file(halves, folder / f"{name}.safetensors")
