"""`gradflow explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli.output import Output
from gradflow.errors import GradflowError
from gradflow.findings.codes import CODES
from gradflow.findings.explain import every_code
from gradflow.findings.explain import explain as explained


def complete_code(incomplete: str) -> list[tuple[str, str]]:
    """Return the codes that begin so, each with what it says."""
    return [(name, code.summary) for name, code in CODES.items() if name.startswith(incomplete)]


def explain(
    output: Output,
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE", help="A finding, as 'vanishing'.", autocompletion=complete_code
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--list", help="List every finding there is.")] = False,
) -> None:
    """Say what a finding means, how it is measured, and what to do."""
    if every == (code is not None):
        raise GradflowError(
            "explain takes one CODE, or --list", "gradflow explain --list shows every code"
        )
    output.emit(every_code() if code is None else explained(code))
