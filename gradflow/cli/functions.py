"""Commands about activation functions and the chain of single neurons."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gradflow.cli.options import completer, expand_configs
from gradflow.cli.output import Output

ActivationName = Annotated[
    str,
    typer.Argument(
        metavar="ACT", help="Activation function.", autocompletion=completer("activation")
    ),
]
Alpha = Annotated[float | None, typer.Option(help="α of ELU and Leaky ReLU (0.2 unless given).")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (activations, evaluate, plot, chain):
        name = "eval" if command is evaluate else command.__name__
        app.command(name)(expand_configs(command))


def activations(
    output: Output,
    time: Annotated[
        bool, typer.Option("--time", help="Measure each one's cost, forward plus backward.")
    ] = False,
) -> None:
    """List the activation functions: formula, slope, range, critical gain, cost."""
    from gradflow.evaluate import catalogue

    costs = None
    if time:
        from gradflow.cli.progress import counting
        from gradflow.costs import relative_costs

        with counting("timing") as progress:
            costs = relative_costs(progress)
    output.emit(catalogue(costs))


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
    from gradflow.evaluate import evaluate as evaluate_at
    from gradflow.evaluate import parse_points

    output.emit(evaluate_at(act, parse_points(at or ["-5:5:1"], sys.stdin), alpha))


def plot(
    acts: Annotated[
        list[str],
        typer.Argument(
            metavar="ACT...",
            help="Activation functions; several are overlaid.",
            autocompletion=completer("activation"),
        ),
    ],
    output: Output,
    range: Annotated[str, typer.Option("--range", metavar="LO:HI", help="Where to draw.")] = "-5:5",
    alpha: Alpha = None,
    derivative_only: Annotated[
        bool, typer.Option("--derivative-only", help="Only the slopes.")
    ] = False,
    grid: Annotated[bool, typer.Option("--grid", help="One small panel for each.")] = False,
) -> None:
    """Draw activations and their slopes; writes ACT.png here unless -o says where."""
    from gradflow.evaluate import curves, parse_range
    from gradflow.report.files import default_figure

    result = curves(
        acts, *parse_range(range), alpha=alpha, derivative_only=derivative_only, grid=grid
    )
    if not output.output:
        output = output.to(default_figure("-".join(c.activation for c in result.curves)))
    output.emit(result)


def chain(
    output: Output,
    weights: Annotated[
        str, typer.Option(metavar="W2,W3,…", help="Weights w₂, w₃, … with commas between.")
    ] = "",
    slopes: Annotated[
        str | None, typer.Option(metavar="S1,S2,…", help="Slopes φ′(z₁), φ′(z₂), …")
    ] = None,
    act: Annotated[
        str | None,
        typer.Option(help="Or: the activation …", autocompletion=completer("activation")),
    ] = None,
    pre_activations: Annotated[
        str | None, typer.Option(metavar="Z1,Z2,…", help="… and its pre-activations.")
    ] = None,
    alpha: Alpha = None,
    cost_slope: Annotated[float, typer.Option(help="∂C/∂a of the last neuron.")] = 1.0,
    bias: Annotated[float | None, typer.Option(help="b₁, to take one step from it.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Of that step.")] = 0.5,
) -> None:
    """Multiply out ∂C/∂b₁ for one neuron per layer, factor by factor."""
    from gradflow.chain import chain as multiply
    from gradflow.chain import given_slopes
    from gradflow.options import float_list

    result = multiply(
        float_list("--weights", weights),
        given_slopes(slopes, act, pre_activations, alpha),
        cost_slope=cost_slope,
        bias=bias,
        learning_rate=learning_rate,
    )
    output.emit(result)
