"""The exported graphs compute what torch computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'kaogen[train]'")

from kaogen.data.archives.archive import Item, write_archive  # noqa: E402
from kaogen.errors import (  # noqa: E402
    BundleError,
    CheckpointError,
    ConfigError,
    LabelError,
    UnknownTagError,
)
from kaogen.interop import onnx as module  # noqa: E402
from kaogen.interop.graphs import mapping_graph, synthesis_graph  # noqa: E402
from kaogen.interop.onnx import ExportOptions, assemble, export, parity  # noqa: E402
from kaogen.nets.config import PRESETS, NetConfig  # noqa: E402
from kaogen.nets.generator import Generator  # noqa: E402
from kaogen.studio.bundle import Bundle  # noqa: E402
from kaogen.tags import PAPER, Vocabulary  # noqa: E402
from kaogen.training import checkpoint  # noqa: E402

# Networks this small only wait for threads.
torch.set_num_threads(1)

SMALL = {
    "embed": NetConfig(
        32, {4: 24, 8: 16, 16: 8, 32: 8}, z_dim=16, w_dim=24, mapping_layers=3, num_tags=5,
        conditioning="embed", noise=False,
    ),
    "paper": NetConfig(
        16, {4: 16, 8: 16, 16: 8}, z_dim=12, w_dim=20, mapping_layers=8, num_tags=7,
    ),
    "base of 8 px": NetConfig(
        16, {8: 8, 16: 4}, z_dim=8, w_dim=8, mapping_layers=1, num_tags=1, base=8,
        conditioning="embed",
    ),
    "wide, with alpha": NetConfig(
        24, {3: 8, 6: 8, 12: 4, 24: 4}, z_dim=8, w_dim=8, mapping_layers=1, num_tags=1, base=3,
        base_width=5, img_channels=4,
    ),
    "tall and grey": NetConfig(
        20, {5: 8, 10: 6, 20: 4}, z_dim=8, w_dim=8, mapping_layers=1, num_tags=1, base=5,
        base_width=2, img_channels=1,
    ),
}  # fmt: skip


def make(cfg: NetConfig, seed: int = 0) -> Generator:
    """A random network in which every parameter counts, with pictures of a trained one's range."""
    torch.manual_seed(seed)
    generator = Generator(cfg).eval().requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.2)
        elif name.endswith("bias"):
            parameter.add_(torch.randn_like(parameter) * (10 if "dense" in name else 0.1))
        elif "to_rgb.weight" in name:
            parameter.mul_(0.2)
    return generator


def state_of(generator: Generator) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in generator.state_dict().items()}


def run(graph: bytes, **inputs: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


@pytest.mark.parametrize("name", SMALL)
def test_exact_graphs_equal_torch(name: str) -> None:
    cfg = SMALL[name]
    generator = make(cfg)
    z = torch.randn(3, cfg.z_dim)
    labels = (torch.rand(3, cfg.num_tags) < 0.4).float()
    w = generator.mapping(z, labels)
    graph = mapping_graph(cfg, state_of(generator), "fp32")
    got = run(graph, z=z.numpy(), labels=labels.numpy())
    np.testing.assert_allclose(got, w.numpy(), rtol=1e-4, atol=1e-5)
    # A w per slot, so that a layer with the wrong slot is found.
    ws = torch.randn(1, cfg.num_ws, cfg.w_dim)
    graph = synthesis_graph(cfg, state_of(generator), "fp32")
    expected = generator.synthesis(ws, noise="const")
    np.testing.assert_allclose(run(graph, ws=ws.numpy()), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("conditioning", ["embed", "paper"])
def test_the_shipped_size_keeps_parity_in_fp16(conditioning: Any) -> None:
    cfg = PRESETS["tiny64"].with_(conditioning=conditioning)
    generator = make(cfg)
    rows = np.random.default_rng(0).random((30, 59)) < 0.1
    options = ExportOptions(name="x", min_examples=1)
    manifest, payload = assemble(generator, {"kimg": 1.0}, rows, PAPER, options)
    gap = parity(generator, Bundle(manifest, payload, Path("x")), seeds=4)
    assert gap.worst <= 1
    assert gap.mean <= gap.differing < 0.1
    assert sum(map(len, payload.values())) < 8e6


def test_graphs_hold_weights_as_constants_in_fp16() -> None:
    generator = make(SMALL["paper"])
    graph = onnx.load_from_string(synthesis_graph(SMALL["paper"], state_of(generator)))
    large = [t for t in graph.graph.initializer if np.prod(t.dims) > 64]
    assert large
    assert {t.data_type for t in large} == {onnx.TensorProto.FLOAT16}
    weights = {node.output[0] for node in graph.graph.node if node.op_type == "Cast"}
    for node in graph.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            constants = weights | {t.name for t in graph.graph.initializer}
            assert node.input[1] in constants, "no weight is computed at run time"


def test_graphs_are_the_same_bytes_for_the_same_weights() -> None:
    cfg = SMALL["embed"]
    for build in (mapping_graph, synthesis_graph):
        assert build(cfg, state_of(make(cfg))) == build(cfg, state_of(make(cfg)))


VOCABULARY = Vocabulary(["pink hair", "blue hair", "smile", "hat", "glasses"])


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    """A run folder with one checkpoint, and its data set."""
    rng = np.random.default_rng(1)
    tags = [("pink hair", "smile"), ("blue hair",), ("pink hair",), ("blue hair", "hat")]
    items = [
        Item(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), tags=row, source=f"{k}.png")
        for k, row in enumerate(tags * 3)
    ]
    data = tmp_path / "faces.zip"
    write_archive(data, items, VOCABULARY, {})
    save(tmp_path / "run", make(SMALL["embed"]), data)
    return tmp_path / "run", data


def save(run_folder: Path, generator: Generator, data: Path, **changes: Any) -> None:
    from kaogen.data.archives.archive import Archive

    weights = {f"ema.{name}": tensor for name, tensor in generator.state_dict().items()}
    with Archive.open(data) as archive:
        meta = {
            "net": generator.cfg.to_dict(),
            "vocabulary": list(VOCABULARY.names),
            "archive": archive.fingerprint,
            "minutes": 7.5,
        }
    checkpoint.save(run_folder, 12_000, weights, meta | changes)


def test_export(trained: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "m.kaogen"
    options = ExportOptions(
        name="mini", data="noise", licence="CC0-1.0", min_examples=3, not_learnt=["Hat"],
        measured={"smile": {"obedience": 0.75, "unasked": 0.25}},
    )  # fmt: skip
    result = export(*trained, out, options)
    assert result.worst <= 1
    assert result.size == out.stat().st_size
    bundle = Bundle.open(out)
    assert bundle.id == result.id
    assert bundle.learnt == {"pink hair", "blue hair", "smile"}
    trained_info = bundle.manifest.trained
    assert (trained_info.kimg, trained_info.minutes, trained_info.images) == (12.0, 7.5, 12)
    smile = next(tag for tag in bundle.manifest.tags if tag.name == "smile")
    assert (smile.share, smile.obedience, smile.unasked) == (0.25, 0.75, 0.25)
    assert "12 faces for 12 kimg" in bundle.card
    again = export(*trained, tmp_path / "n.kaogen", options)
    assert again.id == result.id
    assert (tmp_path / "n.kaogen").read_bytes() == out.read_bytes()


def test_export_as_bytes_is_smaller_and_its_error_is_told(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    options = {"name": "mini", "min_examples": 1}
    halves = export(*trained, tmp_path / "halves.kaogen", ExportOptions(**options))
    bytes_ = ExportOptions(**options, precision="int8")
    result = export(*trained, tmp_path / "bytes.kaogen", bytes_)
    assert (halves.precision, result.precision) == ("fp16", "int8")
    assert result.size < 0.9 * halves.size  # the graphs themselves weigh as much here
    assert 0 < result.mean <= 1
    assert result.worst >= result.mean


def test_bytes_are_refused_where_they_show(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEAN", 0.01)
    options = ExportOptions(name="mini", min_examples=1, precision="int8")
    with pytest.raises(BundleError, match="on average") as caught:
        export(*trained, tmp_path / "m.kaogen", options)
    assert "--precision auto" in caught.value.hint
    assert not (tmp_path / "m.kaogen").exists()


def test_export_refuses_what_does_not_fit(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run_folder, data = trained
    out, options = tmp_path / "m.kaogen", ExportOptions(name="mini")
    with pytest.raises(CheckpointError, match="There is no run folder"):
        export(tmp_path / "nothing", data, out, options)
    other = tmp_path / "other.zip"
    picture = np.zeros((32, 32, 3), np.uint8)
    write_archive(other, [Item(picture, tags=("hat",))], VOCABULARY, {})
    with pytest.raises(CheckpointError, match="other data"):
        export(run_folder, other, out, options)
    write_archive(other, [Item(picture, tags=("hat",))], Vocabulary(["hat"]), {})
    with pytest.raises(CheckpointError, match="other tags"):
        export(run_folder, other, out, options)
    write_archive(other, [Item(picture)], None, {})
    with pytest.raises(LabelError, match="no tags"):
        export(run_folder, other, out, options)
    with pytest.raises(UnknownTagError):
        export(run_folder, data, out, ExportOptions(name="mini", not_learnt=["moustache"]))
    with pytest.raises(ConfigError, match="not there"):
        export(run_folder, data, out, ExportOptions(name="mini", measured={"moustache": {}}))
    with pytest.raises(ConfigError, match="precision"):
        ExportOptions(name="mini", precision="int4")
    assert not out.exists()


def test_networks_that_cannot_be_model_files() -> None:
    rows = np.ones((3, 5), bool)
    blind = make(SMALL["embed"].with_(num_tags=0))
    with pytest.raises(CheckpointError, match="takes 0 tags"):
        assemble(blind, {"kimg": 0}, rows, VOCABULARY, ExportOptions(name="x"))


def test_export_fails_when_the_graphs_differ(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(cfg: NetConfig, state: dict[str, np.ndarray], storage: Any) -> bytes:
        bias = state["synthesis.b32.to_rgb.bias"] + 0.02
        return synthesis_graph(cfg, state | {"synthesis.b32.to_rgb.bias": bias}, storage)

    monkeypatch.setattr(module, "synthesis_graph", wrong)
    with pytest.raises(BundleError, match=r"differ from torch by [23] grey levels"):
        export(*trained, tmp_path / "m.kaogen", ExportOptions(name="mini", min_examples=1))
    assert not (tmp_path / "m.kaogen").exists()


def test_a_name_that_cannot_be(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        export(*trained, tmp_path / "m.kaogen", ExportOptions(name="../up"))
