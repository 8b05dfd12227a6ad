"""Features of data sets, kept on disk by content: the same faces are looked at once.

An entry's name is the SHA-256 of the data set's fingerprint, the features' identity, the rows and
the version of this code, so nothing ever has to be invalidated. An entry is a `.npy` after its own
SHA-256; one that is damaged is computed again. The folder is `$KAOGEN_CACHE` or
`~/.cache/kaogen/features`, holds at most 2 GiB, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kaogen.data.archives.archive import Archive
from kaogen.metrics.features import Features, Progress, Rows

VERSION = 1
"""Raise it when the same pictures and weights would give other features than before."""
LARGEST = 2 * 2**30
CHUNK = 1024  # pictures decoded at once

_log = logging.getLogger("kaogen.metrics")


class Cache:
    """A folder of arrays by key.

    Args:
        folder: made on the first write; None is the default one.
        largest: bytes; the entries that were not used for longest go first.

    """

    def __init__(self, folder: Path | None = None, largest: int = LARGEST) -> None:
        self.folder = folder or default_folder()
        self.largest = largest

    def get(self, key: str) -> Rows | None:
        """The array of that key, or None where there is none that is whole."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, payload = data[:64], data[65:]
        if digest != hashlib.sha256(payload).hexdigest().encode():
            _log.warning("%s is damaged and is made again.", path)
            return None
        with contextlib.suppress(OSError):  # a read-only cache serves as well
            path.touch()  # the time of its last use
        rows: Rows = np.load(io.BytesIO(payload), allow_pickle=False)
        return rows

    def put(self, key: str, rows: Rows) -> None:
        """Keep an array: whole or not at all. A cache that cannot be written is no error."""
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        payload = buffer.getvalue()
        path, temporary = self._path(key), None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".tmp-")
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n")
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._shrink(keep=path)
        except OSError as error:
            _log.warning("Features are not kept: %s (%s).", self.folder, error.strerror)
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.features"

    def _shrink(self, keep: Path) -> None:
        entries = sorted(
            ((stat.st_mtime, stat.st_size, path) for path, stat in self._entries()), reverse=True
        )
        total = keep.stat().st_size
        for _, size, path in entries:
            if path == keep:
                continue
            total += size
            if total > self.largest:
                path.unlink(missing_ok=True)

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        return [(path, path.stat()) for path in self.folder.glob("*.features")]


def default_folder() -> Path:
    """`$KAOGEN_CACHE`, or `~/.cache/kaogen`, and in it `features`."""
    chosen = os.environ.get("KAOGEN_CACHE")
    base = Path(chosen) if chosen else Path.home() / ".cache" / "kaogen"
    return base / "features"


def key_of(*parts: str) -> str:
    """SHA-256 of the parts and of this code's version, as hex."""
    digest = hashlib.sha256(f"kaogen features {VERSION}".encode())
    for part in parts:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()


def archive_features(
    archive: Archive,
    features: Features,
    rows: npt.NDArray[np.int64] | None = None,
    *,
    mirrored: bool = False,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Rows:
    """Features [N, dim] of a data set's pictures, from the cache where they are there.

    Pictures are decoded 1,024 at a time: the whole set is never in memory.

    Args:
        archive: the data set.
        features: of which network.
        rows: which pictures, in this order; None is all.
        mirrored: of the pictures flipped left to right.
        cache: where to keep them; None is the default folder.
        progress: `progress(done, total)` now and then.

    """
    chosen = np.arange(len(archive)) if rows is None else np.asarray(rows, dtype=np.int64)
    which = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()
    key = key_of(archive.fingerprint, features.identity, which, str(mirrored))

    def compute() -> Rows:
        parts = []
        for start in range(0, len(chosen), CHUNK):
            images = np.stack([archive.image(int(i)) for i in chosen[start : start + CHUNK]])
            images = images[:, :, ::-1] if mirrored else images
            parts.append(features(np.ascontiguousarray(images)))
            if progress is not None:
                progress(min(start + CHUNK, len(chosen)), len(chosen))
        return np.concatenate(parts) if parts else np.empty((0, features.dim), np.float32)

    return cached(key, compute, cache)


def cached(key: str, compute: Callable[[], Rows], cache: Cache | None = None) -> Rows:
    """The array of that key, computed and kept where it is not there yet."""
    cache = cache or Cache()
    found = cache.get(key)
    if found is None:
        found = compute()
        cache.put(key, found)
    return found
