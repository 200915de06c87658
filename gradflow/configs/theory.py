"""What mean-field theory is asked about. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs.fields import (
    at_least,
    check_variance,
    finite,
    option,
    validate,
)
from gradflow.configs.memory import ROW, refuse_beyond_memory


@dataclass(frozen=True)
class TheoryConfig:
    """A wide random network of equal layers, as mean-field theory knows it.

    Raises
    ------
    GradflowError
        If a value is out of range. The activation is checked where it is looked up.
    """

    activation: str = "tanh"
    alpha: float | None = option(None, "α of ELU and Leaky ReLU (0.2 unless given).", check=finite)
    weight_variance: float | None = option(
        None,
        "σ_w², variance of a weight times its fan-in (the critical one where it exists, else 1).",
        check=check_variance,
    )
    bias_variance: float = option(0.0, "σ_b², variance of a bias.", check=check_variance)
    input_variance: float = option(1.0, "Mean square of the inputs.", check=check_variance)
    depth: int = option(50, "Layers.", check=at_least(1))

    def __post_init__(self) -> None:
        validate(self)
        refuse_beyond_memory(f"--depth {self.depth}", self.depth * ROW, "a smaller --depth")
