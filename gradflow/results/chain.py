"""Result of ``chain``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column


@dataclass(frozen=True)
class FactorRow(Row):
    """One factor of the derivative, and the product up to it."""

    index: int = column("#")
    symbol: str = column("factor")
    value: float = column("value", ".10g")
    product: float = column("product so far", ".10g")
    product_log10: float = column("log₁₀ |product|", "bar", default=0.0)


@dataclass(frozen=True, kw_only=True)
class ChainResult(Result):
    """The gradient at the first bias of a chain of single neurons."""

    command: ClassVar[str] = "chain"
    row_type: ClassVar[type[Row]] = FactorRow

    gradient: float = 0.0
    gradient_log10: float = 0.0
    learning_rate: float = 0.5
    bias: float | None = None
    updated_bias: float | None = None

    @property
    def title(self) -> str:
        """Say the gradient, and the update where a bias was given."""
        if self.gradient == 0 and self.gradient_log10 > float("-inf"):
            said = f"∂C/∂b₁ = 10^{self.gradient_log10:.2f}, below the smallest float64"
        else:
            said = f"∂C/∂b₁ = {self.gradient:.10g}"
        if self.bias is None or self.updated_bias is None:
            return said
        step = f"{self.bias:.10g} - {self.learning_rate:.10g}·({self.gradient:.10g})"
        return f"{said}; b₁ = {step} = {self.updated_bias:.10g}"
