"""The Typer app."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from gradflow._version import __version__
from gradflow.cli.activations import activations
from gradflow.cli.benchmark import benchmark
from gradflow.cli.chain import chain
from gradflow.cli.clip import clip
from gradflow.cli.diagnose import diagnose
from gradflow.cli.eval import evaluate
from gradflow.cli.explain import explain
from gradflow.cli.group import Command, Group
from gradflow.cli.lr import lr
from gradflow.cli.options import expand_configs
from gradflow.cli.plot import plot
from gradflow.cli.streams import discard_remarks
from gradflow.cli.sweep import sweep
from gradflow.cli.theory import theory
from gradflow.cli.watch import watch
from gradflow.cli.width import width
from gradflow.lazy import leave_memory

app = typer.Typer(
    name="gradflow",
    cls=Group,
    help="Gradient-flow diagnostics: why a deep network does not train, and what to change.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gradflow {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Gradient-flow diagnostics: why a deep network does not train, and what to change."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


#: Every command by its name, in the order of ``--help``; a new one is one entry.
COMMANDS: dict[str, Callable[..., None]] = {
    "activations": activations,
    "eval": evaluate,
    "plot": plot,
    "chain": chain,
    "theory": theory,
    "diagnose": diagnose,
    "watch": watch,
    "lr": lr,
    "sweep": sweep,
    "width": width,
    "clip": clip,
    "benchmark": benchmark,
    "explain": explain,
}

#: What comes after a program's name is the program's.
_SETTINGS = {name: {"allow_interspersed_args": False} for name in ("watch", "lr")}

for name, command in COMMANDS.items():
    app.command(name, cls=Command, context_settings=_SETTINGS.get(name))(expand_configs(command))


def main() -> None:
    """Run the command line."""
    atexit.register(_leave_memory)
    atexit.register(discard_remarks)
    app()


def _leave_memory() -> None:
    if "gradflow.script" not in sys.modules:  # a user's program ends as it would alone
        leave_memory()
