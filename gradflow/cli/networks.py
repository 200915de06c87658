"""Commands that measure a network at its initialisation."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from gradflow.cli.functions import ActivationName
from gradflow.cli.options import expand_configs
from gradflow.cli.output import Output, parse_fail_on
from gradflow.configs import NetworkConfig, TheoryConfig

FailOn = Annotated[
    str,
    typer.Option(
        metavar="CODE,…",
        help="Exit with 1 if such a finding is made: vanishing, exploding, dead, …",
        rich_help_panel="Output",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (theory, diagnose):
        app.command()(expand_configs(command))


def theory(act: ActivationName, config: TheoryConfig, output: Output) -> None:
    """Say what mean-field theory predicts: length map, χ, depth scale, edge of chaos."""
    from gradflow.meanfield import theory as predict

    output.emit(predict(dataclasses.replace(config, activation=act)))


def diagnose(
    network: NetworkConfig,
    output: Output,
    fail_on: FailOn = "",
    remedies: Annotated[
        bool,
        typer.Option(
            "--remedies/--no-remedies",
            help="Try remedies on an unhealthy network.",
            rich_help_panel="Measurement",
        ),
    ] = True,
) -> None:
    """Run one forward and backward pass and say how gradients flow through every layer."""
    from gradflow.cli.progress import working

    codes = parse_fail_on(fail_on)
    with working("measuring"):
        from gradflow.diagnosis import diagnose as measure

        result = measure(network, remedies=remedies)
    output.emit(result, codes)
