"""Opening ONNX graphs for work in many processes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from kaogen.errors import BundleError


def open_session(graph: bytes | Path, path: Path) -> Any:
    """An onnxruntime session on one CPU thread, of a graph's bytes or of its file.

    Raises:
        BundleError: it is no graph that onnxruntime can use; ``path`` names it in the message.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Preparing uses one process per CPU already; more threads would only be in each other's way.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = graph if isinstance(graph, bytes) else str(graph)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but this
        raise BundleError(f"{path} is no usable ONNX graph.") from error


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
