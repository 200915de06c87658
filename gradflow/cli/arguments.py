"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli.options import completer
from gradflow.configs.choices import ACTIVATION_NAMES, ACTIVATIONS
from gradflow.configs.registries import listed

ActivationName = Annotated[
    str,
    typer.Argument(
        metavar="ACT",
        help=f"Activation function: {listed(ACTIVATION_NAMES)}.",
        autocompletion=completer(ACTIVATIONS),
    ),
]


Alpha = Annotated[float | None, typer.Option(help="α of ELU and Leaky ReLU (0.2 unless given).")]
