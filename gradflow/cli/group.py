"""The command group: errors become one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from gradflow.errors import GradflowError, out_of_memory, unknown_name


class Group(TyperGroup):
    """A Typer group that keeps the contract's exit codes and never shows a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, then exit with its code."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            _exit(_explain(error))
        except KeyboardInterrupt:
            _exit(130)
        _exit(code if isinstance(code, int) else 0)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the named command.

        Raises
        ------
        GradflowError
            With the nearest known names.
        """
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            raise unknown_name("command", cmd_name, self.commands)
        return command


def complain(message: str, hint: str | None = None) -> None:
    """Print ``error: …`` and its hint to stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("error: ", "bold red"), " ".join(message.split())))
    if hint:
        console.print(Text.assemble(("hint: ", "dim"), " ".join(hint.split())))


def _explain(error: Exception) -> int:
    """Print what went wrong and return the exit code; raise what is a defect of gradflow."""
    if isinstance(error, GradflowError):
        complain(error.message, error.hint)
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if hasattr(error, "format_message"):  # the parser's own: Typer's or Click's
        command = getattr(getattr(error, "ctx", None), "command_path", "gradflow")
        complain(_parser_message(error), f"see {command} --help")
        return 2
    if out_of_memory(error):
        complain(
            "not enough memory for this", "a smaller --width, --depth, --batch-size or --seeds"
        )
        return 2
    raise error


def _parser_message(error: Any) -> str:
    """The parser's message, with the value it refused where that is known only to its cause."""
    message = str(error.format_message())
    refused = getattr(error.__cause__, "errors", None)
    return f"{message}, got '{refused()[0]['input']}'" if callable(refused) else message


def _exit(code: int) -> NoReturn:
    sys.exit(code)
