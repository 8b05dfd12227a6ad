"""One data set, and the end that every run must come to."""

from pathlib import Path

import pytest

from crash.runs import Session, weights, write_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data") / "faces.zip")


@pytest.fixture(scope="session")
def undisturbed(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with Session(faces, folder) as session:
        assert session.codes() == [0]
    return weights(folder)


@pytest.fixture(scope="session")
def undisturbed_pair(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same of two ranks."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with Session(faces, folder, world=2) as session:
        assert session.codes() == [0, 0]
    return weights(folder)
