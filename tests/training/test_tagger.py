"""The tagger's whole way: labelled zip in, files out that the rest of kaogen reads."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from PIL import Image

from kaogen.cli.main import main
from kaogen.data.tagging.taggers import Tagger
from kaogen.errors import LabelError
from kaogen.interop.tagger import save_tagger
from kaogen.nets.build import load_trunk
from kaogen.nets.efficientnet import EfficientNetLite
from kaogen.nets.tagger import TaggerNet, fold_norms
from kaogen.training.tagger import (
    TaggerConfig,
    TwoTaggers,
    as_input,
    augment,
    loss_of,
    predict,
    probabilities,
)
from kaogen.training.tagger_data import EYES, HAIR, Labelled, hard_targets, read_csv
from kaogen.training.tagger_recipes import RECIPES, Recipe
from kaogen.training.tagger_run import Source, split, train_tagger
from kaogen.training.tagger_run import load as load_set

COLOURS = {"pink hair": (240, 120, 180), "blue hair": (60, 90, 220), "green hair": (60, 180, 80)}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """150 squares of a hair colour; half have a dark bar, which is called glasses."""
    folder = tmp_path_factory.mktemp("labelled")
    source = np.random.default_rng(0)
    with (
        zipfile.ZipFile(folder / "faces.zip", "w") as archive,
        (folder / "faces.csv").open("w", newline="") as handle,
    ):
        writer = csv.writer(handle)
        writer.writerow(["file", "tags"])
        for i in range(150):
            colour = list(COLOURS)[i % 3]
            pixels = np.full((32, 32, 3), COLOURS[colour], np.float64)
            pixels += source.normal(0, 12, pixels.shape)
            bar = i % 2 == 0
            if bar:
                pixels[12:20, 4:28] = 10
            buffer = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "WEBP")
            archive.writestr(f"{i:03}.webp", buffer.getvalue())
            tags = [colour, "red eyes", *(["glasses"] if bar else [])]
            writer.writerow([f"{i:03}.webp", "|".join(tags)])
    return Source(folder / "faces.zip", folder / "faces.csv", None)


@pytest.mark.slow
def test_learns_colours_and_a_tag_and_its_files_are_read(labelled: Source, tmp_path: Path) -> None:
    told: list[int] = []
    stage = TaggerConfig("plain", 32, 40, 32, 3e-3, 1.0, mix=(1.0,), binary_weight=0.5)
    net, report = train_tagger([labelled], Recipe((stage,)), lambda _, s, *__: told.append(s))
    assert isinstance(net, TaggerNet)
    assert told[-1] == 40
    assert report["hair_top1"] > 0.9
    row = next(t for t in report["tags"] if t["name"] == "glasses")
    assert row["ap"] > 0.9
    assert row["learnt"]
    assert report["held_out"] == 30
    save_tagger(net, report, 32, tmp_path)
    tagger = Tagger.load(tmp_path / "tagger.onnx")
    picture = np.full((32, 32, 3), COLOURS["blue hair"], np.uint8)
    assert "blue hair" in [name for name, _ in tagger.tags(tagger.scores([picture])[0])]
    trunk = load_trunk(tmp_path / "tagger.safetensors")
    assert isinstance(trunk, TaggerNet)
    torch.testing.assert_close(trunk.head.weight, net.head.weight.detach(), atol=1e-3, rtol=1e-2)
    out = tmp_path / "tags.csv"
    words = ["tagger", "apply", str(labelled.faces), "--out", str(out)]
    assert main([*words, "--tagger", str(tmp_path / "tagger.onnx")]) == 0
    said = read_csv(out)
    assert len(said) == 150
    assert sum("pink hair" in tags for tags in said.values()) == pytest.approx(50, abs=8)


def test_onnx_says_what_torch_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TaggerNet(len(HAIR) + len(EYES) + 2, (4, 6)).eval()
    tags = [
        {"name": n, "threshold": 0.5, "group": g, "learnt": True}
        for names, g in ((HAIR, "hair colour"), (EYES, "eye colour"), (("smile", "hat"), None))
        for n in names
    ]
    exclusive = {"hair colour": list(HAIR), "eye colour": list(EYES)}
    save_tagger(net, {"tags": tags, "exclusive": exclusive}, 16, tmp_path)
    faces = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    theirs = Tagger.load(tmp_path / "tagger.onnx").scores(list(faces))
    with torch.no_grad():
        ours = probabilities(fold_norms(net)(as_input(faces))).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-2)  # weights are bytes
    np.testing.assert_allclose(theirs[:, : len(HAIR)].sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("size", [32, 40])
def test_the_light_network_in_onnx_says_what_torch_says(tmp_path: Path, size: int) -> None:
    torch.manual_seed(0)
    net = EfficientNetLite(len(HAIR) + len(EYES) + 2).eval()
    torch.nn.init.normal_(net.head.weight, 0, 0.3)
    for unit in net.units():
        torch.nn.init.uniform_(unit.norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(unit.norm.bias, 0, 0.2)
    names = [*HAIR, *EYES, "smile", "hat"]
    rows = [{"name": n, "threshold": 0.5, "group": None, "learnt": True} for n in names]
    save_tagger(net, {"tags": rows, "exclusive": {}}, size, tmp_path)
    faces = np.random.default_rng(0).integers(0, 255, (3, size, size, 3), dtype=np.uint8)
    theirs = Tagger.load(tmp_path / "tagger.onnx").scores(list(faces))
    with torch.no_grad():
        ours = probabilities(net(as_input(faces))).numpy()
    np.testing.assert_allclose(theirs, ours, atol=0.03)  # weights are bytes


def test_two_taggers_are_one_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    count = len(HAIR) + len(EYES) + 2
    colours, rest = TaggerNet(count, (4, 6)).eval(), EfficientNetLite(count).eval()
    torch.nn.init.normal_(rest.head.weight, 0, 0.3)
    pair = TwoTaggers(colours, rest)
    names = [*HAIR, *EYES, "smile", "hat"]
    rows = [{"name": n, "threshold": 0.5, "group": None, "learnt": True} for n in names]
    save_tagger(pair, {"tags": rows, "exclusive": {}}, 32, tmp_path, "judge")
    faces = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    theirs = Tagger.load(tmp_path / "judge.onnx").scores(list(faces))
    np.testing.assert_allclose(theirs, predict(pair, faces, flips=False), atol=0.03)


def test_the_loss_is_torchs_own_for_plain_labels() -> None:
    source = np.random.default_rng(1)
    n, first = 12, len(HAIR) + len(EYES)
    hair, eyes = source.integers(-1, len(HAIR), n), source.integers(-1, len(EYES), n)
    binary = source.integers(0, 2, (n, 3)).astype(np.float32)
    binary[0, 1] = np.nan
    faces = hard_targets(Labelled(np.zeros((n, 8, 8, 3), np.uint8), hair, eyes, binary, []))
    logits = torch.randn(n, first + 3)
    weight = torch.tensor([1.0, 3.0, 5.0])
    ours = loss_of(logits, torch.from_numpy(faces.targets), weight.expand(n, 3), 0.5)
    known = ~np.isnan(binary)
    each = F.binary_cross_entropy_with_logits(
        logits[:, first:], torch.from_numpy(np.nan_to_num(binary)), reduction="none",
        pos_weight=weight,
    )  # fmt: skip
    theirs = 0.5 * 3 * each[torch.from_numpy(known)].mean()
    for truth, part in ((hair, logits[:, : len(HAIR)]), (eyes, logits[:, len(HAIR) : first])):
        smooth = {"ignore_index": -1, "label_smoothing": 0.1}
        theirs = theirs + F.cross_entropy(part, torch.from_numpy(truth), **smooth)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
def test_students_learn_from_teachers_and_finished_stages_are_kept(
    labelled: Source, tmp_path: Path
) -> None:
    config = TaggerConfig("plain", 16, 20, 32, 3e-3, 1.0, mix=(1.0,), binary_weight=0.5)
    recipe = Recipe((config, replace(config, soft_share=0.5)), (replace(config, seed=1),))
    told: list[str] = []
    net, _ = train_tagger([labelled], recipe, lambda name, *_: told.append(name), tmp_path)
    assert list(dict.fromkeys(told)) == ["stage 1", "teacher 0", "stage 2"]
    opinion = np.load(next(tmp_path.glob("*says*.npy")))
    assert opinion.shape == (120, net.head.out_features)  # none of the 30 held out
    np.testing.assert_allclose(opinion[:, : len(HAIR)].sum(axis=1), 1, atol=1e-3)
    told.clear()
    again, _ = train_tagger([labelled], recipe, lambda name, *_: told.append(name), tmp_path)
    assert told == []
    torch.testing.assert_close(again.head.weight, net.head.weight)
    next(tmp_path.glob("stage1*")).unlink()
    train_tagger([labelled], recipe, lambda name, *_: told.append(name), tmp_path)
    assert list(dict.fromkeys(told)) == ["stage 2"]  # what its teacher said is known


def test_held_out_faces_are_the_same_each_time_and_apart(labelled: Source) -> None:
    data = load_set(labelled.faces, labelled.labels, 16, ("glasses",), None)
    learn, test = split(data)
    again = split(data)[1]
    assert test.names == again.names
    assert not set(learn.names) & set(test.names)
    assert len(learn.names) + len(test.names) == 150


def test_augmentation_keeps_grey_grey() -> None:
    grey = torch.rand(8, 1, 16, 16).expand(8, 3, 16, 16) * 2 - 1
    out = augment(grey, torch.Generator().manual_seed(0))
    torch.testing.assert_close(out[:, 0], out[:, 1])
    assert float(out.min()) >= -1
    assert float(out.max()) <= 1


def test_bad_labels_are_one_line(labelled: Source, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,words\na.webp,smile\n")
    with pytest.raises(LabelError, match="header"):
        read_csv(tmp_path / "x.csv")
    (tmp_path / "few.csv").write_text("file,tags\n000.webp,pink hair\n")
    (tmp_path / "gone.csv").write_text("file,tags\ngone.webp,pink hair\n")
    gone = Source(labelled.faces, tmp_path / "gone.csv", None)
    with pytest.raises(LabelError, match=r"does not hold, 'gone.webp' first"):
        train_tagger([gone], RECIPES["tagger"], lambda *_: None)
    few = Source(labelled.faces, tmp_path / "few.csv", None)
    with pytest.raises(LabelError, match="labels only 1 faces"):
        train_tagger([few], RECIPES["tagger"], lambda *_: None)


def test_the_shipped_taggers_files_belong_together() -> None:
    tagger = Tagger.load()
    described = json.loads(tagger.path.with_suffix(".json").read_text())
    assert len(described["tags"]) == len(tagger.rules)
