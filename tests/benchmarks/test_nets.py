"""`benchmarks/nets.py`: what it compares with is the same networks, and it counts what they do."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from kaogen.nets.config import NetConfig
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator

ROOT = Path(__file__).parents[2]
NET = NetConfig(32, {4: 16, 8: 16, 16: 12, 32: 8}, z_dim=8, w_dim=8, mapping_layers=2, num_tags=5)


@pytest.fixture(autouse=True)
def _beside_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.eye(5)[[0, 1, 2, 2]] + torch.eye(5)[[4, 4, 4, 0]]


def test_the_plain_generator_draws_the_same_pictures(labels: torch.Tensor) -> None:
    import nets_plain

    torch.manual_seed(0)
    g = Generator(NET)
    for name, parameter in g.named_parameters():
        if "noise_strength" in name or "bias" in name:
            torch.nn.init.normal_(parameter)
    z = torch.randn(4, 8)
    slow = nets_plain.Generator(g)(z, labels, "const", torch.float32)
    torch.testing.assert_close(g(z, labels, "const"), slow, rtol=1e-4, atol=1e-4)


def test_the_plain_discriminator_gives_the_same_scores(labels: torch.Tensor) -> None:
    import nets_plain

    torch.manual_seed(0)
    d, x = Discriminator(NET), torch.randn(4, 3, 32, 32)
    (slow,) = nets_plain.Discriminator(d).score([x], labels, torch.float32)
    torch.testing.assert_close(d(x, labels), slow, rtol=1e-4, atol=1e-4)


def test_a_row_counts_the_work_and_relates_it_to_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    # By its file: `nets` is also a folder of tests.
    spec = importlib.util.spec_from_file_location("nets_figures", ROOT / "benchmarks" / "nets.py")
    assert spec is not None
    assert spec.loader is not None
    nets = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nets_figures", nets)
    spec.loader.exec_module(nets)
    monkeypatch.setitem(nets.PRESETS, "paper256", NET)
    top = nets.peak(torch.float32)
    assert top > 1e8
    draw = nets.measure("paper256", "draw", 4, torch.float32, top, plain=False)
    train = nets.measure("paper256", "train", 4, torch.float32, top, plain=True)
    # A step's work is about that of ten drawn pictures: fakes, their gradient, D twice and again.
    assert 4 < train.gflop / draw.gflop < 20
    assert train.plain is not None
    for row in (draw, train):
        assert row.ms == pytest.approx(1e3 / row.rate)
        assert row.share == pytest.approx(row.gflop * 1e9 * row.rate / top)
    assert nets.table([draw, train]).count("\n") == 3
