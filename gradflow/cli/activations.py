"""`gradflow activations`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli.output import Output


def activations(
    output: Output,
    time: Annotated[
        bool, typer.Option("--time", help="Measure each one's cost, forward plus backward.")
    ] = False,
) -> None:
    """List the activation functions: formula, slope, range, critical gain, cost."""
    from gradflow.functions.evaluate import catalogue

    costs = None
    if time:
        from gradflow.cli.progress import counting
        from gradflow.functions.costs import relative_costs

        with counting("timing") as progress:
            costs = relative_costs(progress)
    output.emit(catalogue(costs))
