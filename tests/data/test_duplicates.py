"""Near-duplicates: against a search of all pairs, and on real faces."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kaogen.data.preparing.duplicates import DISTANCE, hamming, near_duplicates
from kaogen.data.preparing.filters import face_stats
from kaogen.errors import ConfigError

SHARED = Path(os.environ.get("KAOGEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def by_all_pairs(hashes: np.ndarray, distance: int, order: list[int]) -> dict[int, int]:
    kept: list[int] = []
    dropped = {}
    for i in order:
        near = (k for k in kept if hamming(int(hashes[k]), int(hashes[i])) <= distance)
        keeper = next(near, None)
        if keeper is None:
            kept.append(i)
        else:
            dropped[i] = keeper
    return dropped


def families(count: int, seed: int, flips: int = 8) -> np.ndarray:
    """Hashes around a few centres, up to ``flips`` bits from them."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, max(1, count // 10), dtype=np.uint64)
    hashes = centres[rng.integers(0, len(centres), count)]
    for _ in range(flips):
        bit = np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
        hashes = np.where(rng.random(count) < 0.5, hashes ^ bit, hashes)
    return hashes


@given(st.integers(0, 12), st.integers(0, 300), st.integers(0, 9))
def test_the_same_as_a_search_of_all_pairs(distance: int, count: int, seed: int) -> None:
    hashes = families(count, seed)
    sizes = np.random.default_rng(seed).integers(0, 3, count).tolist()
    names = [f"{i * 7919 % 1000:03d}" for i in range(count)]
    order = sorted(range(count), key=lambda i: (-sizes[i], names[i], i))
    found = near_duplicates(hashes, distance, names, sizes=sizes)
    assert found == by_all_pairs(hashes, distance, order)


def test_the_order_of_the_items_does_not_matter() -> None:
    hashes = families(500, 1)
    names = [f"{i:03d}" for i in range(500)]
    shuffle = np.random.default_rng(2).permutation(500)
    one = near_duplicates(hashes, 6, names)
    other = near_duplicates(hashes[shuffle], 6, [names[i] for i in shuffle])
    assert one == {int(shuffle[a]): int(shuffle[b]) for a, b in other.items()}


def test_the_largest_is_kept_then_the_first_name() -> None:
    hashes = np.zeros(4, np.uint64)
    assert near_duplicates(hashes, 0, ["d", "c", "b", "a"]) == {0: 3, 1: 3, 2: 3}
    assert near_duplicates(hashes, 0, ["d", "c", "b", "a"], sizes=[1, 2, 1, 1]) == {
        0: 1,
        2: 1,
        3: 1,
    }


def test_faces_of_other_colours_are_no_copies() -> None:
    hashes = np.zeros(3, np.uint64)
    tones = np.array([0x8080808080808080, 0x8080868080808080, 0x8080878080808080], np.uint64)
    assert near_duplicates(hashes, 6, ["a", "b", "c"], tones=tones) == {1: 0}


def test_expressions_are_no_copies_of_each_other() -> None:
    hashes = np.array([5, 5, 7, 5], np.uint64)
    found = near_duplicates(hashes, 3, ["a", "b", "c", "d"], kinds=[0, 1, 0, 1])
    assert found == {2: 0, 3: 1}


def test_thousands_of_frames_of_one_scene_stay_cheap() -> None:
    rng = np.random.default_rng(3)
    flips = np.uint64(1) << rng.integers(0, 64, (3, 8_000)).astype(np.uint64)
    hashes = np.bitwise_xor.reduce(flips, axis=0)
    steps: list[tuple[int, int]] = []
    found = near_duplicates(
        hashes, 6, [f"{i:05d}" for i in range(8_000)], progress=lambda *a: steps.append(a)
    )
    assert len(found) == 7_999
    assert steps[-1] == (8_000, 8_000)


def test_what_cannot_be_is_told() -> None:
    hashes = np.zeros(2, np.uint64)
    with pytest.raises(ConfigError, match="0 to 12 bits, not 13"):
        near_duplicates(hashes, 13, ["a", "b"])
    with pytest.raises(ConfigError, match="differs in number"):
        near_duplicates(hashes, 3, ["a"])
    assert near_duplicates(hashes[:0], 3, []) == {}


def test_copies_of_real_faces_are_found_and_others_kept() -> None:
    if not (SHARED / "getchu.zip").is_file():
        pytest.skip(f"needs real faces in {SHARED}; set KAOGEN_DATA")
    with zipfile.ZipFile(SHARED / "getchu.zip") as file:
        names = sorted(name for name in file.namelist() if name.endswith(".webp"))[::150]
        faces = [Image.open(io.BytesIO(file.read(name))).convert("RGB") for name in names]
    copies = []
    for image in faces:
        jpeg = io.BytesIO()
        image.resize((56, 56), Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=70)
        copies.append(Image.open(jpeg))
    seen = [face_stats(np.asarray(image)) for image in [*faces, *copies]]
    hashes = np.array([s.phash for s in seen], np.uint64)
    tones = np.array([s.tone for s in seen], np.uint64)
    sizes = [s.size for s in seen]
    everyone = [*names, *(f"copy of {name}" for name in names)]
    dropped = near_duplicates(hashes, DISTANCE, everyone, sizes=sizes, tones=tones)
    found = [dropped.get(len(names) + i) == i for i in range(len(names))]
    assert np.mean(found) > 0.97
    # The set was rid of copies before: what else is dropped is mistaken, or was overlooked.
    assert sum(i < len(names) for i in dropped) <= len(names) // 50
