"""Originality, with copies and with pictures that are none."""

import numpy as np
import pytest

from kaogen.metrics.memorised import nearest, originality

RNG = np.random.default_rng(0)


def flat(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures).reshape(len(pictures), -1)


def test_nearest_is_what_comparing_all_with_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks of a few rows, so that their borders are met.
    monkeypatch.setattr("kaogen.metrics.memorised._QUERIES", 7)
    monkeypatch.setattr("kaogen.metrics.memorised._FACES", 11)
    faces, mirrored, queries = (RNG.normal(size=(n, 5)).astype(np.float32) for n in (40, 40, 30))
    hidden = RNG.integers(0, 40, (30, 2))
    both = np.concatenate([faces, mirrored]).astype(np.float64)
    table = np.linalg.norm(queries[:, None].astype(np.float64) - both, axis=2)
    for i, places in enumerate(hidden):
        table[i, [*places, *(places + 40)]] = np.inf
    distance, place = nearest(queries, faces, mirrored, hidden)
    np.testing.assert_array_equal(place, table.argmin(axis=1))
    np.testing.assert_allclose(distance, table.min(axis=1))


def test_copies_are_found_mirrored_too() -> None:
    faces = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    stolen = np.concatenate([faces[10:15], faces[20:25, :, ::-1]])
    found = originality(
        "pixels", flat(stolen), flat(faces), flat(faces[:, :, ::-1]), sample=30, seed=0
    )
    assert found.closer.share == found.copies.share == 1
    assert found.median == 0 < found.real_median
    pairs = {pair.picture: pair for pair in found.worst}
    assert (pairs[0].face, pairs[0].mirrored) == (10, False)
    assert (pairs[7].face, pairs[7].mirrored) == (22, True)
    assert all(pair.distance == 0 for pair in found.worst)


def test_new_pictures_are_as_far_as_real_ones() -> None:
    # A mirror image of a point: its second half put first, so that mirroring is symmetric.
    faces, fresh = (RNG.normal(size=(n, 12)).astype(np.float32) for n in (800, 400))
    mirrored = np.roll(faces, 6, axis=1)
    found = originality("judge", fresh, faces, mirrored, sample=400, seed=0)
    assert found.closer.share == pytest.approx(found.real_closer.share, abs=0.08)
    assert found.copies.share == pytest.approx(0.01, abs=0.02)
    assert found.median == pytest.approx(found.real_median, rel=0.05)
    assert sum(found.counts) == pytest.approx(1)
    assert sum(found.real_counts) == pytest.approx(1)


def test_distances_of_pixels_are_grey_levels() -> None:
    faces = np.zeros((4, 12), np.uint8)
    faces[1:] = np.array([[80], [160], [240]], np.uint8)
    pictures = np.full((1, 12), 10, np.uint8)
    found = originality("pixels", pictures, faces, faces, sample=4, seed=0)
    assert found.median == pytest.approx(10)
    assert found.worst[0].own == pytest.approx(80)
    assert found.closer.share == 1
