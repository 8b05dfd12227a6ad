"""Enlarging by Real-ESRGAN: the real networks, on a small drawn face."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kaogen.data.finding import upscale
from kaogen.data.finding.crops import resize
from kaogen.data.finding.finders import drawn_face
from kaogen.data.finding.upscale import Upscaler
from kaogen.errors import ConfigError, DataError, MissingExtraError


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    try:
        return Upscaler.open()
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_a_face_is_enlarged_and_sharper_than_by_lanczos(upscaler: Upscaler) -> None:
    large = drawn_face(96)
    small = resize(large, 48, 48)
    up, plain = upscaler.up(small, 2), resize(small, 96, 96)
    assert up.shape == (96, 96, 3)
    assert up.dtype == np.uint8

    def edges(pixels: np.ndarray) -> float:
        grey = pixels.astype(float).mean(axis=2)
        return float((np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean())

    assert edges(up) > 1.1 * edges(plain)
    assert np.abs(resize(up, 48, 48).astype(int) - small).mean() < 6


@pytest.mark.parametrize("scale", [1.3, 3.0, 5.5])
def test_any_scale_is_met(upscaler: Upscaler, scale: float) -> None:
    small = drawn_face(24)[:20]
    assert upscaler.up(small, scale).shape == (round(20 * scale), round(24 * scale), 3)


def test_nothing_is_done_where_nothing_is_to_do(upscaler: Upscaler) -> None:
    small = drawn_face(24)
    assert upscaler.up(small, 1.0) is small
    assert upscaler.up(small, 0.5) is small


def test_the_same_picture_gives_the_same_pixels(
    upscaler: Upscaler, capfd: pytest.CaptureFixture[str]
) -> None:
    small = drawn_face(32)
    first = upscaler.up(small, 2)
    np.testing.assert_array_equal(first, Upscaler.open().up(small, 2))
    told = capfd.readouterr()
    assert told.out == told.err == ""  # the library's own progress stays off the terminal
    assert upscaler.describe()["upscaler"] == "realesrgan"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5)], ids=str)
def test_odd_shapes_are_taken(upscaler: Upscaler, shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    assert upscaler.up(pixels, 2).shape == (shape[0] * 2, shape[1] * 2, 3)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'no upscaler "waifu2x".*realesrgan'):
        Upscaler.open("waifu2x")
    with pytest.raises(ConfigError, match="tile of 8 pixels"):
        Upscaler.open(tile=8)


def point_to(monkeypatch: pytest.MonkeyPatch, package: Path | None) -> None:
    spec = package and SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(upscale.importlib.util, "find_spec", lambda _: spec)


def test_a_missing_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to(monkeypatch, None)
    with pytest.raises(MissingExtraError, match=r"kaogen\[upscale\]"):
        Upscaler.open()
    point_to(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="no library for this Python"):
        Upscaler.open()


@pytest.mark.skipif(sys.platform != "linux", reason="the hint names Debian's packages")
def test_missing_libraries_of_the_system_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suffix = upscale.importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / f"realesrgan_ncnn_vulkan_wrapper{suffix}").write_bytes(b"no library")
    point_to(monkeypatch, tmp_path)
    with pytest.raises(MissingExtraError, match="apt-get install libvulkan1 libomp5-14"):
        Upscaler.open()


def test_missing_networks_are_refused(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upscale, "_load", lambda: (upscaler._wrapper, tmp_path))
    with pytest.raises(DataError, match=r"realesr-animevideov3-x2\.param is not there"):
        Upscaler.open()
