"""Result of ``theory``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gradflow.results.base import Result, Row, column, rows_of


@dataclass(frozen=True)
class TheoryRow(Row):
    """What mean-field theory says of one layer."""

    summarized: ClassVar[str | None] = "gradient_log10"
    many: ClassVar[int] = 20

    layer: int = column("layer")
    q: float = column("q", ".4g")
    chi: float = column("χ", ".4g")
    amplification: float = column("d ln q′ / d ln q", ".3g", 1)
    gradient_log10: float = column("log₁₀ δ", "bar", default=0.0)


@dataclass(frozen=True)
class EdgeRow(Row):
    """A point of the edge of chaos: where χ = 1 at a stable fixed point."""

    bias_variance: float = column("σ_b²", ".4g")
    weight_variance: float = column("σ_w²", ".6g")


@dataclass(frozen=True, kw_only=True)
class TheoryResult(Result):
    """Signal propagation in a wide random network, layer by layer.

    Attributes
    ----------
    activation, parameters
        The activation's name and what it was made with.
    weight_variance, bias_variance, input_variance
        σ_w², σ_b², and the mean square of the inputs.
    fixed_point
        q*, to which q settles with depth; 0 and infinity are possible.
    chi_fixed_point
        χ at q*.
    depth_scale
        ξ_∇ = 1/|ln χ|, in layers.
    regime
        ``"ordered"``, ``"critical"`` or ``"chaotic"``.
    critical_weight_variance, critical_gain
        The σ_w² (and σ_w) that make a stable fixed point critical; None where none does.
    jacobian
        Of SELU's map of mean and variance at (0, 1); None for other activations.
    edge
        The edge of chaos over (σ_b², σ_w²), for the figure.
    """

    command: ClassVar[str] = "theory"
    row_type: ClassVar[type[Row]] = TheoryRow

    activation: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    weight_variance: float = 1.0
    bias_variance: float = 0.0
    input_variance: float = 1.0
    fixed_point: float = 0.0
    chi_fixed_point: float = 1.0
    depth_scale: float = math.inf
    regime: str = "critical"
    critical_weight_variance: float | None = None
    critical_gain: float | None = None
    jacobian: tuple[tuple[float, ...], ...] | None = None
    edge: tuple[EdgeRow, ...] = rows_of(EdgeRow)

    def __post_init__(self) -> None:
        if self.jacobian is not None:  # lists, where it comes from JSON
            object.__setattr__(self, "jacobian", tuple(tuple(row) for row in self.jacobian))

    @property
    def title(self) -> str:
        """Say the regime, how far a gradient reaches, and what is left of it per layer."""
        variances = f"σ_w² = {self.weight_variance:.6g}{self._chosen()}"
        if self.bias_variance:
            variances += f", σ_b² = {self.bias_variance:.6g}"
        scale = f"{self.depth_scale:.3g}" if math.isfinite(self.depth_scale) else "∞"
        return (
            f"{self.activation} at {variances}: {self.regime}; {self._per_layer()}; "
            f"depth scale {scale} layers"
        )

    def _chosen(self) -> str:
        """Say where σ_w² comes from, where it was not given."""
        if self.meta.config.get("weight_variance", 0) is not None:
            return ""
        known = self.critical_weight_variance is not None
        return " (default: its critical one)" if known else " (default: it has no critical one)"

    def _per_layer(self) -> str:
        factor = self._factor()
        if factor == 0:
            return "nothing of the gradient is passed back"
        if factor >= 2:
            return f"gradients grow {factor:.3g}-fold per layer"
        if factor > 1.0005:
            return f"gradients grow by {100 * (factor - 1):.3g} % per layer"
        return f"gradients keep {100 * factor:.3g} % per layer"

    def _factor(self) -> float:
        """Return the mean factor of δ's rms over the layers; √χ where there is but one."""
        if len(self.records) < 2:
            return math.sqrt(self.records[0].chi if self.records else self.chi_fixed_point)
        exponent = self.records[0].gradient_log10 / (len(self.records) - 1)
        return 10.0**exponent if exponent < 300 else math.inf
