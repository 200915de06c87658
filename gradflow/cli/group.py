"""The command group: errors become one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from gradflow.cli import examples
from gradflow.cli.arguments import note_typed
from gradflow.cli.endings import INTERRUPTED, explain, signals_clean_up
from gradflow.cli.streams import broken_pipe_told, prepare
from gradflow.configs.fields import no_value, several
from gradflow.configs.ranges import is_plain
from gradflow.errors import GradflowError, unknown_name

_TYPED = "gradflow.typed"


class Command(TyperCommand):
    """A Typer command that refuses what was typed and means nothing.

    That is an option without a value, as of a shell variable that is not set, and a number that
    only Python reads as one.
    """

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        for parameter in self.params:
            parameter.consume_value = _noting(parameter)  # type: ignore[method-assign]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and examples beneath it."""
        super().format_help(ctx, formatter)
        examples.show("Examples", examples.EXAMPLES.get(self.name or "", {}))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, then look at what was typed.

        Raises
        ------
        GradflowError
            For an empty value, or a number with underscores or other digits than ASCII's.
        """
        note_typed(self.name or "", args)
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:  # whose --help is worth a look
                error.ctx = ctx  # type: ignore[attr-defined]
            raise
        for parameter, typed in ctx.meta.get(_TYPED, ()):
            if parameter.nargs != -1 and not ctx.resilient_parsing:
                _refuse_meaningless(parameter.opts[0], typed, ctx.params.get(parameter.name))
        return rest


def _noting(parameter: Any) -> Callable[..., Any]:
    """The parameter's own way of getting its value, which notes what was typed."""
    consume = parameter.consume_value

    def consumed(ctx: Any, opts: Any) -> Any:
        value, source = consume(ctx, opts)
        if source.name == "COMMANDLINE":
            typed = [text for text in several(value) if isinstance(text, str)]
            ctx.meta.setdefault(_TYPED, []).append((parameter, typed))
        return value, source

    return consumed


def _refuse_meaningless(name: str, typed: list[str], value: Any) -> None:
    numeric = any(isinstance(v, int | float) for v in several(value))
    for text in typed:
        if not text.strip():
            raise no_value(name)
        if numeric and not is_plain(text):
            raise GradflowError(f"{name}: '{text}' is not a number", f"like {name} 10")


class Group(TyperGroup):
    """A Typer group that keeps the contract's exit codes and never shows a traceback."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and what to try first."""
        super().format_help(ctx, formatter)
        examples.show("Try first", examples.FIRST)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, then exit with its code."""
        prepare()
        try:
            with signals_clean_up(), broken_pipe_told():
                code = super().main(*args, **{**extra, "standalone_mode": False})
                sys.stdout.flush()  # what cannot be written is said here, not as Python exits
        except Exception as error:
            code = explain(error)
        except KeyboardInterrupt:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse; a reader that left is no exit code of Typer's."""
        with broken_pipe_told():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a reader that left is no exit code of Typer's."""
        with broken_pipe_told():
            return super().invoke(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the named command.

        Raises
        ------
        GradflowError
            With the nearest known names.
        """
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            if cmd_name in ("help", "version"):
                raise GradflowError(f"unknown command '{cmd_name}'", f"gradflow --{cmd_name}")
            if cmd_name.endswith(".py"):
                hint = f"did you mean gradflow watch {cmd_name}?"
                raise GradflowError(f"unknown command '{cmd_name}'", hint)
            raise unknown_name("command", cmd_name, self.commands)
        return command
