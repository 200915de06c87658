"""`gradflow eval`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gradflow.cli.arguments import ActivationName, Alpha
from gradflow.cli.output import Output


def evaluate(
    act: ActivationName,
    output: Output,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="X", help="A number, start:stop:step, or - for stdin. Repeatable."),
    ] = None,
    alpha: Alpha = None,
) -> None:
    """Evaluate an activation: x, f(x), f′(x), and what that slope does over ten layers."""
    from gradflow.cli.points import parse_points
    from gradflow.functions.evaluate import evaluate as evaluate_at

    output.emit(evaluate_at(act, parse_points(at or ["-5:5:1"], sys.stdin), alpha))
