"""The cache: what is in it is right, and what is wrong with it is never an error."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.metrics.cache import Cache, archive_features, cached, default_folder, key_of
from kaogen.metrics.features import Features, open_features


@pytest.fixture
def archive(tmp_path: Path, pictures: np.ndarray) -> Archive:
    items = [Item(image, source=f"{i}.png") for i, image in enumerate(pictures)]
    path = tmp_path / "faces.zip"
    write_archive(path, items)
    return Archive.open(path)


@pytest.fixture
def features(judge: Path) -> Features:
    return open_features(str(judge))


def refuse() -> np.ndarray:
    raise AssertionError("it was computed again")


def test_a_set_is_looked_at_once(
    archive: Archive, features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    first = archive_features(archive, features, cache=cache)
    np.testing.assert_array_equal(first, features(archive.pixels()))
    monkeypatch.setattr(type(features), "__call__", lambda *_: refuse())
    np.testing.assert_array_equal(archive_features(archive, features, cache=cache), first)


def test_other_rows_and_mirrored_ones_are_other_entries(
    archive: Archive, features: Features, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    whole = archive_features(archive, features, cache=cache)
    some = archive_features(archive, features, np.array([5, 2]), cache=cache)
    np.testing.assert_allclose(some, whole[[5, 2]], rtol=1e-6)
    mirrored = archive_features(archive, features, mirrored=True, cache=cache)
    np.testing.assert_allclose(mirrored, whole, atol=2e-3)  # means know no left and right
    assert len(list(cache.folder.glob("*.features"))) == 3


def test_progress_is_told(archive: Archive, features: Features, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    archive_features(
        archive, features, cache=Cache(tmp_path), progress=lambda done, n: seen.append((done, n))
    )
    assert seen == [(70, 70)]


def test_a_damaged_entry_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, rows = Cache(tmp_path), np.arange(12, dtype=np.float32).reshape(4, 3)
    cache.put("k", rows)
    path = tmp_path / "k.features"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    for broken in (bytes(data), b"", data[:100]):
        path.write_bytes(broken)
        with caplog.at_level(logging.WARNING):
            assert cache.get("k") is None
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(cached("k", lambda: rows + 1, cache), rows + 1)
    np.testing.assert_array_equal(cached("k", refuse, cache), rows + 1)


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache, rows = Cache(tmp_path / "file" / "cache"), np.ones((2, 3), np.float32)
    with caplog.at_level(logging.WARNING):
        assert cached("k", lambda: rows, cache) is rows
    assert "not kept" in caplog.text


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    rows = np.zeros((100, 10), np.float32)  # 4,000 bytes and a header
    cache = Cache(tmp_path, largest=9000)
    for age, key in ((300, "a"), (200, "b")):
        cache.put(key, rows)
        past = (tmp_path / "a.features").stat().st_mtime - age
        os.utime(tmp_path / f"{key}.features", (past, past))
    assert cache.get("a") is not None  # used just now
    cache.put("c", rows)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["a", "c"]


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAOGEN_CACHE", "/somewhere")
    assert default_folder() == Path("/somewhere/features")
    monkeypatch.delenv("KAOGEN_CACHE")
    assert default_folder() == Path.home() / ".cache/kaogen/features"


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
