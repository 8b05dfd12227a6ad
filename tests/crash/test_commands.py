"""The command that a person types, `torchrun -m kaogen train`, and SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crash.runs import NET
from kaogen.training import checkpoint

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
KAOGEN = ["-m", "kaogen", "train"]


@pytest.mark.slow
def test_sigterm_to_torchrun_ends_it_in_time_and_all_is_saved(faces: Path, tmp_path: Path) -> None:
    preset, out = tmp_path / "net.json", tmp_path / "run"
    preset.write_text(json.dumps(NET.to_dict()))
    options = ["--out", str(out), "--preset", str(preset), "--batch", "4", "--threads", "1"]
    words = [*TORCHRUN, *KAOGEN, str(faces), *options, "--kimg", "1000", "--tick", "0.1"]
    child = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob("checkpoints/[0-9]*/state.json")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        _, told = child.communicate(timeout=60)
        assert time.monotonic() - sent < 10
    finally:
        child.kill()
    stopped = int(told.split("Stopped at ")[1].split(" images")[0].replace(",", ""))
    assert int(checkpoint.latest(out).name) == stopped
    assert told.count("Stopped at") == 1
