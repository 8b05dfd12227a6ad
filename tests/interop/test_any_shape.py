"""Pictures that are not square, not RGB and not of base 4: trained, exported, drawn and served."""

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import StarletteDeprecationWarning

torch = pytest.importorskip("torch", reason="needs torch: pip install 'kaogen[train]'")

from kaogen.data.archives.archive import Archive, Item, write_archive  # noqa: E402
from kaogen.interop.onnx import ExportOptions, export  # noqa: E402
from kaogen.metrics.features import as_rgb as flattened  # noqa: E402
from kaogen.nets.config import NetConfig  # noqa: E402
from kaogen.recipe import Recipe  # noqa: E402
from kaogen.server.app import Settings, create_app  # noqa: E402
from kaogen.studio.bundle import Bundle  # noqa: E402
from kaogen.studio.draw import Studio  # noqa: E402
from kaogen.studio.sheets import sheet  # noqa: E402
from kaogen.studio.subject import ModelSubject  # noqa: E402
from kaogen.tags import Vocabulary  # noqa: E402
from kaogen.training.config import TrainConfig  # noqa: E402
from kaogen.training.run import Run  # noqa: E402

VOCABULARY = Vocabulary(["pink hair", "blue hair", "smile"])
SETTINGS = TrainConfig(batch=4, kimg=0.008, tick_kimg=0.008, precision="fp32", r1_interval=2)


class Kind(NamedTuple):
    """What is trained: the preset's base, and the pictures."""

    base: int
    height: int
    width: int
    channels: int
    critic: str
    augment: str
    mode: str


KINDS = {
    "grey, tall": Kind(3, 24, 16, 1, "stylegan2", "ada", "L"),
    "grey and alpha, wide": Kind(5, 20, 28, 2, "features", "shift+cut", "LA"),
    "RGB, wide": Kind(4, 16, 24, 3, "stylegan2", "shift+cut", "RGB"),
    "RGBA, tall": Kind(7, 28, 16, 4, "features", "ada", "RGBA"),
}


@pytest.fixture(params=KINDS, scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A kind, its data set and the model file of a run of two steps."""
    torch.set_num_threads(1)
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("shape")
    source = np.random.default_rng(0)
    shape = (kind.height, kind.width, kind.channels)
    items = [
        Item(source.integers(0, 255, shape, dtype=np.uint8), tags=(VOCABULARY.names[i % 3],))
        for i in range(12)
    ]
    write_archive(folder / "faces.zip", items, VOCABULARY, {})
    # As a preset is: square and RGB. The data set decides what is not.
    sizes = [kind.base * 2**i for i in range(4) if kind.base * 2**i <= kind.height]
    net = NetConfig(
        kind.height, dict.fromkeys(sizes, 8), z_dim=8, w_dim=8, mapping_layers=1, base=kind.base,
        conditioning="embed", critic=kind.critic,
    )  # fmt: skip
    with Archive.open(folder / "faces.zip") as archive:
        assert (archive.resolution, archive.channels) == (shape[:2], kind.channels)
        run = Run(folder / "run", archive, net, replace(SETTINGS, augment=kind.augment))
        assert run.train(lambda _tick: None)
    out = folder / "any.kaogen"
    export(folder / "run", folder / "faces.zip", out, ExportOptions(name="any", min_examples=1))
    return kind, folder, out


def test_run_and_model_file_have_the_data_sets_shape(made: tuple) -> None:
    kind, folder, out = made
    manifest = Bundle.open(out).manifest
    assert manifest.image_shape == (kind.channels, kind.height, kind.width)
    assert list((folder / "run").rglob("*.png"))


def test_drawing_keeps_mode_and_proportion(made: tuple) -> None:
    kind, _folder, out = made
    studio = Studio(Bundle.open(out))
    recipes = [Recipe(seed=seed, size=96) for seed in range(3)]
    together = studio.draw_all(recipes)
    longer = max(kind.height, kind.width)
    size = (round(kind.width * 96 / longer), round(kind.height * 96 / longer))
    for recipe, character in zip(recipes, together, strict=True):
        assert (character.image.mode, character.image.size) == (kind.mode, size)
        alone = studio.draw(recipe)
        assert alone.png() == character.png()  # the same bytes, however many are drawn
        with Image.open(io.BytesIO(alone.png())) as picture:
            assert (picture.mode, picture.size) == (kind.mode, size)
            assert picture.text  # the recipe
        assert Image.open(io.BytesIO(alone.webp())).size == size
    assert sheet(together, columns=2).size == (size[0] * 2 + 4, size[1] * 2 + 4)
    assert sheet(together).mode == "RGB"


def test_serving(made: tuple, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # Starlette asks for httpx's successor; httpx is what is locked, and does the same here.
        warnings.simplefilter("ignore", StarletteDeprecationWarning)
        from starlette.testclient import TestClient

    kind, _folder, out = made
    studio = Studio(Bundle.open(out))
    with TestClient(create_app(studio, Settings(static=tmp_path))) as client:
        answer = client.get("/v1/characters.png?seed=1&size=64")
        model = client.get("/v1/models").json()["models"][0]
    assert (model["width"], model["resolution"]) == (kind.width, kind.height)
    assert model["channels"] == kind.channels
    assert answer.status_code == 200
    assert answer.content == studio.draw(Recipe(seed=1, size=64)).png()
    assert Image.open(io.BytesIO(answer.content)).mode == kind.mode


def test_judges_see_rgb(made: tuple) -> None:
    kind, _folder, out = made
    studio = Studio(Bundle.open(out))
    subject = ModelSubject(studio, np.eye(3, dtype=bool))
    pictures = subject.draw(np.eye(3, dtype=np.float32), [1, 2, 3], 0.7)
    assert pictures.shape == (3, kind.height, kind.width, 3)
    raw = studio.bundle.synthesise(studio.w(Recipe(seed=1, psi=0.7), np.eye(3, dtype="f")[0]))
    gap = np.abs(pictures[0].astype(int) - flattened(raw[None])[0].astype(int))
    assert gap.max() <= 1
