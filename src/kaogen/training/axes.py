"""What each axis of each tensor means: the ground on which `transfer` matches two networks.

An axis's name says whose channels it counts. `<name` is an axis of inputs whose gain is
1 / sqrt(inputs), `~name` one of inputs without a gain; without a mark it counts outputs. `a+b` are
two after one another, `a*16` is `a` with 16 entries each, "" must be equal in both networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from kaogen.nets.config import NetConfig

State = dict[str, Tensor]
Axes = dict[str, tuple[str, ...]]

INPUTS = ("<", "~")


def generator_axes(net: NetConfig, state: State, conditioning: str) -> Axes:
    """Of a generator's state.

    Args:
        net: its shapes.
        state: its tensors.
        conditioning: its own, or without labels that of the network it is compared with.

    """
    axes: Axes = {"mapping.w_avg": ("w",)}
    if conditioning == "paper":
        axes["mapping.label_concat"] = ("~tags", "label")
    else:
        axes |= dense("mapping.embed", "<tags", "embed")
    before = "z+label" if conditioning == "paper" else "z+embed"
    for i in range(net.mapping_layers):
        made = "w" if i == net.mapping_layers - 1 else f"w{i}"
        axes |= dense(f"mapping.dense{i}", f"<{before}", made)
        before = made
    channels = "const"
    for size in net.sizes:
        block = f"synthesis.b{size}"
        layers = ("conv",) if size == net.base else ("conv0_up", "conv1")
        if size == net.base:
            axes[f"{block}.const"] = (channels, "rows", "columns")
        for layer in layers:
            made = f"b{size}.{layer}" if layer == "conv0_up" else f"b{size}"
            axes |= styled(f"{block}.{layer}", channels, made, f"<{before}")
            channels = made
        axes |= styled(f"{block}.to_rgb", channels, "image", f"<{before}")
    return {name: described for name, described in axes.items() if name in state}


def dense(name: str, inputs: str, outputs: str) -> Axes:
    """A fully connected layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv(name: str, inputs: str, outputs: str) -> Axes:
    """A convolution."""
    return {f"{name}.weight": (outputs, inputs, "", ""), f"{name}.bias": (outputs,)}


def styled(name: str, inputs: str, outputs: str, w: str) -> Axes:
    """A modulated convolution with its affine map of w and its noise."""
    own = {f"{name}.noise_strength": (), f"{name}.noise_const": ("", "")}
    return conv(name, f"<{inputs}", outputs) | dense(f"{name}.affine", w, inputs) | own


def critic_axes(net: NetConfig, state: State) -> Axes:
    """Of a discriminator's state, under its roles; see `names_by_role`."""
    axes = residual_axes(net) if net.critic == "stylegan2" else head_axes(state)
    return {name: described for name, described in axes.items() if name in state}


def residual_axes(net: NetConfig) -> Axes:
    """The residual discriminator's; `in64` are the channels that reach 64 px."""
    axes = conv(f"from_rgb{net.resolution}", "<image", f"in{net.resolution}")
    for size in net.sizes[:0:-1]:
        given, half, made = f"<in{size}", f"b{size}.conv0", f"in{size // 2}"
        axes |= conv(f"b{size}.conv0", given, half)
        axes |= conv(f"b{size}.conv1_down", f"<{half}", made)
        axes |= conv(f"b{size}.skip", given, made)
    axes |= conv("conv", f"<in{net.base}+stddev", "conv")
    axes |= dense("dense0", f"<conv*{net.base**2}", "dense0")
    # One score for all, or one for each tag: these two cannot be told as one another.
    per_tag = bool(net.num_tags) and net.conditioning == "paper"
    axes |= dense("output", "<dense0", "tags" if per_tag else "score")
    return axes | dense("project", "<tags", "dense0")


def head_axes(state: State) -> Axes:
    """The feature critic's: widths are the same in all networks, only tags and image vary."""
    axes: Axes = {}
    for name, value in state.items():
        described = [""] * value.dim()
        if ".project." in name and name.endswith(("weight.original", "weight.0._v")):
            described[-1] = "~tags"
        elif name.startswith("heads.0.layers.first") and name.endswith("weight.original"):
            described[1] = "~image"
        axes[name] = tuple(described)
    return axes


def names_by_role(net: NetConfig, state: State) -> dict[str, str]:
    """What a discriminator's tensors do -> what they are called.

    FromRGB is told by its resolution. A feature head halves its map as often as its size asks for:
    its layers are counted apart from the 3x3 one that small maps begin with.
    """
    if net.critic == "stylegan2":
        at = f"from_rgb{net.resolution}."
        return {re.sub(r"^from_rgb\.", at, name): name for name in state}
    return {head_role(name, lambda key: state[key]): name for name in state}


def head_role(name: str, tensor: Callable[[str], Tensor]) -> str:
    """heads.2.layers.1.bias -> heads.2.layers.down0.bias, after a 3x3 layer 0."""
    found = re.match(r"(heads\.\d+\.layers\.)(\d+)\.", name)
    if not found:
        return name
    stem, number = found[1], int(found[2])
    weight = tensor(f"{stem}0.parametrizations.weight.original")
    begins = weight.shape[-1] == 3
    role = "first" if begins and number == 0 else f"down{number - begins}"
    return f"{stem}{role}.{name[found.end() :]}"


def sizes_of(net: NetConfig, state: State, axes: Axes) -> dict[str, int]:
    """How many channels each axis counts; 0 for the labels' where there are none."""
    sizes = {"z": net.z_dim, "stddev": 1, "label": 0, "embed": 0}
    for name, described in axes.items():
        for place, axis in enumerate(described):
            key = axis.lstrip("<~")
            if key and "+" not in key and "*" not in key:
                sizes[key] = state[name].shape[place]
    return sizes
