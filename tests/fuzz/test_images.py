"""The short form of scripts/fuzz_images.py, and that its watchdog finds what it is there for."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fuzz.mutated_images import mutated, sound_files
from kaogen.errors import ImageError
from kaogen.images import read_image

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_images.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_images"] = module
    spec.loader.exec_module(module)
    return module


def test_every_sound_file_is_read() -> None:
    for kind, data in sound_files().items():
        assert read_image(data, animated="first").shape[2] == 3, kind


def test_a_number_is_always_the_same_file() -> None:
    assert mutated(17) == mutated(17)
    assert mutated(17)[1] != mutated(17, seed=1)[1]
    assert len({mutated(n)[1] for n in range(200)}) > 180


def test_mutated_files_are_read_or_refused() -> None:
    outcomes = {"read": 0, "refused": 0, "no reason": 0}
    for number in range(800):
        try:
            pixels = read_image(mutated(number)[1], animated="first")
        except ImageError as error:
            outcomes["refused" if error.message else "no reason"] += 1
        else:
            assert pixels.ndim == 3
            outcomes["read"] += 1
    assert outcomes["read"] > 80
    assert outcomes["refused"] > 300
    assert outcomes["no reason"] == 0


def test_the_script(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--count", "128", "--save", str(tmp_path / "bad")]) == 0
    told = capsys.readouterr().out
    assert "128 mutated files" in told
    assert "0 broke a rule" in told
    assert not (tmp_path / "bad").exists()


def test_the_watchdog_names_files_that_kill_hang_or_need_too_much(script: ModuleType) -> None:
    # A child as the script's own, whose files 2, 4, 6, 7 and 8 are bad in five ways.
    code = """
import os, signal, sys, time
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    if n == 2: os.abort()
    if n == 4: time.sleep(600)
    if n == 8: signal.setitimer(signal.ITIMER_PROF, 0.1)
    while n == 8: pass
    cpu, memory = (3.0, 0) if n == 6 else (0.1, 300 << 10) if n == 7 else (0.1, 0)
    print(n, "damaged (3)." if n % 2 else "", cpu, 0.1, memory, 9, "png", sep="\\t", flush=True)
"""
    findings = script.watch([sys.executable, "-I", "-S", "-c", code], 0, 10, still=4)
    assert dict(findings.bad) == {
        2: "ended the process (-6)",
        4: "stood still for 4 s",
        6: "took 3.00 s of CPU",
        7: "needed 300 MiB",
        8: "hung: 10 s of CPU and no end",
    }
    assert findings.count == 10  # 0, 1, 3, 5 and 9 were read or refused
    assert (findings.read, dict(findings.refused)) == (1, {"damaged": 4})
