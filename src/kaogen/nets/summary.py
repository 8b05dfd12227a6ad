"""The layer tables, as the paper prints them: name, parameters, output shape, weight shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from kaogen.nets.config import NetConfig
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator


@dataclass(frozen=True)
class Row:
    """One line of a table; a shape's first "?" is the batch. Empty weight shape: no weight."""

    name: str
    params: int
    output: tuple[int | str, ...]
    weight: tuple[int, ...] = ()

    def cells(self) -> tuple[str, str, str, str]:
        """As the paper prints them."""
        output = (
            "(" + ", ".join(map(str, self.output)) + ("," if len(self.output) == 1 else "") + ")"
        )
        weight = "(" + ", ".join(map(str, self.weight)) + ")" if self.weight else "-"
        return self.name, str(self.params) if self.params else "-", output, weight


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def kernel_shape(weight: torch.Tensor) -> tuple[int, ...]:
    """Torch's [O, I, k, k] or [O, I] -> the paper's (k, k, I, O) or (I, O)."""
    if weight.dim() == 4:
        o, i, h, w = weight.shape
        return (h, w, i, o)
    return tuple(weight.shape[::-1])


def module_row(root: nn.Module, path: str, name: str, output: tuple[int | str, ...]) -> Row:
    """A row for one layer of `root`."""
    module = root.get_submodule(path)
    return Row(name, count(module), output, kernel_shape(module.get_parameter("weight")))


def generator_table(cfg: NetConfig) -> list[Row]:
    """The paper's generator table for any configuration; its parameters add up to the total."""
    with torch.device("meta"):
        net = Generator(cfg)
    rows = [Row("latents_in", 0, ("?", cfg.z_dim)), Row("labels_in", 0, ("?", cfg.num_tags))]
    # lod stands in the paper's table as a left-over of progressive growing; it has no effect.
    rows += [Row("lod", 0, ()), Row("dlatent_avg", 0, (cfg.w_dim,))]
    rows += mapping_rows(cfg, net)
    rows.append(Row("Truncation/Lerp", 0, ("?", cfg.num_ws, cfg.w_dim)))
    rows += synthesis_rows(cfg, net)
    rows.append(Row("images_out", 0, ("?", cfg.img_channels, cfg.resolution, cfg.resolution)))
    return rows


def mapping_rows(cfg: NetConfig, net: Generator) -> list[Row]:
    """G_mapping/..."""
    prefix = "G_mapping"
    rows = [Row(f"{prefix}/latents_in", 0, ("?", cfg.z_dim))]
    rows.append(Row(f"{prefix}/labels_in", 0, ("?", cfg.num_tags)))
    width = cfg.z_dim
    if cfg.num_tags and cfg.conditioning == "paper":
        table = net.mapping.label_concat
        width += cfg.w_dim
        rows.append(Row(f"{prefix}/LabelConcat", table.numel(), ("?", width), tuple(table.shape)))
    elif cfg.num_tags:
        width += cfg.z_dim
        rows.append(module_row(net, "mapping.embed", f"{prefix}/LabelEmbed", ("?", cfg.z_dim)))
    rows.append(Row(f"{prefix}/Normalize", 0, ("?", width)))
    for i in range(cfg.mapping_layers):
        rows.append(module_row(net, f"mapping.dense{i}", f"{prefix}/Dense{i}", ("?", cfg.w_dim)))
    broadcast = ("?", cfg.num_ws, cfg.w_dim)
    return [
        *rows,
        Row(f"{prefix}/Broadcast", 0, broadcast),
        Row(f"{prefix}/dlatents_out", 0, broadcast),
    ]


def synthesis_rows(cfg: NetConfig, net: Generator) -> list[Row]:
    """G_synthesis/..., block by block, then the noise maps."""
    prefix = "G_synthesis"
    rows = [Row(f"{prefix}/dlatents_in", 0, ("?", cfg.num_ws, cfg.w_dim))]
    noises: list[int] = []
    for size in cfg.sizes:
        block, at = f"synthesis.b{size}", f"{prefix}/{size}x{size}"
        out = ("?", cfg.channels[size], size, size)
        rgb = ("?", cfg.img_channels, size, size)
        if size == cfg.base:
            const = net.get_parameter(f"{block}.const")
            rows.append(Row(f"{at}/Const", const.numel(), out, (1, *const.shape)))
            rows.append(module_row(net, f"{block}.conv", f"{at}/Conv", out))
            noises.append(size)
        else:
            rows.append(module_row(net, f"{block}.conv0_up", f"{at}/Conv0_up", out))
            rows.append(module_row(net, f"{block}.conv1", f"{at}/Conv1", out))
            rows.append(Row(f"{at}/Upsample", 0, rgb))
            noises += [size, size]
        rows.append(module_row(net, f"{block}.to_rgb", f"{at}/ToRGB", rgb))
    last = ("?", cfg.img_channels, cfg.resolution, cfg.resolution)
    rows.append(Row(f"{prefix}/images_out", 0, last))
    if cfg.noise:
        rows += [Row(f"{prefix}/noise{i}", 0, (1, 1, s, s)) for i, s in enumerate(noises)]
    return rows


def discriminator_table(cfg: NetConfig) -> list[Row]:
    """The paper's discriminator table for any configuration."""
    with torch.device("meta"):
        net = Discriminator(cfg)
    size = cfg.resolution
    rows = [Row("images_in", 0, ("?", cfg.img_channels, size, size))]
    rows.append(Row("labels_in", 0, ("?", cfg.num_tags)))
    first = ("?", cfg.channels[size], size, size)
    rows.append(module_row(net, "from_rgb", f"{size}x{size}/FromRGB", first))
    for size in cfg.sizes[:0:-1]:
        here, half = f"{size}x{size}", size // 2
        down = ("?", cfg.channels[half], half, half)
        same = ("?", cfg.channels[size], size, size)
        rows.append(module_row(net, f"b{size}.conv0", f"{here}/Conv0", same))
        rows.append(module_row(net, f"b{size}.conv1_down", f"{here}/Conv1_down", down))
        rows.append(module_row(net, f"b{size}.skip", f"{here}/Skip", down))
    base, last = cfg.base, cfg.channels[cfg.base]
    at = f"{base}x{base}"
    rows.append(Row(f"{at}/MinibatchStddev", 0, ("?", last + 1, base, base)))
    rows.append(module_row(net, "conv", f"{at}/Conv", ("?", last, base, base)))
    rows.append(module_row(net, "dense0", f"{at}/Dense0", ("?", last)))
    rows.append(module_row(net, "output", "Output", ("?", 1)))
    if cfg.num_tags and cfg.conditioning == "embed":
        rows.append(module_row(net, "project", "Project", ("?", last)))
    return [*rows, Row("scores_out", 0, ("?", 1))]


def render(title: str, rows: list[Row]) -> str:
    """A table as text with its total."""
    cells = [(title, "Params", "OutputShape", "WeightShape"), *(r.cells() for r in rows)]
    total = str(sum(r.params for r in rows))
    cells.append(("Total", total, "", ""))
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    rule = "  ".join("-" * w for w in widths)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
