"""What `chain` multiplies out. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs import choices
from gradflow.configs.fields import finite, option, validate


@dataclass(frozen=True)
class ChainConfig:
    """One neuron per layer: its weights, its slopes, and a step to take.

    Numbers in comma lists are read where they are used.

    Attributes
    ----------
    slopes
        Given instead of an activation and its pre-activations.
    bias
        None: no step is taken.
    """

    weights: str = option("", "Weights w₂, w₃, … with commas between.", metavar="W2,W3,…")
    slopes: str | None = option(None, "Slopes φ′(z₁), φ′(z₂), …", metavar="S1,S2,…")
    act: str | None = option(
        None,
        "Or: the activation ({names}) …",
        complete=choices.ACTIVATIONS,
        lists=choices.at("ACTIVATION_NAMES"),
    )
    pre_activations: str | None = option(None, "… and its pre-activations.", metavar="Z1,Z2,…")
    alpha: float | None = option(None, "α of ELU and Leaky ReLU (0.2 unless given).", check=finite)
    cost_slope: float = option(1.0, "∂C/∂a of the last neuron.", check=finite)
    bias: float | None = option(None, "b₁, to take one step from it.", check=finite)
    learning_rate: float = option(
        0.5, "Learning rate of that step.", "--lr", "--learning-rate", check=finite
    )

    def __post_init__(self) -> None:
        validate(self)
