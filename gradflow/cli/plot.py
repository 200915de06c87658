"""`gradflow plot`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli.arguments import Alpha
from gradflow.cli.charted import ChartedOutput
from gradflow.cli.options import completer
from gradflow.configs.choices import ACTIVATION_NAMES, ACTIVATIONS
from gradflow.configs.registries import listed


def plot(
    acts: Annotated[
        list[str],
        typer.Argument(
            metavar="ACT...",
            help=f"Activation functions, several are overlaid: {listed(ACTIVATION_NAMES)}.",
            autocompletion=completer(ACTIVATIONS),
        ),
    ],
    output: ChartedOutput,
    range: Annotated[str, typer.Option("--range", metavar="LO:HI", help="Where to draw.")] = "-5:5",
    alpha: Alpha = None,
    derivative_only: Annotated[
        bool, typer.Option("--derivative-only", help="Only the slopes.")
    ] = False,
    grid: Annotated[bool, typer.Option("--grid", help="One small panel for each.")] = False,
) -> None:
    """Draw activations and their slopes; writes ACT.png here unless -o says where."""
    from gradflow.cli.points import parse_range
    from gradflow.functions.evaluate import curves
    from gradflow.report.files import default_figure

    result = curves(
        acts, *parse_range(range), alpha=alpha, derivative_only=derivative_only, grid=grid
    )
    if not output.output:
        output = output.to(default_figure("-".join(c.activation for c in result.curves)))
    output.emit(result)
