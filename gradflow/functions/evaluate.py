"""Activations at chosen points, as curves, and as a catalogue. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gradflow.activations import Activation, activation, activations, every
from gradflow.activations.base import SATURATION
from gradflow.errors import GradflowError
from gradflow.results.activations import (
    ActivationRow,
    ActivationsResult,
    Cost,
    CurveInfoRow,
    CurveRow,
    EvalResult,
    EvalRow,
    PlotResult,
)
from gradflow.results.base import RunMeta

CURVE_POINTS = 1001


def evaluate(name: str, points: Sequence[float], alpha: float | None = None) -> EvalResult:
    """Return f, f′ and f′¹⁰ of the named activation at every point (float64).

    Parameters
    ----------
    name
        Of an activation, or an alias of it.
    points
        Where to evaluate it.
    alpha
        α of an activation that has one; its own default unless given.

    Returns
    -------
    EvalResult
        A row per point.

    Raises
    ------
    GradflowError
        If the activation is unknown or takes no α.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.evaluate("sigmoid", [0.0]).records[0].derivative
    0.25
    """
    phi = activation(name, alpha=alpha)
    x = np.asarray(points, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        slopes = phi.derivative(x)
        columns = (x, phi(x), slopes, slopes**10)
    rows = tuple(EvalRow(*map(float, values)) for values in zip(*columns, strict=True))
    return EvalResult(
        records=rows,
        meta=RunMeta(dtype="float64"),
        activation=phi.name,
        parameters=dict(phi.parameters),
        kinks=phi.kinks,
    )


def curves(
    names: str | Sequence[str],
    low: float = -5.0,
    high: float = 5.0,
    alpha: float | None = None,
    *,
    derivative_only: bool = False,
    grid: bool = False,
) -> PlotResult:
    """Return the curves of f and f′ over [low, high], with kinks and saturated regions.

    Parameters
    ----------
    names
        One activation, or several.
    low, high
        Where the curves begin and end.
    alpha
        Goes to those of the activations that have one; it is refused where none does.
    derivative_only, grid
        How the figure is drawn: f′ alone; a small panel for each activation.

    Returns
    -------
    PlotResult
        A row per point; ``figure()`` draws them, ``save("gelu.png")`` writes them.

    Raises
    ------
    GradflowError
        If an activation is unknown, takes no α, or the range is empty.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.curves(["relu", "gelu"], -3, 3).curves[0].kinks
    (0.0,)
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise GradflowError(
            f"the range must run from a smaller to a larger number, got {low:g}:{high:g}",
            "like --range -5:5",
        )
    phis = activations([names] if isinstance(names, str) else names, alpha)
    x = np.linspace(low, high, CURVE_POINTS)
    rows = [
        CurveRow(phi.name, *map(float, point))
        for phi in phis
        for point in zip(x, phi(x), phi.derivative(x), strict=True)
    ]
    return PlotResult(
        records=tuple(rows),
        meta=RunMeta(dtype="float64"),
        curves=tuple(_curve_info(phi, low, high) for phi in phis),
        derivative_only=derivative_only,
        grid=grid,
    )


def catalogue(costs: Mapping[str, Cost] | None = None) -> ActivationsResult:
    """Return every activation: formula, largest slope, range, critical gain.

    Parameters
    ----------
    costs
        What `gradflow.functions.costs.relative_costs` measured on this machine.

    Returns
    -------
    ActivationsResult
        A row per activation.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.catalogue().records[0].name
    'sigmoid'
    """
    from gradflow.theories.meanfield import critical_gain

    rows = []
    for name in every():
        phi = activation(name)
        cost = None if costs is None else costs[name]
        rows.append(
            ActivationRow(
                name=phi.name,
                aliases=tuple(phi.aliases),
                formula=phi.formula,
                derivative=phi.derivative_formula,
                parameters=dict(phi.parameters),
                range=phi.range_text,
                max_slope=float(phi.max_slope),
                monotonic=phi.monotonic,
                critical_gain=critical_gain(phi),
                relative_cost=None if cost is None else cost.median,
                relative_cost_low=None if cost is None else cost.low,
                relative_cost_high=None if cost is None else cost.high,
            )
        )
    rounds = max((cost.rounds for cost in costs.values()), default=0) if costs else 0
    return ActivationsResult(records=tuple(rows), meta=RunMeta(dtype="float64"), rounds=rounds)


def _curve_info(phi: Activation, low: float, high: float) -> CurveInfoRow:
    return CurveInfoRow(
        activation=phi.name,
        formula=phi.formula,
        derivative=phi.derivative_formula,
        parameters=dict(phi.parameters),
        max_slope=float(phi.max_slope),
        kinks=tuple(k for k in phi.kinks if low <= k <= high),
        saturated=tuple(span for span in phi.saturation(low, high) if not _crosses(phi, *span)),
    )


def _crosses(phi: Activation, low: float, high: float) -> bool:
    """Whether f′ only changes its sign between two points, as it does at the minimum of GELU."""
    beyond = np.array([low, high]) + np.array([-1, 1]) * max(high - low, 1e-6)
    before, after = phi.derivative(beyond)
    turns = np.sign(before) * np.sign(after) < 0
    return bool(turns and np.abs((before, after)).min() > SATURATION * phi.max_slope)
