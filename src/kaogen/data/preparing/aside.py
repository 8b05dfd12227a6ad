"""What is left out, kept where a person can look at it."""

from __future__ import annotations

import csv
import re
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

from kaogen.data.preparing.found import Found
from kaogen.data.preparing.plan import kind_of
from kaogen.errors import ConfigError, DataError

_LIST = "rejected.csv"


class Aside:
    """A folder of what was left out: a subfolder for each reason, and ``rejected.csv``.

    It is filled beside its place and moved there by :meth:`finish`, so that what an earlier run
    left is never mixed with this one's. As a context manager it leaves nothing half done.

    Args:
        folder: its place.

    Raises:
        ConfigError: there is something else at that place.
        DataError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        check_place(folder)
        try:
            self._new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=self.folder.parent))
            self._list: TextIO = (self._new / _LIST).open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write {folder} ({error.strerror}).") from error
        self._rows = csv.writer(self._list)
        self._rows.writerow(("file", "face", "reason", "picture"))
        self.count = 0

    def add(self, one: Found, reason: str) -> None:
        """Keep one that was left out."""
        self.count += 1
        place = ""
        if one.png is not None:
            kind = re.sub(r"[^a-z]+", "-", kind_of(reason).lower()).strip("-")[:40] or "other"
            stem = re.sub(r"[^\w.-]+", "_", one.name.rpartition("/")[2].rpartition(".")[0])[:60]
            place = f"{kind}/{self.count:06d}-{stem}.png"
            try:
                (self._new / kind).mkdir(exist_ok=True)
                (self._new / place).write_bytes(one.png)
            except OSError as error:
                raise DataError(f"cannot write {self.folder} ({error.strerror}).") from error
        self._rows.writerow((one.name, one.index, reason, place))

    def finish(self) -> None:
        """Put the folder at its place."""
        self._list.close()
        self._new.chmod(0o755)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._new.replace(self.folder)

    def close(self) -> None:
        """Remove what was not finished."""
        self._list.close()
        shutil.rmtree(self._new, ignore_errors=True)


def check_place(folder: Path) -> None:
    """ConfigError unless ``folder`` is free, empty, or one that an earlier run made."""
    if not folder.absolute().parent.is_dir():
        raise ConfigError(f"--rejected {folder}: there is no folder {folder.absolute().parent}.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--rejected {folder} is no folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _LIST).is_file():
        raise ConfigError(
            f"--rejected {folder} holds other files.", hint="Name a folder that is new or empty."
        )
