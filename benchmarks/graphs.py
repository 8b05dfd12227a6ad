"""How fast a model file's graphs draw one picture in onnxruntime, beside torch.

All contestants of a row take turns within one run, the fastest turn of each counts, and times are
compared with the convolution peak that the same run measures (oneDNN, fp32 and bf16). The work is
counted by torch, two for a multiply-add, whatever form the graph gives its convolutions.

    python benchmarks/graphs.py                              # a row for each preset
    python benchmarks/graphs.py --presets tiny64 paper256
    python benchmarks/graphs.py --forms                      # forms of a convolution beside another
    python benchmarks/graphs.py --profile paper256           # where onnxruntime spends the time
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from kaogen.interop import convolutions
from kaogen.interop.graph import Graph, Storage
from kaogen.interop.graphs import mapping_graph, synthesis_graph
from kaogen.nets.config import PRESETS, NetConfig
from kaogen.nets.generator import Generator
from kaogen.nets.memory import keep_freed_memory
from nets import flops, peak

SECONDS = 4.0  # of taking turns, for each row
# Outputs, inputs and pixels of the layers whose forms are compared.
PLAIN = ((512, 512, 16), (512, 512, 32), (256, 256, 64), (128, 128, 128), (64, 64, 256))
DOUBLING = ((512, 512, 16), (256, 512, 32), (128, 256, 64), (64, 128, 128), (32, 64, 32))
HEAD = ("preset", "GFLOP", "onnxruntime ms", "torch bf16 ms", "torch fp32 ms")
HEAD = (*HEAD, "as fast as bf16", "of the fp32 peak", "mapping ms", "load s")


def turns(contestants: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Milliseconds of each one's fastest turn, after one that is not counted."""
    best = dict.fromkeys(contestants, float("inf"))
    for run in contestants.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - start) * 1e3)
    return best


def session(graph: bytes, threads: int, **options: Any) -> Any:
    """An onnxruntime session, as the studio opens them but for spinning threads."""
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads, chosen.inter_op_num_threads = threads, 1
    chosen.log_severity_level = 4
    for name, value in options.items():
        setattr(chosen, name, value)
    return ort.InferenceSession(graph, chosen, providers=["CPUExecutionProvider"])


def weights(generator: Generator) -> dict[str, Any]:
    """The state dict as numpy."""
    return {name: tensor.float().numpy() for name, tensor in generator.state_dict().items()}


@torch.no_grad()
def row(name: str, cfg: NetConfig, threads: int, storage: Storage, top: float) -> tuple[str, ...]:
    """One preset's line; `top` is the fp32 peak in FLOP/s."""
    torch.manual_seed(0)
    generator = Generator(cfg).eval().requires_grad_(False)
    state = weights(generator)
    start = time.perf_counter()
    drawer = session(synthesis_graph(cfg, state, storage), threads)
    mapper = session(mapping_graph(cfg, state), threads)
    loaded = time.perf_counter() - start
    ws, z = torch.randn(1, cfg.num_ws, cfg.w_dim), torch.randn(1, cfg.z_dim)
    inputs = {"z": z.numpy(), "labels": np.zeros((1, cfg.num_tags), np.float32)}
    given = {"ws": ws.numpy()}
    ms = turns(
        {
            "ort": lambda: drawer.run(None, given),
            "bf16": lambda: generator.synthesis(ws, "const", torch.bfloat16),
            "fp32": lambda: generator.synthesis(ws, "const", torch.float32),
            "mapping": lambda: mapper.run(None, inputs),
        },
        SECONDS,
    )
    work = flops(lambda: generator.synthesis(ws, "const", torch.float32))
    share = work / (ms["ort"] / 1e3) / top
    numbers = [f"{work / 1e9:.2f}", *(f"{ms[k]:.1f}" for k in ("ort", "bf16", "fp32"))]
    ratio = ms["bf16"] / ms["ort"]
    return (
        name,
        *numbers,
        f"{ratio:.2f}",
        f"{share:.0%}",
        f"{ms['mapping']:.2f}",
        f"{loaded:.1f}",
    )


Form = Callable[[Graph, str, np.ndarray, tuple[int, int]], str]


def plain(g: Graph, x: str, weight: np.ndarray, _shape: tuple[int, int]) -> str:
    """The convolution as one node."""
    return g.add("Conv", x, g.exact("k", weight), pads=[1, 1, 1, 1])


def scattered(g: Graph, x: str, weight: np.ndarray, _shape: tuple[int, int]) -> str:
    """The doubling one as onnxruntime's transposed convolution, and the filter."""
    turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    x = g.add("ConvTranspose", x, g.exact("k", turned), strides=[2, 2])
    return convolutions.filter2(g, x, len(weight), pads=[1, 1, 1, 1])


def winograd(g: Graph, x: str, weight: np.ndarray, shape: tuple[int, int]) -> str:
    """F(4x4, 3x3)."""
    return convolutions.winograd(g, x, g.exact("k", weight), weight.shape, shape)


def parities(g: Graph, x: str, weight: np.ndarray, shape: tuple[int, int]) -> str:
    """Four small convolutions, interleaved, and the filter."""
    turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return convolutions.split_up(g, x, g.exact("k", turned), len(weight), shape)


def compare_forms(
    layers: Sequence[tuple[int, int, int]], forms: dict[str, Form], scale: int
) -> None:
    """Print each layer's time by each form; `scale` is 2 where the picture doubles."""
    rng = np.random.default_rng(0)
    for outputs, inputs, size in layers:
        shape = (1, inputs, size, size)
        weight = rng.standard_normal((outputs, inputs, 3, 3)).astype(np.float32)
        given = {"x": rng.standard_normal(shape).astype(np.float32)}
        runs = {}
        for name, form in forms.items():
            g = Graph("fp32")
            g.add("Identity", form(g, "x", weight, (size, size)), out="y")
            result = [1, outputs, size * scale, size * scale]
            drawer = session(g.model({"x": list(shape)}, {"y": result}), 1)
            runs[name] = lambda drawer=drawer, given=given: drawer.run(None, given)
        ms = turns(runs, 1.0)
        told = ", ".join(f"{name} {value:.2f} ms" for name, value in ms.items())
        first, second = ms.values()
        print(f"{inputs} -> {outputs} at {size} px: {told} ({first / second:.2f} x)", flush=True)


def profile(name: str, threads: int) -> None:
    """Print what onnxruntime's optimised graph spends its time on, by type of node."""
    cfg = PRESETS[name]
    torch.manual_seed(0)
    graph = synthesis_graph(cfg, weights(Generator(cfg)))
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "p")
        drawer = session(graph, threads, enable_profiling=True, profile_file_prefix=prefix)
        given = {"ws": np.zeros((1, cfg.num_ws, cfg.w_dim), np.float32)}
        for _ in range(5):
            drawer.run(None, given)
        events = json.loads(Path(drawer.end_profiling()).read_text())
    nodes = [e for e in events if e["name"].endswith("_kernel_time")]
    last = nodes[-(len(nodes) // 5) :]
    spent: Counter[str] = Counter()
    for event in last:
        spent[event["args"]["op_name"]] += event["dur"]
    for kind, microseconds in spent.most_common():
        print(f"{kind:20} {microseconds / 1e3:8.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--storage", choices=("fp16", "int8", "fp32"), default="fp16")
    parser.add_argument("--forms", action="store_true", help="only compare forms, one thread")
    parser.add_argument("--profile", choices=list(PRESETS), help="only print where time goes")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    if asked.forms:
        compare_forms(PLAIN, {"one node": plain, "Winograd": winograd}, 1)
        compare_forms(DOUBLING, {"transposed": scattered, "parities": parities}, 2)
        return
    if asked.profile:
        profile(asked.profile, asked.threads)
        return
    single, half = peak(torch.float32), peak(torch.bfloat16)
    print(f"{asked.threads} threads; peak {single / 1e9:.0f} GFLOP/s in fp32, ", end="")
    print(f"{half / 1e9:.0f} in bf16; onnxruntime {ort.__version__}\n")
    for line in (HEAD, ["---"] * len(HEAD)):
        print("| " + " | ".join(line) + " |")
    for name in asked.presets:
        line = row(name, PRESETS[name], asked.threads, asked.storage, single)
        print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
