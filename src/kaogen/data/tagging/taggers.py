"""What a face shows, judged by ONNX taggers: the built-in one, others like it, the field's own.

:func:`open_tagger` opens any of them, or several together. kaogen's own kind, :class:`Tagger`, is
two files side by side. ``NAME.onnx`` takes ``image``, float32 ``[N, 3, S, S]``, RGB
in [0, 1], and gives ``scores``, float32 ``[N, T]``, probabilities; after those it may give more,
such as ``features``. ``NAME.json`` says what the T
scores mean, from which score on a tag counts, which tags exclude each other, which ones the
tagger judges well enough to be believed, and the graph's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.tagging.onnx_session import open_session
from kaogen.data.tagging.tag_rules import Row, TagReader, TagRule, Thresholds
from kaogen.errors import BundleError, ConfigError, InputError, ModelNotFoundError
from kaogen.tags import Vocabulary

__all__ = ["BUILTIN", "AnyTagger", "TagRule", "Tagger", "Thresholds", "open_tagger"]

Pixels = npt.NDArray[np.uint8]
Combine = Literal["max", "mean", "first"]

BUILTIN = "builtin"
_BATCH = 32
_MAX_BYTES = 256 * 2**20


class AnyTagger(Protocol):
    """What every tagger can do; all may be pickled, for worker processes."""

    @property
    def names(self) -> tuple[str, ...]:
        """One per score, spelt as the vocabulary spells them."""
        ...

    @property
    def rules(self) -> tuple[TagRule, ...]:
        """How each score is read."""
        ...

    @property
    def size(self) -> int:
        """Edge in pixels of what the network sees; more of a picture is no use to it."""
        ...

    @property
    def margin(self) -> float | None:
        """Margin of the faces it learnt from, as `crops.crop` counts it; None sees what is cut."""
        ...

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Probabilities ``[N, T]`` of N pictures, each uint8 RGB ``[H, W, 3]`` of any size."""
        ...

    def tags(self, row: Row) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means, with their scores, in the scores' order."""
        ...

    def describe(self) -> dict[str, Any]:
        """What it is, for a data set's provenance."""
        ...


def open_tagger(
    spec: str,
    vocabulary: Vocabulary | None = None,
    *,
    combine: Combine = "max",
    thresholds: Thresholds | None = None,
) -> AnyTagger:
    """Open the tagger that ``spec`` names.

    Args:
        spec: "builtin"; the path of a ``.onnx`` file (kaogen's own format, or WD, DeepDanbooru or
            illustration2vec, told by the tag file beside it); "hub:OWNER/NAME", optionally with
            "@REVISION" and "/FILE.onnx", from the Hugging Face hub; or several of these with "+"
            between them.
        vocabulary: what foreign tags are mapped onto; None keeps all of them by their own names.
        combine: how several taggers' scores become one: see :class:`CombinedTagger`.
        thresholds: over the tagger's own; of several taggers, on their common scale.

    Raises:
        ConfigError: the spec or a threshold cannot be, or no tag is of the vocabulary.
        UnknownTagError: a threshold is set for a tag that the tagger does not have.
        ModelNotFoundError: a file is not there.
        BundleError: a graph or its tag file cannot be used.
        MissingExtraError: "hub:" without huggingface_hub.
    """
    from kaogen.data.tagging.combine import RULES, CombinedTagger

    if combine not in RULES:
        raise ConfigError(f"--combine {combine} is none of {', '.join(RULES)}.")
    thresholds = thresholds or Thresholds()
    parts = _split(spec)
    if len(parts) == 1:
        return _open_one(parts[0], vocabulary, thresholds)
    opened = [_open_one(part, vocabulary, Thresholds()) for part in parts]
    return CombinedTagger(opened, combine, thresholds)


def _split(spec: str) -> list[str]:
    """ "builtin+a+b.onnx+hub:o/n" -> its parts; a path may hold a plus."""
    if Path(spec).is_file():
        return [spec]
    part = r"(?:builtin|hub:[^+]+|.+?\.onnx)"
    if not re.fullmatch(rf"{part}(?:\+{part})*", spec, re.DOTALL):
        raise ConfigError(
            f"the tagger {spec!r} is none that is known.",
            hint="Write builtin, PATH.onnx or hub:OWNER/NAME, or several with + between them.",
        )
    return re.findall(rf"({part})(?:\+|$)", spec, re.DOTALL)


def _open_one(spec: str, vocabulary: Vocabulary | None, thresholds: Thresholds) -> AnyTagger:
    from kaogen.data.tagging.onnx_taggers import OnnxTagger, find_layout

    if spec == BUILTIN:
        return Tagger.load().with_thresholds(thresholds)
    if spec.startswith("hub:"):
        from kaogen.data.tagging.hub import fetch

        path = fetch(spec)
    else:
        path = Path(spec)
    layout = find_layout(path)
    if layout is None:
        return Tagger.load(path).with_thresholds(thresholds)
    return OnnxTagger(path, *layout, vocabulary, thresholds)


class Tagger:
    """A loaded tagger. Build it with :meth:`load`; may be pickled (it is loaded again).

    Attributes:
        path: the ``.onnx`` file.
        size: edge in pixels of what the network sees.
        margin: of the faces it learnt from, as `crops.crop` counts it, or None.
        rules: one per score, in the scores' order.
        exclusive: group -> columns of which the best alone counts.
        sha256: hex digest of the graph.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], graph: bytes) -> None:
        self.path = path
        self.thresholds = Thresholds()
        self.sha256 = hashlib.sha256(graph).hexdigest()
        if info.get("sha256") != self.sha256:
            raise BundleError(
                f"{path} is not the file that its .json describes (SHA-256 differs).",
                hint="Copy both files again.",
            )
        try:
            self.size, self.rules, self.exclusive = _read_info(info)
            margin = info.get("margin")
            self.margin = None if margin is None else min(max(float(margin), 0.0), 4.0)
            self._reader = TagReader(self.rules, self.exclusive)
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise BundleError(
                f"{path.with_suffix('.json')} does not describe a tagger ({error!r})."
            ) from error
        self._session = open_session(graph, path)
        inputs = [entry.name for entry in self._session.get_inputs()]
        outputs = [entry.name for entry in self._session.get_outputs()]
        if inputs != ["image"] or outputs[:1] != ["scores"]:
            raise BundleError(f"{path} maps {inputs} to {outputs}, not image to scores.")
        shape = self._session.get_outputs()[0].shape
        if shape[-1] != len(self.rules):
            raise BundleError(f"{path} gives {shape[-1]} scores, its .json has {len(self.rules)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The tags, in the scores' order."""
        return tuple(rule.name for rule in self.rules)

    def with_thresholds(self, thresholds: Thresholds) -> Self:
        """Let these thresholds count over its own; UnknownTagError for a tag it does not have."""
        self.rules = thresholds.apply(self.rules)
        self.thresholds = thresholds
        self._reader = TagReader(self.rules, self.exclusive, mcut=thresholds.mcut)
        return self

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

    def tags(self, row: Row) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means: see :meth:`TagReader.tags`."""
        return self._reader.tags(row)

    def describe(self) -> dict[str, Any]:
        """Name, SHA-256 and learnt tags, for a data set's provenance."""
        learnt = [rule.name for rule in self.rules if rule.learnt]
        own = {"name": self.path.name, "sha256": self.sha256, "learnt": learnt}
        return own | self.thresholds.describe()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (type(self), self.path, self.thresholds))

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


def _reload(kind: type[Tagger], path: Path, thresholds: Thresholds) -> Tagger:
    return kind.load(path).with_thresholds(thresholds)
