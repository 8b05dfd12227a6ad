"""The program: every failure is one line and has its exit status; every command has help."""

import signal
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from kaogen import __version__
from kaogen.cli import main as cli
from kaogen.errors import KaogenError, PortBusyError, UnknownTagError


def run(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, after `code`."""
    program = f"{code}\nimport sys\nfrom kaogen.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Put a function behind `kaogen summary`."""

    def put(function: Callable[[], None]) -> None:
        module = types.ModuleType("kaogen.cli.summary")
        vars(module)["command"] = function
        monkeypatch.setitem(sys.modules, "kaogen.cli.summary", module)

    return put


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kaogen {__version__}\n"


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_lists_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert 'kaogen draw "pink hair, blue eyes, smile"' in shown
    for name, summary in cli.COMMANDS.items():
        assert f"  {name} " in shown
        assert summary in shown


def test_help_is_quick_and_loads_no_command() -> None:
    code = """
import atexit, sys
def check():
    heavy = {"torch", "numpy", "onnxruntime", "fastapi", "PIL", "kaogen.cli.draw"}
    print("loaded:", sorted(heavy & set(sys.modules)))
atexit.register(check)
"""
    assert run("--help", code=code).stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("name", [*cli.COMMANDS, "tagger train", "tagger apply"])
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: kaogen {name} ")
    assert f"\n    kaogen {name} " in shown


def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tagger"]) == 0
    assert "\nCommands:\n  train " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["drow"], "No such command 'drow'"),
        (["--frob"], "--frob"),
        (["summary", "--frob"], "--frob"),
    ],
)
def test_usage_errors(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("kaogen: error: ")
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UnknownTagError("glases", ["glasses"]), 2, 'unknown tag "glases". Nearest: glasses.'),
        (PortBusyError("port 8000 is taken."), 6, "port 8000 is taken."),
        (KaogenError("no.", hint="yes."), 1, "no. yes."),
        (FileNotFoundError(2, "No such file or directory", "a.png"), 1, "a.png: No such file"),
        (ModuleNotFoundError("no", name="ray"), 5, "pip install 'kaogen[cluster]'"),
    ],
)
def test_errors_are_one_line_with_their_status(
    error: Exception,
    status: int,
    said: str,
    plug: Callable[[Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise error

    plug(command)
    assert cli.main(["summary"]) == status
    shown = capsys.readouterr().err
    assert shown.startswith("kaogen: error: ")
    assert said in shown
    assert shown.count("\n") == 1


def test_bugs_keep_their_traceback(
    plug: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> None:
        raise UnknownTagError("x")

    plug(command)
    monkeypatch.setenv("KAOGEN_DEBUG", "1")
    with pytest.raises(UnknownTagError):
        cli.main(["summary"])

    def bug() -> None:
        raise ZeroDivisionError

    plug(bug)
    monkeypatch.delenv("KAOGEN_DEBUG")
    with pytest.raises(ZeroDivisionError):
        cli.main(["summary"])


def test_a_missing_extra_is_one_line() -> None:
    without = "import sys\nsys.modules['torch'] = None"
    assert run("train", "--help", code=without).returncode == 0
    done = run("train", "faces.zip", "--out", "run", "--dry-run", code=without)
    assert done.returncode == 5
    assert done.stderr == (
        "kaogen: error: `kaogen train` needs a part that is not installed. "
        "Install it with: pip install 'kaogen[train]'\n"
    )


NAP = """
import sys, time, types
def command():
    print("napping", flush=True)
    time.sleep(60)
module = types.ModuleType("kaogen.cli.summary")
module.command = command
sys.modules["kaogen.cli.summary"] = module
from kaogen.cli.main import run
sys.argv[1:] = ["summary"]
run()
"""


def test_ctrl_c_is_quiet() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "napping\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert child.stderr.read() == ""


def test_a_closed_pipe_is_quiet() -> None:
    code = "from kaogen.cli.main import run\nrun()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=30) in (0, 1)
