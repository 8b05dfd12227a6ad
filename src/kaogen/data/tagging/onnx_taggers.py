"""The field's ONNX taggers: WD (v1.4, v3), DeepDanbooru and illustration2vec.

Each is a graph with a list of its tags beside it; which list it is tells the layout:

=================  =======================  ===================================================
WD                 ``selected_tags.csv``    ``[N, 448, 448, 3]`` BGR 0..255, white squares
DeepDanbooru       ``tags.txt``             ``[N, 512, 512, 3]`` RGB 0..1, edges drawn out
illustration2vec   ``tag_list.json``        ``[N, 3, 224, 224]`` BGR less a mean, stretched
=================  =======================  ===================================================

The list may also carry the graph's own name (``wd.onnx``, ``wd.csv``); the size is the graph's.
Pictures go through one by one, so that a picture's scores do not depend on its neighbours.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.tagging.foreign_tags import map_columns
from kaogen.data.tagging.onnx_session import file_sha256, open_session
from kaogen.data.tagging.tag_rules import Row, TagReader, TagRule, Thresholds, read_exclusive
from kaogen.errors import BundleError, ConfigError, ModelNotFoundError
from kaogen.tags import Vocabulary

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
# What a column means: a tag, or None for a character, a series or a rating.
Columns = list[str | None]

# The best hair colour of a picture without hair is no hair colour.
_FLOOR = 0.1
_MAX_LIST = 32 * 2**20
_SIZES = range(32, 1025)
# illustration2vec's mean of blue, green, red over its training set.
_I2V_MEAN = np.array([164.76139251, 167.47864617, 181.13838569], dtype=np.float32)
_I2V_COUNT, _I2V_GENERAL = 1539, 512


@dataclass(frozen=True)
class Layout:
    """What one family of taggers is given and gives.

    Attributes:
        name: the family.
        list_name: the usual name of its list of tags.
        shape: the graph's input; None for the number of pictures and for the edge.
        size: the edge where the graph does not say.
        threshold: the score from which on its authors count a tag.
        draw: picture and edge -> float32 input of one picture.
        read: the list's text and folder -> its columns.
    """

    name: str
    list_name: str
    shape: tuple[int | None, ...]
    size: int
    threshold: float
    draw: Callable[[Pixels, int], Scores]
    read: Callable[[str, Path], Columns]


def _draw_wd(image: Pixels, size: int) -> Scores:
    height, width = image.shape[:2]
    edge = max(height, width)
    square = Image.new("RGB", (edge, edge), "white")
    square.paste(Image.fromarray(image), ((edge - width) // 2, (edge - height) // 2))
    square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(square, dtype=np.float32)[:, :, ::-1]


def _draw_deepdanbooru(image: Pixels, size: int) -> Scores:
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    # As its own tools: areas are averaged; what is enlarged is smooth.
    kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(image).resize(new, kind), dtype=np.float32)
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    sides = ((top, size - new[1] - top), (left, size - new[0] - left), (0, 0))
    return np.pad(small, sides, mode="edge") / np.float32(255)


def _draw_illustration2vec(image: Pixels, size: int) -> Scores:
    small = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return (np.asarray(small, dtype=np.float32)[:, :, ::-1] - _I2V_MEAN).transpose(2, 0, 1)


def _read_wd(text: str, _folder: Path) -> Columns:
    rows = csv.DictReader(text.splitlines())
    if {"name", "category"} - set(rows.fieldnames or ()):
        raise ValueError("it has no columns name and category")
    # Category 0 is general; 4 is characters, 9 ratings.
    return [row["name"] if row["category"] == "0" else None for row in rows]


def _read_deepdanbooru(text: str, folder: Path) -> Columns:
    beside = folder / "tags-character.txt"
    hidden = set(beside.read_text(encoding="utf-8").split()) if beside.is_file() else set()
    words = [line.strip() for line in text.splitlines() if line.strip()]
    return [None if w in hidden or w.startswith("rating:") else w for w in words]


def _read_illustration2vec(text: str, _folder: Path) -> Columns:
    words = json.loads(text)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("it is no list of tags")
    if len(words) != _I2V_COUNT:
        return list(words)
    # 512 general tags, 512 characters, 512 series, 3 ratings.
    return [word if i < _I2V_GENERAL else None for i, word in enumerate(words)]


LAYOUTS = (
    Layout("WD", "selected_tags.csv", (None, None, None, 3), 448, 0.35, _draw_wd, _read_wd),
    Layout(
        "DeepDanbooru",
        "tags.txt",
        (None, None, None, 3),
        512,
        0.5,
        _draw_deepdanbooru,
        _read_deepdanbooru,
    ),
    Layout(
        "illustration2vec",
        "tag_list.json",
        (None, 3, None, None),
        224,
        0.25,
        _draw_illustration2vec,
        _read_illustration2vec,
    ),
)


def find_layout(path: Path) -> tuple[Layout, Path] | None:
    """The layout of the graph at ``path`` and its list of tags; None for kaogen's own format.

    Raises:
        ModelNotFoundError: there is no such graph, or no list of tags beside it.
        BundleError: several lists stand beside it, of several layouts.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no tagger file {path}.")
    own = path.with_suffix(".json")
    # A list beside it is illustration2vec's; all else is for kaogen's own format to judge.
    if own.is_file() and not _starts_a_list(own):
        return None
    for names in (lambda layout: _renamed(path, layout), lambda layout: layout.list_name):
        files = [(layout, path.with_name(names(layout))) for layout in LAYOUTS]
        found = [(layout, file) for layout, file in files if file.is_file()]
        if len(found) > 1:
            lists = " and ".join(file.name for _, file in found)
            raise BundleError(
                f"{path} has {lists} beside it, which belong to different taggers.",
                hint="Keep each tagger in a folder of its own.",
            )
        if found:
            return found[0]
    lists = ", ".join(f"{layout.list_name} ({layout.name})" for layout in LAYOUTS)
    raise ModelNotFoundError(
        f"there is no list of tags beside {path}.",
        hint=f"It needs one of {lists} or {own.name} (kaogen) in its folder.",
    )


class OnnxTagger:
    """A tagger of the field, its tags mapped onto a vocabulary; see :class:`AnyTagger`.

    Args:
        path: the graph.
        layout: its family.
        list_path: its list of tags.
        vocabulary: what its tags are mapped onto, by name, alias or as a narrower tag (low
            twintails are twin tails); the best score counts where several mean one. None keeps all
            general tags by their own names.
        thresholds: over its authors' own.

    Raises:
        BundleError: the graph and the list do not fit the layout or each other.
        ConfigError: none of its tags is of the vocabulary.
        UnknownTagError: a threshold is set for a tag that it does not have.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        list_path: Path,
        vocabulary: Vocabulary | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self.path, self.layout, self.list_path = path, layout, list_path
        self._vocabulary, self._thresholds = vocabulary, thresholds or Thresholds()
        columns = _read_list(layout, list_path)
        self.names, self._columns, self._starts = map_columns(columns, vocabulary)
        if not self.names:
            raise ConfigError(f"{path} knows no tag of the vocabulary.")
        self._session = open_session(path, path)
        self.size, self._type = _check_input(path, layout, self._session)
        self.margin: float | None = None  # these have learnt from whole pictures
        self._output, self._sigmoid = self._probe(len(columns))
        exclusive = read_exclusive(self.names)
        group_of = {i: group for group, members in exclusive.items() for i in members}
        own = [
            TagRule(name, layout.threshold, group_of.get(i), learnt=True)
            for i, name in enumerate(self.names)
        ]
        self.rules = self._thresholds.apply(own)
        mcut = self._thresholds.mcut
        self._reader = TagReader(self.rules, exclusive, floor=_FLOOR, mcut=mcut)

    def scores(self, images: Sequence[Pixels]) -> Scores:
        """Probabilities ``[N, T]`` in [0, 1] of N pictures, each uint8 RGB ``[H, W, 3]``."""
        out = np.empty((len(images), len(self.names)), dtype=np.float32)
        for row, image in zip(out, images, strict=True):
            given = self._run([self._output], image)[0].reshape(-1).astype(np.float32)
            if self._sigmoid:
                given = 1 / (1 + np.exp(-given.clip(-80, 80)))
            np.maximum.reduceat(given[self._columns], self._starts, out=row)
        return out.clip(0, 1)

    def tags(self, row: Row) -> list[tuple[str, float]]:
        """The tags that a row of scores ``[T]`` means: see :meth:`TagReader.tags`."""
        return self._reader.tags(row)

    def describe(self) -> dict[str, Any]:
        """Name, layout, SHA-256 of graph and list, and tags, for a data set's provenance."""
        return {
            "name": self.path.name,
            "layout": self.layout.name,
            "sha256": file_sha256(self.path),
            "list_sha256": file_sha256(self.list_path),
            "learnt": list(self.names),
        } | self._thresholds.describe()

    def __reduce__(self) -> tuple[Any, ...]:
        # By the layout's name: its functions need not be pickled.
        parts = (self.path, self.layout.name, self.list_path, self._vocabulary, self._thresholds)
        return (_reload, parts)

    def _run(self, outputs: list[str] | None, image: Pixels) -> list[Any]:
        assert image.dtype == np.uint8, image.dtype
        assert image.ndim == 3, image.shape  # [H, W, 3]
        entry = np.ascontiguousarray(self.layout.draw(image, self.size)[None], dtype=self._type)
        given: list[Any] = self._session.run(outputs, {self._session.get_inputs()[0].name: entry})
        return given

    def _probe(self, count: int) -> tuple[str, bool]:
        """The output that holds the scores, and whether it is logits; tried on a grey ramp."""
        ramp = np.linspace(0, 255, self.size).astype(np.uint8)
        picture = np.broadcast_to(ramp[:, None, None], (self.size, self.size, 3))
        try:
            given = self._run(None, np.ascontiguousarray(picture))
        except Exception as error:  # onnxruntime's errors share no base but this
            raise BundleError(
                f"{self.path} cannot be run as a {self.layout.name} tagger."
            ) from error
        outputs = [entry.name for entry in self._session.get_outputs()]
        fit = {n: v for n, v in zip(outputs, given, strict=True) if np.size(v) == count}
        if not fit:
            sizes = " or ".join(f"{np.size(value):,}" for value in given)
            raise BundleError(
                f"{self.path} gives {sizes} scores, {self.list_path.name} lists {count:,} tags.",
                hint="Take both files from the same place.",
            )
        for name, value in fit.items():
            if np.min(value) >= -1e-4 and np.max(value) <= 1 + 1e-4:
                return name, False
        return next(iter(fit)), True


def _reload(path: Path, name: str, *rest: Any) -> OnnxTagger:
    return OnnxTagger(path, next(layout for layout in LAYOUTS if layout.name == name), *rest)


def _renamed(path: Path, layout: Layout) -> str:
    return path.with_suffix(Path(layout.list_name).suffix).name


def _starts_a_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"["


def _read_list(layout: Layout, path: Path) -> Columns:
    if path.stat().st_size > _MAX_LIST:
        raise BundleError(f"{path} is larger than {_MAX_LIST >> 20} MiB.")
    try:
        columns = layout.read(path.read_text(encoding="utf-8-sig"), path.parent)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise BundleError(f"{path} is no list of {layout.name} tags ({error}).") from error
    if not columns:
        raise BundleError(f"{path} lists no tags.")
    return columns


def _check_input(path: Path, layout: Layout, session: Any) -> tuple[int, npt.DTypeLike]:
    """Edge and number type of what the graph takes; BundleError when it is of another layout."""
    inputs = session.get_inputs()
    shape = inputs[0].shape
    kinds = {"tensor(float)": "float32", "tensor(float16)": "float16"}
    fits = len(shape) == 4 and all(
        want is None or have == want or not isinstance(have, int)
        for have, want in zip(shape, layout.shape, strict=True)
    )
    edges = [n for n, want in zip(shape[1:], layout.shape[1:], strict=False) if want is None]
    given = {n for n in edges if isinstance(n, int)}
    if len(inputs) != 1 or inputs[0].type not in kinds or not fits or len(given) > 1:
        wanted = ", ".join("size" if n is None else str(n) for n in layout.shape[1:])
        raise BundleError(
            f"{path} takes {[entry.shape for entry in inputs]} of {inputs[0].type}; "
            f"a {layout.name} tagger takes [N, {wanted}] of floats."
        )
    size = given.pop() if given else layout.size
    if size not in _SIZES:
        raise BundleError(f"{path} takes pictures of {size} x {size}; 32 to 1024 are usual.")
    return size, kinds[inputs[0].type]
