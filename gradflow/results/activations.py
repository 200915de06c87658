"""Results of ``activations``, ``eval`` and ``plot``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column, rows_of


@dataclass(frozen=True)
class Cost:
    """Times over ReLU's: the median of the rounds, and between what the middle half lies."""

    median: float
    low: float
    high: float
    rounds: int


#: Factor between the quartiles of a cost from which its median is rough.
SCATTERED = 1.5


@dataclass(frozen=True)
class ActivationRow(Row):
    """One activation function and what matters of it to a gradient.

    Attributes
    ----------
    relative_cost, relative_cost_low, relative_cost_high
        Time over ReLU's, where it was measured: the median of the rounds, and between what the
        middle half of them lies.
    """

    name: str = column("name")
    aliases: tuple[str, ...] = column("aliases", priority=None)
    formula: str = column("f(x)", priority=1)
    derivative: str = column("f′(x)", priority=5)
    parameters: dict[str, float] = column("parameters", priority=4)
    range: str = column("range", priority=4)
    max_slope: float = column("max |f′|", ".4g")
    monotonic: bool = column("monotonic", priority=3)
    critical_gain: float | None = column("critical gain", ".4g", default=None)
    relative_cost: float | None = column("cost / ReLU", ".2f", default=None)
    relative_cost_low: float | None = column("from", ".2f", priority=2, default=None)
    relative_cost_high: float | None = column("to", ".2f", priority=2, default=None)


@dataclass(frozen=True, kw_only=True)
class ActivationsResult(Result):
    """The catalogue of activations.

    Attributes
    ----------
    rounds
        In how many rounds the costs were measured; 0: they were not.
    """

    command: ClassVar[str] = "activations"
    row_type: ClassVar[type[Row]] = ActivationRow

    rounds: int = 0

    @property
    def note(self) -> str | None:
        """Say how far the costs are to be believed, where they were measured."""
        if not self.rounds:
            return None
        ranked = sorted(self.records, key=_scatter)
        middle, worst = ranked[len(ranked) // 2], ranked[-1]
        said = (
            f"costs: medians of {self.rounds} rounds on one thread; the middle half of the rounds "
            f"lies within a factor of {_scatter(middle):.2f}, of {worst.name} {_scatter(worst):.2f}"
        )
        if _scatter(worst) > SCATTERED:
            said += "; the machine is busy: measure again on a quiet one"
        return said

    @property
    def title(self) -> str:
        """Say how many there are, and what slope 1 means."""
        below = sum(row.max_slope < 1 for row in self.records)
        return (
            f"{len(self.records)} activations; the slope of {below} is below 1 everywhere, "
            "so that a chain of them shrinks a gradient unless the weights make up for it"
        )


def _scatter(row: ActivationRow) -> float:
    """Return the factor between the quartiles of a cost; 1 where none was measured."""
    low, high = row.relative_cost_low, row.relative_cost_high
    return high / low if low and high else 1.0


@dataclass(frozen=True)
class EvalRow(Row):
    """An activation at one point."""

    x: float = column("x", ".10g")
    value: float = column("f(x)", ".10g")
    derivative: float = column("f′(x)", ".10g")
    ten_layers: float = column("f′(x)¹⁰", ".3e", default=0.0)


@dataclass(frozen=True, kw_only=True)
class EvalResult(Result):
    """An activation and its derivative at chosen points."""

    command: ClassVar[str] = "eval"
    row_type: ClassVar[type[Row]] = EvalRow

    activation: str = ""
    parameters: dict[str, float] | None = None
    kinks: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """Say what the largest slope seen does over ten layers."""
        slopes = [abs(row.derivative) for row in self.records if row.derivative == row.derivative]
        if not slopes:
            return f"{self.activation}: no slope to speak of"
        steepest = max(slopes)
        return (
            f"{self.activation}: the largest slope here is {steepest:.4g}; "
            f"ten such layers multiply a gradient by {_tenth_power(steepest):.3g}"
        )


def _tenth_power(slope: float) -> float:
    try:
        return slope**10
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class CurveRow(Row):
    """One point of a curve."""

    activation: str = column("activation")
    x: float = column("x", ".6g")
    value: float = column("f(x)", ".6g")
    derivative: float = column("f′(x)", ".6g")


@dataclass(frozen=True)
class CurveInfoRow(Row):
    """What is marked on one activation's curve."""

    activation: str = column("activation")
    formula: str = column("f(x)")
    parameters: dict[str, float] = column("parameters", priority=2)
    max_slope: float = column("max |f′|", ".4g")
    kinks: tuple[float, ...] = column("kinks", priority=1)
    saturated: tuple[tuple[float, float], ...] = column("|f′| < 1 % of max", priority=1, default=())
    derivative: str = column("f′(x)", priority=None, default="")


@dataclass(frozen=True, kw_only=True)
class PlotResult(Result):
    """Activations and their derivatives as curves."""

    command: ClassVar[str] = "plot"
    row_type: ClassVar[type[Row]] = CurveRow

    curves: tuple[CurveInfoRow, ...] = rows_of(CurveInfoRow)
    derivative_only: bool = False
    grid: bool = False

    def _drawn(self, largest: float) -> str:
        """Say how much of the only curve's largest slope is in the range that is drawn."""
        slopes = [abs(row.derivative) for row in self.records if math.isfinite(row.derivative)]
        seen = max(slopes, default=largest)
        return "" if seen > 0.99 * largest else f"; where it is drawn: {seen:.4g}"

    @property
    def title(self) -> str:
        """Say which slopes stay below 1."""
        if len(self.curves) == 1:
            (curve,) = self.curves
            side = "never passes" if curve.max_slope < 1 else "reaches"
            verb = f"{side} 1" if curve.max_slope <= 1 else "goes above 1"
            largest = f"largest: {curve.max_slope:.4g}{self._drawn(curve.max_slope)}"
            return f"{curve.activation}: the slope {verb} ({largest})"
        below = [curve.activation for curve in self.curves if curve.max_slope < 1]
        names = ", ".join(below) if below else "none of them"
        return f"{len(self.curves)} activations; slope below 1 everywhere: {names}"
