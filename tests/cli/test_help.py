"""Help is printed as it is written: rich takes [words] for markup and :100: for an emoji."""

from __future__ import annotations

import inspect

import pytest
import typer
from rich.text import Text

from gradflow.cli.app import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_the_help_is_markup(name: str) -> None:
    command = COMMANDS[name]
    helps = [getattr(parameter, "help", None) or "" for parameter in command.params]
    for written in (inspect.cleandoc(command.help), *helps):
        assert Text.from_markup(written).plain == written
