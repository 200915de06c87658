"""`gradflow chain`."""

from __future__ import annotations

from gradflow.cli.output import Output
from gradflow.configs.chain import ChainConfig


def chain(output: Output, config: ChainConfig) -> None:
    """Multiply out ∂C/∂b₁ for one neuron per layer, factor by factor."""
    from gradflow.functions.chain import multiplied

    output.emit(multiplied(config))
