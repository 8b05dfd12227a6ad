"""What all tests share."""

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from kaogen.tags import PAPER

# A busy machine is no failure, and a failure must come back when the tests are run again.
settings.register_profile("kaogen", deadline=None, derandomize=True)
settings.load_profile("kaogen")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So in a shell's background job; the programs that tests start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def label_rows() -> np.ndarray:
    """bool [200, 59]: each row one hair colour, one eye colour and a few other tags."""
    rng = np.random.default_rng(0)
    hair, eyes = PAPER.exclusive["hair colour"], PAPER.exclusive["eye colour"]
    others = [n for n in PAPER.names if n not in (*hair, *eyes, "short hair", "lips", "tongue")]
    rows = []
    for _ in range(200):
        picked = [rng.choice(hair), rng.choice(eyes), *rng.choice(others, 3, replace=False)]
        rows.append(PAPER.encode(PAPER.with_implied(str(tag) for tag in picked)))
    return np.array(rows, dtype=bool)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, label_rows: np.ndarray) -> Path:
    """A model file of 16 px whose real network was never trained."""
    torch = pytest.importorskip(
        "torch", reason="torch makes the network: pip install 'kaogen[train]'"
    )
    from kaogen.interop.onnx import ExportOptions, assemble
    from kaogen.nets.config import NetConfig
    from kaogen.nets.generator import Generator
    from kaogen.studio.bundle import write_bundle

    # A network this small only waits for more threads.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    channels = {4: 16, 8: 16, 16: 8}
    cfg = NetConfig(16, channels, z_dim=16, w_dim=24, mapping_layers=2, conditioning="embed")
    generator = Generator(cfg).eval().requires_grad_(False)
    options = ExportOptions(name="random", min_examples=1)
    manifest, payload = assemble(generator, {"kimg": 0.0}, label_rows, PAPER, options)
    path = tmp_path_factory.mktemp("model") / "random.kaogen"
    write_bundle(path, manifest, payload)
    return path
