"""Arguments and options that several commands take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Annotated

import typer

from gradflow.cli.options import completer
from gradflow.configs.choices import ACTIVATION_NAMES, ACTIVATIONS
from gradflow.configs.registries import listed

#: The command as it was typed, once it is parsed.
TYPED: ContextVar[str | None] = ContextVar("typed", default=None)


def note_typed(command: str, args: Sequence[str]) -> None:
    """Remember what was typed, for the files that say how they were made."""
    TYPED.set(shlex.join(["gradflow", command, *args]))


ActivationName = Annotated[
    str,
    typer.Argument(
        metavar="ACT",
        help=f"Activation function: {listed(ACTIVATION_NAMES)}.",
        autocompletion=completer(ACTIVATIONS),
    ),
]


Alpha = Annotated[float | None, typer.Option(help="α of ELU and Leaky ReLU (0.2 unless given).")]
