"""The house rules: imports go one way, importing is instant, files and functions stay small."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kaogen

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "kaogen"
# An import points only to an earlier room, or stays in its own.
ROOMS = [
    "errors",
    "tagtable",
    "tags",
    "pngtext",
    "fields",
    "recipe",
    "avifsize",
    "images",
    "data",
    "nets",
    "training",
    "metrics",
    "studio",
    "interop",
    "server",
    "cli",
    "__main__",
]
# The command line loads only the command that was called, so some of its files may as well.
TORCH_ROOMS = {"nets", "training", "metrics", "interop", "cli"}
LONGEST_FILE = 350
LONGEST_FUNCTION = 80


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module that the file imports anywhere, by its full name."""
    package = ["kaogen", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_every_room_is_known() -> None:
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__", "models"}
    assert rooms <= set(ROOMS)


@pytest.mark.parametrize("path", python_files("src/kaogen"), ids=lambda p: str(p.name))
def test_imports_go_one_way(path: Path) -> None:
    if path == SOURCE / "__init__.py":
        return  # the public names, loaded on first use
    room = room_of(path)
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "kaogen" and rest != ["__version__"]:
            assert ROOMS.index(rest[0]) <= ROOMS.index(room), f"{room} imports {name}"
        if top in ("torch", "safetensors", "onnx"):
            assert room in TORCH_ROOMS, f"{room} imports {name}"


def child(code: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def test_importing_kaogen_is_instant_and_light() -> None:
    code = """
import json, sys, time
start = time.perf_counter()
import kaogen
seconds = time.perf_counter() - start
heavy = [m for m in ("torch", "onnxruntime", "fastapi", "numpy", "PIL") if m in sys.modules]
assert not heavy, heavy
print(json.dumps({"seconds": seconds}))
"""
    assert min(child(code)["seconds"] for _ in range(5)) < 0.2


def test_drawing_and_serving_need_no_torch() -> None:
    code = """
import json, sys
for name in ("torch", "safetensors", "onnx"):
    sys.modules[name] = None  # importing it fails
import kaogen.studio.draw, kaogen.server.app, kaogen.cli.draw, kaogen.cli.serve
import kaogen.data.tagging.taggers, kaogen.cli.prepare
print(json.dumps({}))
"""
    assert child(code) == {}


def test_the_public_names_are_these() -> None:
    assert kaogen.__all__ == [
        "PAPER",
        "Character",
        "KaogenError",
        "Recipe",
        "Studio",
        "Vocabulary",
        "__version__",
        "draw",
        "open_model",
    ]
    for name in kaogen.__all__:
        assert getattr(kaogen, name) is not None
        assert name in dir(kaogen)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kaogen.nothing  # noqa: B018


def test_the_version_stands_in_two_places_and_agrees() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == kaogen.__version__


def test_the_lock_pins_what_the_project_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.lock").read_text().split("\n")
        if "==" in line
    )
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(word for words in extras.values() for word in words)]
    for requirement in needed:
        name = re.split(r"[\[>=<]", requirement)[0].lower()
        assert name == "kaogen" or name in pins, requirement
    assert all(re.fullmatch(r"[0-9][\w.]*", version) for version in pins.values())


@pytest.mark.parametrize(
    "path",
    python_files("src", "tests", "benchmarks", "scripts")
    + sorted(p for kind in ("*.ts", "*.svelte", "*.css") for p in (ROOT / "site/src").rglob(kind)),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_the_tools_agree(command: list[str]) -> None:
    beside = Path(sys.executable).parent / command[0]
    tool = str(beside) if beside.exists() else shutil.which(command[0])
    if tool is None:
        pytest.skip(f"{command[0]} is not installed: pip install 'kaogen[dev]'")
    done = subprocess.run(
        [tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
