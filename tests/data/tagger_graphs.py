"""Real little graphs in the layouts of the field's taggers, which tell what they were shown.

Their nine scores are the colours, 0 for none and 1 for full, that a graph of the layout sees at
three points of its square: the upper left corner, the middle of the left half and the middle of
the right half. Wrong channels, ranges, means, padding, stretching or axes change them.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BGR = ("blue", "green", "red")
POINTS = ("corner", "left", "right")
I2V_MEAN = (164.76139251, 167.47864617, 181.13838569)
NAMES = [f"{point} {colour}" for point in POINTS for colour in ("red", "green", "blue")]


def points_graph(
    path: Path,
    shape: list[int | str],
    *,
    first: bool = False,
    mean: tuple[float, float, float] = (0, 0, 0),
    full: float = 255,
    tail: str = "",
    outputs: tuple[str, ...] = ("prob",),
) -> Path:
    """Write a graph of input `shape`, with channels `first` or last, that looks at three points.

    A colour is (value + mean) / full. `tail` "logits" gives logits, "4d" gives [N, 9, 1, 1].
    """
    size = int(shape[2])
    nodes = [] if not first else [helper.make_node("Transpose", ["in"], ["x"], perm=[0, 2, 3, 1])]
    consts = {"mean": np.array(mean, np.float32), "full": np.array(full, np.float32)}
    nodes += [
        helper.make_node("Add", ["x" if first else "in", "mean"], ["lifted"]),
        helper.make_node("Div", ["lifted", "full"], ["colours"]),
    ]
    for name, (y, x) in zip(
        POINTS, [(0, 0), (size // 2, size // 4), (size // 2, size * 3 // 4)], strict=True
    ):
        consts |= {f"{name}0": np.array([y, x]), f"{name}1": np.array([y + 1, x + 1])}
        slices = ["colours", f"{name}0", f"{name}1", "axes"]
        nodes.append(helper.make_node("Slice", slices, [name]))
    nodes.append(helper.make_node("Concat", list(POINTS), ["all"], axis=1))
    final = [-1, 9, 1, 1] if tail == "4d" else [-1, 9]
    consts |= {"axes": np.array([1, 2]), "final": np.array(final)}
    nodes.append(helper.make_node("Reshape", ["all", "final"], [outputs[0]]))
    if tail == "logits":
        nodes[-1].output[0] = "p"
        consts |= {"one": np.array(1.0, np.float32)}
        nodes += [
            helper.make_node("Sub", ["one", "p"], ["q"]),
            helper.make_node("Div", ["p", "q"], ["odds"]),
            helper.make_node("Log", ["odds"], [outputs[0]]),
        ]
    if len(outputs) > 1:
        nodes.append(helper.make_node("Sigmoid", [outputs[0]], [outputs[1]]))
    shown = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *final[1:]])
        for name in outputs
    ]
    graph = helper.make_graph(
        nodes,
        "points",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        shown,
        [numpy_helper.from_array(value, name) for name, value in consts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def wd(folder: Path, size: int = 48, **changes: object) -> Path:
    """A WD tagger: BGR 0..255, NHWC, with a rating and a character that are no tags."""
    path = points_graph(folder / "model.onnx", ["n", size, size, 3], **changes)  # type: ignore[arg-type]
    words = [f"{point}_{colour}" for point in POINTS for colour in BGR]
    rows = [f"{i},{word},0,{9 - i}" for i, word in enumerate(words)]
    text = "\n".join(["tag_id,name,category,count", *rows])
    (folder / "selected_tags.csv").write_text(text + "\n", encoding="utf-8")
    return path


def deepdanbooru(folder: Path, size: int = 48) -> Path:
    """A DeepDanbooru tagger: RGB 0..1, NHWC, its batch fixed at one."""
    path = points_graph(folder / "dd.onnx", [1, size, size, 3], full=1)
    words = [name.replace(" ", "_") for name in NAMES]
    (folder / "tags.txt").write_text("\n".join(words) + "\n\n", encoding="utf-8")
    return path


def illustration2vec(folder: Path, size: int = 48) -> Path:
    """An illustration2vec tagger: BGR less its mean, NCHW, scores [N, T, 1, 1]."""
    path = points_graph(
        folder / "i2v.onnx", ["n", 3, size, size], first=True, mean=I2V_MEAN, tail="4d"
    )
    words = [f"{point} {colour}" for point in POINTS for colour in BGR]
    (folder / "tag_list.json").write_text(json.dumps(words), encoding="utf-8")
    return path
