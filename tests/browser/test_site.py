"""The page's own tools: types, unit tests, and what the build and the lock file hold."""

import json
import shutil
import subprocess

import pytest

from .conftest import ROOT

SITE = ROOT / "site"


@pytest.mark.parametrize("script", ["check", "test"])
def test_npm(script: str, built: None) -> None:
    npm = shutil.which("npm")
    assert npm, "the website needs Node 20.19 or newer"
    done = subprocess.run(
        [npm, "run", "--silent", script],
        cwd=SITE,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_registry() -> None:
    packages = json.loads((SITE / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_the_build_is_light_and_stands_alone(built: None) -> None:
    static = ROOT / "src" / "kaogen" / "server" / "static"
    files = [path for path in static.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    page = (static / "index.html").read_text()
    assert "https:" not in page
    assert "style=" not in page, "the server's policy lets no inline style through"
