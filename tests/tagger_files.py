"""A tagger's two files around a graph that a test has built."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import helper


def save_files(
    path: Path,
    graph: onnx.GraphProto,
    size: int,
    names: Sequence[str],
    hair: Sequence[str],
    **changes: Any,
) -> Path:
    """Write `path` and its .json; `changes` are made to what the .json says."""
    opset = helper.make_opsetid("", 17)
    data = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    onnx.checker.check_model(data)
    path.write_bytes(data)
    tags = [
        {"name": n, "threshold": 0.5, "group": "hair colour" if n in hair else None, "learnt": True}
        for n in names
    ]
    info = {
        "format": "kaogen-tagger",
        "version": 1,
        "size": size,
        "tags": tags,
        "exclusive": {"hair colour": list(hair)},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(info | changes), encoding="utf-8")
    return path
