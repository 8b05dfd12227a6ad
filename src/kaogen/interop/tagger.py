"""A trained tagger as files: an ONNX graph for judging, safetensors as the critic's trunk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from kaogen.interop.graphs import Graph
from kaogen.nets.tagger import TaggerNet, fold_norms, units
from kaogen.training.tagger_data import EYES, HAIR


def build_graph(net: TaggerNet, size: int) -> bytes:
    """The folded tagger as ONNX: `image` [N, 3, size, size] in [0, 1] -> `scores` [N, T]."""
    graph = Graph()
    x = graph.add("Mul", "image", graph.exact("two", 2.0))
    x = graph.add("Sub", x, graph.exact("one", 1.0))
    for i, unit in enumerate(units(net)):
        stride = unit.conv.stride[0]
        assert unit.conv.bias is not None
        weight = graph.weight(f"conv{i}.weight", unit.conv.weight.detach().numpy())
        bias = graph.exact(f"conv{i}.bias", unit.conv.bias.detach().numpy())
        x = graph.add("Conv", x, weight, bias, pads=[1, 1, 1, 1], strides=[stride, stride])
        x = graph.add("Relu", x)
    x = graph.add("GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    weight = graph.weight("head.weight", net.head.weight.detach().numpy())
    x = graph.add(
        "Gemm", x, weight, graph.exact("head.bias", net.head.bias.detach().numpy()), transB=1
    )
    parts = []
    a, b, c = len(HAIR), len(HAIR) + len(EYES), net.head.out_features
    for name, start, stop, op in (
        ("hair", 0, a, "Softmax"),
        ("eyes", a, b, "Softmax"),
        ("rest", b, c, "Sigmoid"),
    ):
        columns = graph.exact(f"{name}.columns", np.arange(start, stop), np.int64)
        part = graph.add("Gather", x, columns, axis=1)
        parts.append(graph.add(op, part, axis=1) if op == "Softmax" else graph.add(op, part))
    graph.add("Concat", *parts, out="scores", axis=1)
    return graph.model({"image": ["n", 3, size, size]}, {"scores": ["n", c]})


def save_tagger(net: TaggerNet, report: dict[str, Any], size: int, folder: Path) -> None:
    """Write tagger.onnx, tagger.json and tagger.safetensors (fp16) into `folder`.

    Args:
        net: as trained, with its normalisations.
        report: from `training.tagger_report.evaluate`.
        size: edge in pixels of what the network sees.
        folder: made if it is not there.

    """
    folder.mkdir(parents=True, exist_ok=True)
    folded = fold_norms(net)
    graph = build_graph(folded, size)
    described = {
        "format": "kaogen-tagger",
        "version": 1,
        "size": size,
        **report,
        "tags": [
            {**t, "threshold": 0.5 if t["threshold"] is None else t["threshold"]}
            for t in report["tags"]
        ],
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    halves = {k: v.to(torch.float16).contiguous() for k, v in folded.state_dict().items()}
    (folder / "tagger.onnx").write_bytes(graph)
    (folder / "tagger.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    save_file(halves, folder / "tagger.safetensors")
