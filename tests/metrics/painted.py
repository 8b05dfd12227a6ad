"""A model whose characters are plain colours, and a real tagger that reads them: known answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from kaogen.metrics.features import TaggerFeatures
from kaogen.metrics.judges import Judge
from kaogen.tags import Vocabulary
from tagger_files import save_files

NAMES = ("red hair", "green hair", "blue hair", "smile", ":d")
HAIR = list(NAMES[:3])
SIDE = 16


def write_reader(path: Path) -> Path:
    """A tagger: hair is the colour of the upper half, smile and :d are lower red and green."""
    # Features are the means R upper, R lower, G upper, ...; a score each from five of them.
    weight = np.zeros((6, 5), np.float32)
    weight[[0, 2, 4, 1, 3], range(5)] = 1
    nodes = [
        helper.make_node(
            "AveragePool", ["image"], ["pooled"], kernel_shape=[8, 16], strides=[8, 16]
        ),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["scores"]),
    ]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 5]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 6]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    weights = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "reader", inputs, outputs, weights)
    return save_files(path, graph, SIDE, NAMES, HAIR)


def open_judge(folder: Path) -> Judge:
    return Judge(TaggerFeatures("reader", write_reader(folder / "reader.onnx")), independent=True)


def label_rows(count: int, seed: int = 0) -> np.ndarray:
    """bool [count, 5]: one hair colour each; :d on a third of the smiles."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, 5), dtype=bool)
    rows[np.arange(count), rng.integers(0, 3, count)] = True
    rows[:, 3] = rng.random(count) < 0.5
    rows[:, 4] = rows[:, 3] & (rng.random(count) < 0.33)
    return rows


class Painter:
    """Draws what it is asked for; a deaf one draws any row of its own choice, by seed alone."""

    def __init__(self, rows: np.ndarray, *, deaf: bool = False, spread: float = 6) -> None:
        self.name = "deaf" if deaf else "painter"
        self.resolution = SIDE
        self.vocabulary = Vocabulary(NAMES)
        self.tags = NAMES
        self.psi = 0.7
        self.real_rows = rows
        self.deaf, self.spread = deaf, spread

    def draw(self, rows: np.ndarray, seeds: Sequence[int], psi: float) -> np.ndarray:
        return np.stack([self._one(r, s, psi) for r, s in zip(rows, seeds, strict=True)])

    def interpolate(
        self, row: np.ndarray, seeds: tuple[int, int], steps: int, psi: float
    ) -> np.ndarray:
        a, b = (self._one(row, s, psi).astype(float) for s in seeds)
        line = [a + (b - a) * k / steps for k in range(steps + 1)]
        return np.rint(np.stack(line)).astype(np.uint8)

    def _one(self, row: np.ndarray, seed: int, psi: float) -> np.ndarray:
        row = label_rows(1, seed + 10_000)[0] if self.deaf else row
        rng = np.random.default_rng(seed)
        picture = np.full((SIDE, SIDE, 3), 60.0)
        picture[:8] += 160 * np.asarray(row[:3], float)
        picture[8:, :, :2] += 160 * np.asarray(row[3:], float)
        tint = psi * rng.normal(0, self.spread, (2, 1, 3)).repeat(8, axis=0)
        return np.clip(picture + tint, 0, 255).astype(np.uint8)
