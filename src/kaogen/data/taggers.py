"""What a face shows, judged by an ONNX tagger: the built-in one or another of its format.

A tagger is two files side by side. ``NAME.onnx`` takes ``image``, float32 ``[N, 3, S, S]``, RGB
in [0, 1], and gives ``scores``, float32 ``[N, T]``, probabilities. ``NAME.json`` says what the T
scores mean, from which score on a tag counts, which tags exclude each other, which ones the
tagger judges well enough to be believed, and the graph's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.errors import BundleError, InputError, ModelNotFoundError
from kaogen.tags import EXCLUSIVE, Vocabulary

BUILTIN = "builtin"
_BATCH = 32
_MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class TagRule:
    """How one score is read.

    Attributes:
        name: the tag.
        threshold: the score from which on the tag counts, in [0, 1].
        group: the exclusive group it belongs to, or None.
        learnt: whether the tagger judges it well enough to be believed.
    """

    name: str
    threshold: float
    group: str | None
    learnt: bool


class Tagger:
    """A loaded tagger. Build it with :meth:`load`; may be pickled (it is loaded again).

    Attributes:
        path: the ``.onnx`` file.
        size: edge in pixels of what the network sees.
        rules: one per score, in the scores' order.
        exclusive: group -> columns of which the best alone counts.
        sha256: hex digest of the graph.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], graph: bytes) -> None:
        self.path = path
        self.sha256 = hashlib.sha256(graph).hexdigest()
        if info.get("sha256") != self.sha256:
            raise BundleError(
                f"{path} is not the file that its .json describes (SHA-256 differs).",
                hint="Copy both files again.",
            )
        try:
            self.size, self.rules, self.exclusive = _read_info(info)
            self._vocabulary = Vocabulary([rule.name for rule in self.rules])
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise BundleError(
                f"{path.with_suffix('.json')} does not describe a tagger ({error!r})."
            ) from error
        self._session = _session(path, graph)
        shape = self._session.get_outputs()[0].shape
        if shape[-1] != len(self.rules):
            raise BundleError(f"{path} gives {shape[-1]} scores, its .json has {len(self.rules)}.")

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """Load the tagger at ``path`` (its ``.onnx``); None or "builtin" is the one that ships.

        Raises:
            ModelNotFoundError: one of the two files is not there.
            BundleError: they do not fit each other, or are damaged.
        """
        if path is None or str(path) == BUILTIN:
            model = Path(str(files("kaogen"))) / "models" / "tagger.onnx"
        else:
            model = Path(path)
        graph, info = _read(model), _read(model.with_suffix(".json"))
        try:
            described = json.loads(info)
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"{model.with_suffix('.json')} is not valid JSON ({error})."
            ) from error
        if not isinstance(described, dict) or described.get("format") != "kaogen-tagger":
            raise BundleError(f"{model.with_suffix('.json')} does not describe a kaogen tagger.")
        if described.get("version") != 1:
            raise BundleError(f"{model} is a tagger of version {described.get('version')}, not 1.")
        return cls(model, described, graph)

    def scores(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Probabilities ``[N, T]`` in [0, 1] of N faces, each uint8 ``[H, W, 3]`` RGB of any size.

        Faces are resized by Lanczos to the tagger's own size.
        """
        out = np.empty((len(images), len(self.rules)), dtype=np.float32)
        for start in range(0, len(images), _BATCH):
            batch = np.stack([self._input(image) for image in images[start : start + _BATCH]])
            out[start : start + len(batch)] = self._session.run(["scores"], {"image": batch})[0]
        return out

    def tags(self, row: Sequence[float] | npt.NDArray[np.float32]) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means, with their scores, in the scores' order.

        Of an exclusive group the best one counts, whatever its score; of the others those at or
        above their threshold; of long and short hair the one that is further above. What these
        imply (``:d`` is a smile) counts too. A tag that the tagger has not learnt is never given:
        where it wins its group, the group stays empty, since the second best would be wrong.
        """
        grouped = {i for columns in self.exclusive.values() for i in columns}
        chosen = {max(columns, key=lambda i: row[i]) for columns in self.exclusive.values()}
        above = {
            i: float(row[i]) / max(rule.threshold, 1e-6)
            for i, rule in enumerate(self.rules)
            if i not in grouped and rule.learnt and row[i] >= rule.threshold
        }
        for rivals in EXCLUSIVE.values():
            rising = sorted((m, i) for i, m in above.items() if self.rules[i].name in rivals)
            for _, i in rising[:-1]:
                del above[i]
        named = {self.rules[i].name for i in (*chosen, *above) if self.rules[i].learnt}
        shown = self._vocabulary.with_implied(named)
        return [
            (rule.name, float(row[i]))
            for i, rule in enumerate(self.rules)
            if rule.learnt and rule.name in shown
        ]

    def describe(self) -> dict[str, Any]:
        """Name, SHA-256 and learnt tags, for a data set's provenance."""
        learnt = [rule.name for rule in self.rules if rule.learnt]
        return {"name": self.path.name, "sha256": self.sha256, "learnt": learnt}

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).load, (self.path,))

    def _input(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert image.dtype == np.uint8, image.dtype
        assert image.ndim == 3, image.shape  # [H, W, 3]
        if image.shape[:2] != (self.size, self.size):
            picture = Image.fromarray(image)
            picture = picture.resize((self.size, self.size), Image.Resampling.LANCZOS)
            image = np.asarray(picture, dtype=np.uint8)
        return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BundleError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"there is no tagger file {path} ({error.strerror}).",
            hint="A tagger is NAME.onnx with NAME.json beside it.",
        ) from error


def _read_info(
    info: Mapping[str, Any],
) -> tuple[int, tuple[TagRule, ...], dict[str, tuple[int, ...]]]:
    size = int(info["size"])
    if not 16 <= size <= 1024:
        raise ValueError(f"size {size}")
    rules = tuple(
        TagRule(str(tag["name"]), float(tag["threshold"]), tag.get("group"), bool(tag["learnt"]))
        for tag in info["tags"]
    )
    column = {rule.name: i for i, rule in enumerate(rules)}
    if not rules or len(column) != len(rules):
        raise ValueError("tags are missing or named twice")
    exclusive = {
        str(group): tuple(column[name] for name in names)
        for group, names in info.get("exclusive", {}).items()
        if names
    }
    return size, rules, exclusive


def _session(path: Path, graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Preparing uses one process per CPU already; more threads would only be in each other's way.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but this
        raise BundleError(f"{path} is no usable ONNX graph.") from error
    inputs = [entry.name for entry in session.get_inputs()]
    outputs = [entry.name for entry in session.get_outputs()]
    if inputs != ["image"] or outputs != ["scores"]:
        raise BundleError(f"{path} maps {inputs} to {outputs}, not image to scores.")
    return session
