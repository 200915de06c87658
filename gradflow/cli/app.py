"""The Typer app."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow._version import __version__
from gradflow.cli import clipping, functions, networks, training
from gradflow.cli.group import Group

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


for module in (functions, networks, clipping, training):
    module.register(app)


def main() -> None:
    """Run the command line."""
    app()
