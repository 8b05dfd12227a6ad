"""``kaogen``: the table of commands, and how every failure is told in one line.

Only the module of the command that was called is imported, so that ``kaogen --help`` is instant
and a missing extra is met only by the commands that need it.

A command's module ``kaogen.cli.<name>`` exposes either ``command``, a function with Typer's
annotations whose docstring is the help, or ``app``, a Typer app with commands of its own. A
docstring ends in an example, kept as written by a line with a backspace character before it::

    \\b
    Example:
      kaogen draw "pink hair, smile" -o out.png
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from kaogen import __version__
from kaogen.errors import ConfigError, KaogenError, missing_extra

# Command -> the line that `kaogen --help` shows for it; its module is kaogen.cli.<command>.
COMMANDS = {
    "prepare": "Turn pictures of any kind into a data set file of faces.",
    "data": "Look at data sets, count, check, merge, split and convert them.",
    "train": "Train a model on a data set file; run again to resume.",
    "eval": "Say how real, varied, obedient and original a model is.",
    "export": "Make a model file from a training run.",
    "draw": "Draw characters from traits.",
    "serve": "Start the website and its API.",
    "summary": "Print the layer tables of the networks.",
    "tagger": "Train the tagger, or apply it to a data set.",
    "tags": "Choose tags from a tagged set, or show what a tagger sees.",
}

_HELP = """Anime character faces from traits you pick.

\b
Example:
  kaogen draw "pink hair, blue eyes, smile" -n 9 --seed 1 -o out.png
  kaogen serve --port 8000

`kaogen COMMAND --help` explains a command, with an example.
"""


def build(wanted: str | None = None) -> typer.Typer:
    """Make the app, with the real command for ``wanted`` and placeholders for the others.

    Raises:
        MissingExtraError: the command needs an extra that is not installed.
    """
    app = typer.Typer(
        name="kaogen",
        help=_HELP,
        add_completion=False,
        rich_markup_mode=None,  # help texts hold brackets, as in kaogen[train]
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_root)
    for name, summary in COMMANDS.items():
        if name != wanted:
            app.command(name, help=summary)(_placeholder)
            continue
        module = importlib.import_module(f"kaogen.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    return app


def main(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit status.

    A KaogenError becomes one line on stderr and its own exit status; Ctrl-C is 130; a closed
    pipe (``kaogen summary | head``) is quiet. ``KAOGEN_DEBUG=1`` shows the traceback instead.
    """
    wanted = next((word for word in argv if not word.startswith("-")), None)
    try:
        status = _call(list(argv), wanted)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes stdout again at exit; give it something that does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("KAOGEN_DEBUG"):
            raise
        told = _explain(error, wanted or "kaogen")
        if told is None:
            raise
        print(f"kaogen: error: {told}", file=sys.stderr)
        return told.exit_code
    return status


def run() -> NoReturn:
    """Entry point of the ``kaogen`` program."""
    sys.exit(main(sys.argv[1:]))


def _call(argv: list[str], wanted: str | None) -> int:
    app = build(wanted if wanted in COMMANDS else None)
    if app.registered_groups and len(argv) == 1:
        argv = [*argv, "--help"]  # a group of commands alone does nothing
    result = typer.main.get_command(app).main(argv, prog_name="kaogen", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _explain(error: Exception, command: str) -> KaogenError | None:
    """Turn what went wrong into one of our errors; None for what only a bug explains."""
    if isinstance(error, KaogenError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error, f"`kaogen {command}`")
    if isinstance(error, typer.Abort):
        return KaogenError("stopped.")
    if isinstance(error, OSError) and error.filename is not None:
        return KaogenError(f"{error.filename}: {error.strerror or error}.")
    # The usage errors' base class has moved between Typer's versions; its shape has not.
    describe = getattr(error, "format_message", None)
    if describe is not None:
        usage = command if command in COMMANDS else ""
        return ConfigError(describe(), hint=f"See: kaogen {usage} --help".replace("  ", " "))
    return None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kaogen {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _placeholder() -> None:
    """Stand in for a command that this call does not run."""


if __name__ == "__main__":
    run()
