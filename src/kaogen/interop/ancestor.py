"""A model to start a training run from: a run, a checkpoint, or the weights in a model file.

A model file holds two ONNX graphs whose constants are the generator's weights times their gains;
here they are read back and the gains undone. It holds no discriminator.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from kaogen.errors import BundleError, CheckpointError, ModelNotFoundError
from kaogen.interop.graphs import SQRT2
from kaogen.nets.config import NetConfig
from kaogen.nets.generator import Generator
from kaogen.studio import latents
from kaogen.studio.bundle import Bundle, find_bundle, open_graph, to_pixels
from kaogen.training.transfer import Source, source_of_checkpoint

Floats = npt.NDArray[np.float32]

# All that stored weights go through on their way to the networks' own operators.
STORAGE_OPS = {"Cast", "Mul", "DequantizeLinear", "Identity", "Transpose", "Reshape", "Unsqueeze"}
SEEDS = 4
TOLERANCE = 2  # grey levels: that the weights were understood, not that rounding is the same
LR_MULT = 0.01  # of the mapping's layers


def source_of(path: Path) -> Source:
    """What `--init-from` names: a run folder, a checkpoint folder, a model file or a model's name.

    Raises:
        CheckpointError, BundleError, ModelNotFoundError: it is none, or damaged.

    """
    if path.is_dir():
        return source_of_checkpoint(path)
    if path.is_file() and path.suffix in (".pkl", ".pt", ".pth", ".ckpt", ".safetensors"):
        raise CheckpointError(
            f"{path} is not a kaogen model.",
            hint="Give a run folder, one of its checkpoints, or a .kaogen file.",
        )
    try:
        return source_of_bundle(Bundle.open(find_bundle(path)))
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"There is nothing to start from at {path}.",
            hint="Give a run folder, one of its checkpoints, a .kaogen file, or faces64.",
        ) from error


def source_of_bundle(bundle: Bundle) -> Source:
    """The generator in a model file; BundleError where its graphs are not as kaogen writes them."""
    manifest = bundle.manifest
    try:
        mapping = constants_of(bundle.entry("mapping.onnx"))
        synthesis = constants_of(bundle.entry("synthesis.onnx"))
        net = net_of(bundle, mapping, synthesis)
        state = mapping_state(net, mapping) | synthesis_state(net, synthesis)
        state["mapping.w_avg"] = np.array(manifest.truncation.w_avg, np.float32)
        tensors = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in state.items()}
        generator = Generator(net).eval().requires_grad_(False)
        generator.load_state_dict(tensors)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise BundleError(
            f"{bundle.path}: its weights cannot be read back ({str(error).splitlines()[0]}).",
            hint="Start from the run that it was exported from.",
        ) from error
    check(bundle, generator)
    return Source(
        name=manifest.id,
        sha256=hashlib.sha256(bundle.path.read_bytes()).hexdigest(),
        kimg=manifest.trained.kimg,
        net=net,
        vocabulary=bundle.vocabulary.names,
        raw=tensors,
        ema=tensors,
        ancestors=tuple(a.model_dump() for a in manifest.trained.ancestors),
    )


def check(bundle: Bundle, generator: Generator) -> None:
    """Draw a few pictures by the weights that were read and by the file itself."""
    for seed in range(SEEDS):
        z = latents.z(seed, generator.cfg.z_dim)[None]
        row = bundle.labels[seed * len(bundle.labels) // SEEDS].astype(np.float32)[None]
        with torch.no_grad():
            ours = to_pixels(generator(torch.from_numpy(z), torch.from_numpy(row))[0].numpy())
        theirs = bundle.synthesise(bundle.map(z, row)[0])
        if np.abs(ours.astype(int) - theirs.astype(int)).max() > TOLERANCE:
            raise BundleError(
                f"{bundle.path}: the weights read from it draw other pictures than it does.",
                hint="Start from the run that it was exported from.",
            )


def constants_of(graph: bytes) -> dict[str, Floats]:
    """Every stored tensor of a graph as its operators see it: cast and scaled back to fp32."""
    open_graph(graph, "the model file")  # refuses what points at other files
    model = onnx.load_from_string(graph)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes, made = [], []
    names = set(known)
    for node in model.graph.node:
        if node.op_type in STORAGE_OPS and all(name in names for name in node.input if name):
            nodes.append(node)
            made += list(node.output)
            names |= set(node.output)
    if nodes:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made]
        part = helper.make_graph(nodes, "stored", [], outputs, model.graph.initializer)
        whole = helper.make_model(
            part, opset_imports=model.opset_import, ir_version=model.ir_version
        )
        session = open_graph(whole.SerializeToString(), "the model file's weights")
        known |= dict(zip(made, session.run(made, {}), strict=True))
    return {k: v.astype(np.float32) for k, v in known.items() if v.dtype.kind == "f"}


def net_of(bundle: Bundle, mapping: dict[str, Floats], synthesis: dict[str, Floats]) -> NetConfig:
    """The networks' shapes, read off the weights."""
    manifest = bundle.manifest
    const = synthesis["const"]
    base, base_width = const.shape[2:]
    channels = {base: const.shape[1]}
    for name, value in synthesis.items():
        found = re.fullmatch(r"b(\d+)\.conv1\.weight", name)
        if found:
            channels[int(found[1])] = value.shape[0]
    settings: dict[str, Any] = {} if base == base_width else {"base_width": base_width}
    return NetConfig(
        resolution=max(channels),
        channels=channels,
        z_dim=manifest.z_dim,
        w_dim=manifest.w_dim,
        mapping_layers=sum(re.fullmatch(r"dense\d+\.bias", name) is not None for name in mapping),
        num_tags=len(manifest.tags),
        img_channels=synthesis[f"b{base}.to_rgb.weight"].shape[0],
        base=base,
        noise=f"b{base}.conv.noise" in synthesis,
        conditioning="paper" if "label_concat" in mapping else "embed",
        **settings,
    )


def mapping_state(net: NetConfig, stored: dict[str, Floats]) -> dict[str, Floats]:
    """The inverse of `graphs.mapping_graph`'s scaling."""
    if net.conditioning == "paper":
        state = {"mapping.label_concat": stored["label_concat"]}
        width = net.z_dim + net.w_dim
    else:
        state = {
            "mapping.embed.weight": stored["embed.weight"].T * math.sqrt(net.num_tags),
            "mapping.embed.bias": stored["embed.bias"],
        }
        width = 2 * net.z_dim
    for i in range(net.mapping_layers):
        gain = SQRT2 * LR_MULT / math.sqrt(width)
        state[f"mapping.dense{i}.weight"] = stored[f"dense{i}.weight"].T / gain
        state[f"mapping.dense{i}.bias"] = stored[f"dense{i}.bias"] / (SQRT2 * LR_MULT)
        width = net.w_dim
    return state


def synthesis_state(net: NetConfig, stored: dict[str, Floats]) -> dict[str, Floats]:
    """The inverse of `graphs.synthesis_graph`'s scaling."""
    state = {f"synthesis.b{net.base}.const": stored["const"][0]}
    for size in net.sizes:
        block = f"b{size}"
        layers = ("conv",) if size == net.base else ("conv0_up", "conv1")
        for name in (*(f"{block}.{layer}" for layer in layers), f"{block}.to_rgb"):
            weight = stored[f"{name}.weight"]
            if name.endswith("conv0_up"):
                weight = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
            own = f"synthesis.{name}"
            state[f"{own}.weight"] = weight * math.sqrt(weight[0].size)
            affine = stored[f"{name}.affine.weight"].T
            state[f"{own}.affine.weight"] = affine * math.sqrt(affine.shape[1])
            state[f"{own}.affine.bias"] = stored[f"{name}.affine.bias"].reshape(-1)
            if name.endswith("to_rgb"):
                state[f"{own}.bias"] = stored[f"{name}.bias"].reshape(-1)
                continue
            state[f"{own}.bias"] = stored[f"{name}.bias"].reshape(-1) / SQRT2
            if net.noise:
                state |= noise_state(own, stored[f"{name}.noise"][0, 0] / SQRT2)
    return state


def noise_state(layer: str, product: Floats) -> dict[str, Floats]:
    """A map N(0, 1) and its strength, of which the file holds the product.

    The strength's sign is lost, which is no loss: noise has none.
    """
    strength = float(product.std()) or 1.0
    return {
        f"{layer}.noise_strength": np.array(strength if product.any() else 0.0, np.float32),
        f"{layer}.noise_const": product / strength,
    }
