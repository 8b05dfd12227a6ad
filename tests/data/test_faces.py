"""Finding faces: the real animeface on sprites and a drawing, imgutils by a stand-in."""

import json
import math
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kaogen.data.finding import animeface
from kaogen.data.finding.faces import Face, FaceFinder, distinct, merged, open_finder
from kaogen.data.finding.finders import drawn_face, looks_at
from kaogen.errors import ConfigError, DataError, MissingExtraError
from kaogen.images import Pixels, read_image

SPRITES = Path(__file__).parent.parent / "fixtures" / "renpy"
# Where the faces are, told by eye: middle of the face and its edge, in pixels.
FACES = {"eileen": (160, 180, 155), "lucy": (212, 183, 125), "sylvie": (187, 122, 112)}


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    try:
        return open_finder()
    except MissingExtraError as error:
        pytest.skip(str(error))


def sprite(name: str) -> Pixels:
    """The upper part of a sprite, [330, W, 3]."""
    return read_image(SPRITES / f"{name}.webp")[:330]


def near(face: Face, name: str, scale: float = 1.0) -> bool:
    x, y, edge = (value * scale for value in FACES[name])
    left, top, right, bottom = face.box
    close = math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y) < edge * 0.25
    return close and edge * 0.6 < face.edge < edge * 1.6


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("scale", [0.25, 0.6, 2.0])
def test_a_sprites_face_is_found_at_any_size(finder: FaceFinder, name: str, scale: float) -> None:
    picture = Image.fromarray(sprite(name))
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    faces = finder.find(np.asarray(picture))
    assert len(faces) == 1
    assert near(faces[0], name, scale), faces
    assert finder.least <= faces[0].score <= 1


def test_eyes_are_told_picture_left_first(finder: FaceFinder) -> None:
    (face,) = finder.find(sprite("eileen"))
    assert face.eyes is not None
    (x0, y0), (x1, y1) = face.eyes
    assert abs(x0 - 117) < 15
    assert abs(x1 - 200) < 15
    assert abs(y0 - 172) < 15
    assert abs(y1 - 172) < 15


def test_several_faces_of_one_picture_are_found(finder: FaceFinder) -> None:
    row = np.concatenate([sprite(name)[:, :320] for name in ("eileen", "sylvie")], axis=1)
    faces = finder.find(row)
    assert len(faces) == 2
    assert sorted(face.box[0] > 320 for face in faces) == [False, True]


@pytest.mark.parametrize("size", [64, 96, 128])
def test_a_tight_crop_is_found(finder: FaceFinder, size: int) -> None:
    x, y, edge = FACES["sylvie"]
    half = round(edge * 0.55)
    tight = Image.fromarray(sprite("sylvie")[y - half : y + half, x - half : x + half])
    (face,) = finder.find(np.asarray(tight.resize((size, size))))
    assert face.edge > size * 0.5


@pytest.mark.parametrize("turn", [-25, 25])
def test_a_tilted_head_is_found(finder: FaceFinder, turn: float) -> None:
    x, y, _ = FACES["eileen"]
    head = Image.fromarray(sprite("eileen")[y - 150 : y + 150, x - 150 : x + 150])
    faces = finder.find(np.asarray(head.rotate(turn, Image.Resampling.BICUBIC, fillcolor="white")))
    assert len(faces) == 1
    assert faces[0].eyes is not None
    (x0, y0), (x1, y1) = faces[0].eyes
    lean = math.degrees(math.atan2(y0 - y1, x1 - x0))
    assert abs(lean - turn) < 15


def test_no_face_is_found_where_none_is(finder: FaceFinder) -> None:
    body = read_image(SPRITES / "sylvie.webp")[300:560, 80:340]
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    plain = np.full((300, 200, 3), 255, np.uint8)
    for picture in (body, sprite("meadow"), noise, plain):
        assert finder.find(picture) == []


SHAPES = [(1, 1), (1, 5000), (5000, 1), (12, 900), (13, 13), (40, 57), (90, 30)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_is_taken(finder: FaceFinder, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert isinstance(finder.find(pixels), list)


def test_views_and_fortran_order_are_taken(finder: FaceFinder) -> None:
    picture = sprite("eileen")[60:300:2, ::2]
    want = finder.find(picture)
    assert finder.find(np.asfortranarray(picture)) == want
    assert finder.find(picture[:, ::-1][:, ::-1]) == want


def test_the_same_picture_gives_the_same_faces(finder: FaceFinder) -> None:
    small = np.asarray(Image.fromarray(sprite("lucy")).resize((210, 165)))
    first = finder.find(small)
    finder.find(sprite("eileen")[:200])
    assert finder.find(small) == first == open_finder().find(small)


def test_memory_does_not_grow(finder: FaceFinder) -> None:
    resource = pytest.importorskip("resource")
    picture = drawn_face(64)

    def peak() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    library = animeface.Library()
    for _ in range(20):
        library.find(picture)
    before = peak()
    for _ in range(500):
        library.find(picture)
    # Were nothing freed, 500 finds would leave 80 MB.
    assert peak() - before < 8 * 1024


def test_the_library_is_found_without_importing_the_package() -> None:
    code = """
import json, sys
from kaogen.data.finding.faces import open_finder
from kaogen.data.finding.finders import drawn_face
finder = open_finder()
print(json.dumps([len(finder.find(drawn_face(200))), "animeface" in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    if "pip install" in done.stderr:
        pytest.skip("animeface is not installed: pip install 'kaogen[prepare]'")
    assert json.loads(done.stdout) == [1, False]


def test_a_missing_animeface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animeface.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"kaogen\[prepare\]"):
        open_finder()


def point_to(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    package = folder / "animeface"
    package.mkdir()
    spec = types.SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(animeface.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(animeface.ctypes.util, "find_library", lambda _: None)


def test_animeface_without_its_library_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_to(monkeypatch, tmp_path)
    with pytest.raises(DataError, match=r"libnvxs is not beside it .* --force-reinstall"):
        open_finder()


def test_a_broken_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to(monkeypatch, tmp_path)
    (tmp_path / "animeface.libs").mkdir()
    (tmp_path / "animeface.libs" / "libnvxs-1.so.0").write_bytes(b"\x7fELF, cut short")
    with pytest.raises(DataError, match=r"libnvxs-1\.so\.0 cannot be loaded"):
        open_finder()


def test_a_library_of_another_kind_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_to(monkeypatch, tmp_path)
    other = next((p for p in Path("/lib").rglob("libm.so.6")), None)
    if other is None:
        pytest.skip("no libm.so.6 here to stand for another library")
    (tmp_path / "animeface.libs").mkdir()
    (tmp_path / "animeface.libs" / "libnvxs-2.so").write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="lacks nv_matrix3d_alloc"):
        open_finder()


def test_a_library_that_finds_nothing_is_refused(
    finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animeface.Library, "find", lambda *_: [])
    with pytest.raises(DataError, match="does not find a drawn test face"):
        open_finder()


def test_unknown_kinds_and_scores_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'no face finder "opencv".* animeface, imgutils'):
        open_finder("opencv")
    with pytest.raises(ConfigError, match=r"least score of a face is 1\.5"):
        open_finder(least=1.5)


def test_looks_go_from_coarse_to_fine_within_bounds() -> None:
    for height, width in [(10_000, 1_000), (3162, 3162), (256, 256), (96, 96), (20, 4000)]:
        looks, again = looks_at(height, width)
        scales = [look.scale for look in looks]
        assert scales == sorted(scales)
        assert all(height * width * look.scale**2 < 500_000 for look in (*looks, *again))
        assert looks[0].padding > 0


def test_of_overlapping_faces_the_best_is_kept() -> None:
    faces = [
        Face(0.91, (10, 10, 60, 60)),
        Face(0.99, (12, 12, 58, 58)),
        Face(0.95, (100, 10, 150, 60)),
        Face(0.95, (0, 0, 0, 0)),
    ]
    assert distinct(faces) == [faces[1], faces[2], faces[3]]


def test_the_finds_of_one_face_are_averaged() -> None:
    eyes = ((20.0, 30.0), (40.0, 30.0))
    faces = [
        Face(0.97, (10, 10, 60, 60), ((24.0, 30.0), (44.0, 34.0))),
        Face(0.99, (14, 12, 60, 58), eyes),
        Face(0.98, (30, 30, 40, 40)),  # a part of the face is not the face
        Face(0.96, (100, 10, 150, 60)),
    ]
    first, second = merged(faces)
    assert first == Face(0.99, (12.0, 11.0, 60.0, 59.0), ((22.0, 30.0), (42.0, 32.0)))
    assert second == faces[3]


Answer = list[tuple[tuple[float, float, float, float], str, float]]


@pytest.fixture
def imgutils(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Answer]], None]:
    """Install a module of imgutils' shape, with a `detect_faces` of one's own."""

    def install(detect_faces: Callable[..., Answer]) -> None:
        module: Any = types.ModuleType("imgutils.detect")
        module.detect_faces = detect_faces
        monkeypatch.setitem(sys.modules, "imgutils", types.ModuleType("imgutils"))
        monkeypatch.setitem(sys.modules, "imgutils.detect", module)

    return install


def test_imgutils_answers_through_the_same_interface(
    imgutils: Callable[[Callable[..., Answer]], None],
) -> None:
    def detect_faces(image: Image.Image, conf_threshold: float = 0.25, **_: object) -> Answer:
        assert image.mode == "RGB"
        boxes = [((29, 41, 84, 98), "face", 0.6), ((90, 1, 130, 40), "face", 0.8)]
        low = [((0, 0, 9, 9), "face", 0.2), ((30, 40, 85, 99), "face", 0.5)]
        return [one for one in boxes + low if one[2] >= conf_threshold]

    imgutils(detect_faces)
    finder = open_finder("imgutils")
    found = finder.find(np.zeros((200, 200, 3), np.uint8))
    assert found == [Face(0.8, (90.0, 1.0, 130.0, 40.0)), Face(0.6, (29.0, 41.0, 84.0, 98.0))]
    assert finder.find(np.zeros((1, 5000, 3), np.uint8)) == []
    assert finder.describe()["finder"] == "imgutils"
    assert len(open_finder("imgutils", least=0.7).find(np.zeros((200, 200, 3), np.uint8))) == 1


def test_imgutils_without_its_model_is_refused(
    imgutils: Callable[[Callable[..., Answer]], None],
) -> None:
    def detect_faces(image: Image.Image, **_: object) -> Answer:
        raise ConnectionError("no route to the hub")

    imgutils(detect_faces)
    with pytest.raises(DataError, match=r"ConnectionError: no route .* is this machine connected"):
        open_finder("imgutils")


def test_imgutils_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imgutils.detect", None)
    monkeypatch.setitem(sys.modules, "imgutils", None)
    with pytest.raises(DataError, match="dghs-imgutils"):
        open_finder("imgutils")
