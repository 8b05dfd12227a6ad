"""What a configuration makes: the layer tables, as the paper prints them, parameters and GFLOP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

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


def times(shape: tuple[int, int]) -> str:
    """(64, 48) -> "64x48", height first, as in shapes."""
    return f"{shape[0]}x{shape[1]}"


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


@dataclass(frozen=True)
class Totals:
    """One configuration's row in the table of presets.

    Attributes:
        params: of the generator and of the plain discriminator.
        gflop: of one picture drawn and of one judged by the plain discriminator, forward, as torch
            counts what is run; a multiply-add counts two.

    """

    params: tuple[int, int]
    gflop: tuple[float, float]


@torch.no_grad()
def totals(cfg: NetConfig) -> Totals:
    """Parameters and counted work, without any memory for them (on torch's meta device)."""
    with torch.device("meta"):
        g, d = Generator(cfg), Discriminator(cfg)
        z, labels = torch.zeros(1, cfg.z_dim), torch.zeros(1, cfg.num_tags)
        with FlopCounterMode(display=False) as drawn:
            picture = g(z, labels)
        with FlopCounterMode(display=False) as judged:
            d(picture, labels)
    work = (drawn.get_total_flops() / 1e9, judged.get_total_flops() / 1e9)
    return Totals((count(g), count(d)), work)


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
    rows.append(Row("images_out", 0, ("?", cfg.img_channels, *cfg.shape(cfg.resolution))))
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
    noises: list[tuple[int, int]] = []
    for size in cfg.sizes:
        shape = cfg.shape(size)
        block, at = f"synthesis.b{size}", f"{prefix}/{times(shape)}"
        out = ("?", cfg.channels[size], *shape)
        rgb = ("?", cfg.img_channels, *shape)
        if size == cfg.base:
            const = net.get_parameter(f"{block}.const")
            rows.append(Row(f"{at}/Const", const.numel(), out, (1, *const.shape)))
            rows.append(module_row(net, f"{block}.conv", f"{at}/Conv", out))
            noises.append(shape)
        else:
            rows.append(module_row(net, f"{block}.conv0_up", f"{at}/Conv0_up", out))
            rows.append(module_row(net, f"{block}.conv1", f"{at}/Conv1", out))
            rows.append(Row(f"{at}/Upsample", 0, rgb))
            noises += [shape, shape]
        rows.append(module_row(net, f"{block}.to_rgb", f"{at}/ToRGB", rgb))
    last = ("?", cfg.img_channels, *cfg.shape(cfg.resolution))
    rows.append(Row(f"{prefix}/images_out", 0, last))
    if cfg.noise:
        rows += [Row(f"{prefix}/noise{i}", 0, (1, 1, *s)) for i, s in enumerate(noises)]
    return rows


def discriminator_table(cfg: NetConfig) -> list[Row]:
    """The paper's discriminator table for any configuration."""
    with torch.device("meta"):
        net = Discriminator(cfg)
    size, shape = cfg.resolution, cfg.shape(cfg.resolution)
    rows = [Row("images_in", 0, ("?", cfg.img_channels, *shape))]
    rows.append(Row("labels_in", 0, ("?", cfg.num_tags)))
    first = ("?", cfg.channels[size], *shape)
    rows.append(module_row(net, "from_rgb", f"{times(shape)}/FromRGB", first))
    for size in cfg.sizes[:0:-1]:
        here, half = times(cfg.shape(size)), size // 2
        down = ("?", cfg.channels[half], *cfg.shape(half))
        same = ("?", cfg.channels[size], *cfg.shape(size))
        rows.append(module_row(net, f"b{size}.conv0", f"{here}/Conv0", same))
        rows.append(module_row(net, f"b{size}.conv1_down", f"{here}/Conv1_down", down))
        rows.append(module_row(net, f"b{size}.skip", f"{here}/Skip", down))
    shape, last = cfg.shape(cfg.base), cfg.channels[cfg.base]
    at = times(shape)
    rows.append(Row(f"{at}/MinibatchStddev", 0, ("?", last + 1, *shape)))
    rows.append(module_row(net, "conv", f"{at}/Conv", ("?", last, *shape)))
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
