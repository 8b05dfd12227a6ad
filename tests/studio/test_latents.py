"""Seeds name the same latents for ever, in Python and in JavaScript."""

import shutil
import statistics
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kaogen.studio import latents

JS = Path(__file__).parents[1] / "js" / "latents.mjs"


def _hex(values: np.ndarray) -> list[str]:
    return [f"{bits:08x}" for bits in values.astype(np.float32).view(np.uint32).tolist()]


def test_philox_known_answer() -> None:
    # Random123's known answers have free keys; with all-zero input only our key constant differs,
    # so it is replaced for this test.
    original = latents._KEY
    try:
        latents._KEY = 0
        got = latents.words(0, 0, 4)
    finally:
        latents._KEY = original
    assert [f"{w:08x}" for w in got.tolist()] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


GOLDEN = {
    0: "3e9ffe4f 3e1ff641 3f3ca010 3ed5c65f 3f28709d bf12dbca bf50de67 3ff15d1b",
    1: "bf4b44e0 bed3eb4c 3f2fd17d 3f29c6a0 3e0108d0 be57bfb8 3e0aff7d bf6d958c",
    42: "4011bbb1 3f3f75cb bfb5e7f5 bef96535 3f32e4ea 3ea0b815 bf29b256 3e244e57",
    4294967295: "3ebd58aa 3f0c79fd 3fa0a5a8 3f73b7c5 bfb465b3 3f36423c 3f8dea59 bf966640",
}


@pytest.mark.parametrize("seed", sorted(GOLDEN))
def test_golden(seed: int) -> None:
    assert _hex(latents.z(seed, 8)) == GOLDEN[seed].split()


def test_golden_other_streams() -> None:
    assert _hex(latents.centre_samples(2, 2).ravel()) == [
        "4024d494",
        "400e606a",
        "bf67bae0",
        "3fe8192f",
    ]
    assert latents.words(7, latents.STREAM_FILL, 3).tolist() == [539159071, 992643890, 1557473069]


def test_words_are_a_function_of_their_position() -> None:
    long = latents.words(42, 0, 1001)
    assert np.array_equal(latents.words(42, 0, 7), long[:7])
    assert len(set(long.tolist())) > 995
    assert not np.array_equal(latents.words(42, 0, 8, lane=1), long[:8])
    with pytest.raises(ValueError, match="32-bit"):
        latents.words(2**32, 0, 1)
    with pytest.raises(ValueError, match="32-bit"):
        latents.words(-1, 0, 1)


def test_normals_match_the_reference() -> None:
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 2001), 2.0 ** -np.arange(2, 53)])
    exact = statistics.NormalDist()
    expected = np.array([exact.inv_cdf(float(x)) for x in p])
    np.testing.assert_allclose(latents.normals(p), expected, rtol=1e-13, atol=1e-15)


def test_z_is_standard_normal() -> None:
    sample = latents.z(5, 20000)
    assert sample.dtype == np.float32
    assert abs(float(sample.mean())) < 0.03
    assert abs(float(sample.std()) - 1) < 0.02
    assert np.isfinite(sample).all()


def test_mix_keeps_its_ends_and_its_spread() -> None:
    a, b = latents.z(1, 20000), latents.z(2, 20000)
    assert np.array_equal(latents.mix(a, b, 0.0), a)
    assert np.array_equal(latents.mix(a, b, 1.0), b)
    half = latents.mix(a, b, 0.5)
    assert abs(float(half.std()) - 1) < 0.03


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_gives_the_same_bits() -> None:
    seeds = [0, 1, 42, 2**31, 2**32 - 1, 123456789]
    for stream, lane in ((latents.STREAM_Z, 0), (latents.STREAM_CENTRE, 127)):
        command = ["node", str(JS), "512", str(stream), str(lane), *map(str, seeds)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for seed, line in zip(seeds, out.splitlines(), strict=True):
            expected = _hex(latents.z(seed, 512, stream=stream, lane=lane))
            assert line.split() == expected
