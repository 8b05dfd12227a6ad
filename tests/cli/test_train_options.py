"""The options of `kaogen train` that come from a table."""

import typing
from dataclasses import asdict
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kaogen.cli.train_options import OPTIONS, with_options
from kaogen.training.config import TrainConfig


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row[1])
def test_each_option_sets_a_field_of_its_type(row: tuple[str, str, type, str]) -> None:
    field, _, kind, told = row
    hint = typing.get_type_hints(TrainConfig)[field]
    assert (str if typing.get_origin(hint) else hint) is kind
    assert told.endswith(".")
    assert isinstance(asdict(TrainConfig())[field], kind)


def test_only_what_was_given_is_chosen_and_the_command_keeps_its_own() -> None:
    heard: dict[str, Any] = {}

    @with_options
    def command(data: str, *, size: int = 3, chosen: dict[str, Any]) -> None:
        """Say something."""
        heard.update(chosen, data=data, size=size)

    app = typer.Typer()
    app.command()(command)
    words = ["x.zip", "--size", "4", "--loss", "hinge", "--path", "2", "--no-flip"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    expected = {"loss": "hinge", "path_weight": 2.0, "flip": False}
    assert heard == {"data": "x.zip", "size": 4, **expected}
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Say something." in shown
    assert "chosen" not in shown
