"""`gradflow chain`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli.arguments import Alpha
from gradflow.cli.options import completer
from gradflow.cli.output import Output


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
    from gradflow.configs.fields import float_list
    from gradflow.functions.chain import chain as multiply
    from gradflow.functions.chain import given_slopes

    result = multiply(
        float_list("--weights", weights),
        given_slopes(slopes, act, pre_activations, alpha),
        cost_slope=cost_slope,
        bias=bias,
        learning_rate=learning_rate,
    )
    output.emit(result)
