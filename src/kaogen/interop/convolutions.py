"""3x3 convolutions, plain and doubling, in the forms that onnxruntime runs fastest.

Which form a layer takes is fixed by its shape alone, so that the same weights make the same file.
Ratios by `benchmarks/graphs.py --forms`, one thread, beside the plain form of the same layer:

- from 128 channels on, Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional
  Neural Networks", 2015): a quarter of the multiplications, as one batch of matrix products;
- doubling from 128 channels and 16 px on, four small convolutions, one for each parity of row and
  column, whose results are interleaved. onnxruntime's own transposed convolution scatters the
  products of all nine taps, at twice the time of a convolution of as many multiplications.

Weights are stored as they are; every form is made from them at load.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from kaogen.interop.graph import Graph

Floats = npt.NDArray[np.float32]

# The [1,3,3,1] filter along one axis, summing to 1.
TAPS = np.array([1, 3, 3, 1], np.float32) / 8

# Fewer channels, or fewer tiles, and the transforms cost more than they save.
WINOGRAD_CHANNELS = 128
WINOGRAD_TILES = 16
SPLIT_CHANNELS = 128
SPLIT_PIXELS = 256

TILE = 4  # pixels of the result along an edge of one tile; 4 + 3 - 1 = 6 of the input
# Interpolation at 0, 1, -1, 2, -2 and infinity: input, kernel and result.
INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
KERNEL = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32
)  # times 24, so that it is exact
RESULT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float32,
)


def conv3x3(g: Graph, x: str, layer: str, weight: Floats, shape: tuple[int, int]) -> str:
    """Convolution padded to keep the size; `shape` is its input's height and width.

    Args:
        g: the graph.
        x: [1, I, H, W].
        layer: the weights become the constant `LAYER.weight`.
        weight: [O, I, 3, 3].
        shape: H and W.

    """
    kernel = g.kernel(f"{layer}.weight", weight)
    if _winograd_pays(weight, shape):
        return winograd(g, x, kernel, weight.shape, shape)
    return g.add("Conv", x, kernel, pads=[1, 1, 1, 1])


def conv3x3_up(g: Graph, x: str, layer: str, weight: Floats, shape: tuple[int, int]) -> str:
    """Transposed convolution of stride 2, then the [1,3,3,1] filter with gain 4.

    [1, I, H, W] -> [1, O, 2H, 2W]; arguments as of `conv3x3`. The constant `LAYER.weight` is the
    transposed convolution's, [I, O, 3, 3] and turned round.
    """
    channels = weight.shape[0]
    # Transposed convolution adds the kernel's mirror image; StyleGAN2 means a correlation.
    turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    kernel = g.kernel(f"{layer}.weight", turned)
    if weight.shape[1] < SPLIT_CHANNELS or math.prod(shape) < SPLIT_PIXELS:
        x = g.add("ConvTranspose", x, kernel, strides=[2, 2])
        return filter2(g, x, channels, pads=[1, 1, 1, 1])
    return split_up(g, x, kernel, channels, shape)


def filter2(g: Graph, x: str, channels: int, pads: list[int]) -> str:
    """The [1,3,3,1] filter along both axes with gain 4, channel by channel."""
    name = f"filter{channels}"
    return g.add("Conv", x, g.weight(name, _filter(channels)), pads=pads, group=channels)


def upsample(g: Graph, rgb: str, channels: int) -> str:
    """Twice the size by the [1,3,3,1] filter with gain 4, channel by channel."""
    weight = g.weight(f"filter{channels}", _filter(channels))
    pads = [1, 1, 1, 1]
    return g.add("ConvTranspose", rgb, weight, strides=[2, 2], pads=pads, group=channels)


def _filter(channels: int) -> Floats:
    return np.tile(np.outer(TAPS, TAPS) * 4, (channels, 1, 1, 1))


def _winograd_pays(weight: Floats, shape: tuple[int, int]) -> bool:
    whole = all(edge % TILE == 0 for edge in shape)
    enough = math.prod(shape) >= WINOGRAD_TILES * TILE**2
    return whole and enough and min(weight.shape[:2]) >= WINOGRAD_CHANNELS


def winograd(g: Graph, x: str, kernel: str, weight: tuple[int, ...], shape: tuple[int, int]) -> str:
    """result' [(kernel w kernel') * (input x input')] result, tile by tile, over all channels."""
    outputs, inputs = weight[:2]
    (h, w), (down, across) = shape, (edge // TILE for edge in shape)
    tiles = down * across

    # Of the weights: at load.
    points = g.exact("winograd.kernel", np.kron(KERNEL, KERNEL).T / 24**2)  # [9, 36]
    u = g.add("MatMul", g.reshape(kernel, outputs * inputs, 9), points)
    u = g.reshape(g.add("Transpose", u, perm=[1, 0]), 36, outputs, inputs)

    # Each channel is a picture of its own here: one convolution of stride 4 cuts the tiles out and
    # transforms them.
    pairs = np.kron(INPUT, INPUT).reshape(36, 1, 6, 6)
    v = g.reshape(x, inputs, 1, h, w)
    v = g.add("Conv", v, g.exact("winograd.input", pairs), strides=[TILE, TILE], pads=[1, 1, 1, 1])
    v = g.add("Transpose", g.reshape(v, inputs, 36, tiles), perm=[1, 0, 2])

    m = g.reshape(g.add("MatMul", u, v), 36, outputs * tiles)
    y = g.add("MatMul", g.exact("winograd.result", np.kron(RESULT, RESULT)), m)  # [16, O * tiles]
    # Whole rows of tiles first, single numbers last: the second is onnxruntime's fast transpose.
    y = g.add("Transpose", g.reshape(y, TILE**2, outputs * down, across), perm=[1, 0, 2])
    y = g.reshape(y, outputs, h, TILE, across)
    return g.reshape(g.add("Transpose", y, perm=[0, 1, 3, 2]), 1, outputs, h, w)


def split_up(g: Graph, x: str, kernel: str, channels: int, shape: tuple[int, int]) -> str:
    """`conv3x3_up` by four small convolutions; `kernel` is its constant."""
    x = _interleave(g, _parities(g, x, kernel), channels, shape)
    # A row and a column of zeros stand behind the last already.
    return filter2(g, x, channels, pads=[1, 1, 0, 0])


def _parities(g: Graph, x: str, kernel: str) -> list[str]:
    """Even and odd rows, and in each even and odd columns, of the transposed convolution.

    [1, I, H, W] -> four of [1, O, H + 1, W + 1]; of the odd ones the last row (column) is zero.
    """
    # Even pixels see taps 2 and 0 of the (turned) kernel, odd ones tap 1.
    taps = ([2, 0], [1])
    found = []
    square = g.add("Transpose", kernel, perm=[1, 0, 2, 3])
    for row in (0, 1):
        rows = g.add("Gather", square, g.exact(f"taps{row}", taps[row], np.int64), axis=2)
        for column in (0, 1):
            chosen = g.exact(f"taps{column}", taps[column], np.int64)
            part = g.add("Gather", rows, chosen, axis=3)
            found.append(g.add("Conv", x, part, pads=[1 - row, 1 - column, 1, 1]))
    return found


def _interleave(g: Graph, parities: list[str], channels: int, shape: tuple[int, int]) -> str:
    """Four of [1, O, H + 1, W + 1] -> [1, O, 2H + 2, 2W + 2]."""
    h, w = (edge + 1 for edge in shape)

    rows = [g.reshape(part, channels, h, 1, w) for part in parities]
    both = g.reshape(g.add("Concat", *rows, axis=2), channels, h, 2, 2, w)
    y = g.add("Transpose", both, perm=[0, 1, 2, 4, 3])
    return g.reshape(y, 1, channels, 2 * h, 2 * w)
