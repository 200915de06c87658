"""Activations at chosen points, as curves, and as a catalogue. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TextIO

import numpy as np

from gradflow.activations import ACTIVATIONS, Activation, activation
from gradflow.errors import GradflowError
from gradflow.results.activations import (
    ActivationRow,
    ActivationsResult,
    CurveInfoRow,
    CurveRow,
    EvalResult,
    EvalRow,
    PlotResult,
)
from gradflow.results.base import RunMeta

MAX_POINTS = 1_000_000
CURVE_POINTS = 1001


def evaluate(name: str, points: Sequence[float], alpha: float | None = None) -> EvalResult:
    """Return f, f′ and f′¹⁰ of the named activation at every point (float64)."""
    phi = _activation(name, alpha)
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
    names: Sequence[str],
    low: float = -5.0,
    high: float = 5.0,
    alpha: float | None = None,
    *,
    derivative_only: bool = False,
    grid: bool = False,
) -> PlotResult:
    """Return the curves of f and f′ over [low, high], with kinks and saturated regions.

    `alpha` goes to those of the activations that have one; it is refused where none does.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise GradflowError(
            f"the range must run from a smaller to a larger number, got {low:g}:{high:g}",
            "like --range -5:5",
        )
    phis = _with_alpha(dict.fromkeys(activation(name).name for name in names), alpha)
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


def catalogue(costs: dict[str, float] | None = None) -> ActivationsResult:
    """Return every activation, with its measured cost relative to ReLU where given."""
    from gradflow.meanfield import critical_gain

    rows = []
    for name in ACTIVATIONS:
        phi = activation(name)
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
                relative_cost=None if costs is None else costs[name],
            )
        )
    return ActivationsResult(records=tuple(rows), meta=RunMeta(dtype="float64"))


def parse_points(texts: Iterable[str], stdin: TextIO) -> list[float]:
    """Return the points that ``--at`` asks for.

    Parameters
    ----------
    texts
        Each a number, ``start:stop:step`` (stop included), or ``-`` for the numbers in `stdin`.
    stdin
        Numbers parted by white space or commas; read only where a text is ``-``.

    Raises
    ------
    GradflowError
        For anything else, for an empty input, and beyond a million points.
    """
    points: list[float] = []
    for text in texts:
        if text == "-":
            points += _numbers(stdin)
        elif ":" in text:
            points += _span(text)
        else:
            points.append(_number(text, "--at"))
    return points


def parse_range(text: str) -> tuple[float, float]:
    """Return the two ends of ``LO:HI``."""
    parts = text.split(":")
    if len(parts) != 2:
        raise GradflowError(f"--range must be LO:HI, got '{text}'", "like --range -5:5")
    return _number(parts[0], "--range"), _number(parts[1], "--range")


def _numbers(stdin: TextIO) -> list[float]:
    words = stdin.read().replace(",", " ").split()
    if not words:
        raise GradflowError("--at - found no numbers on standard input", "echo 1 2 3 | gradflow …")
    return [_number(word, "standard input") for word in words]


def _number(text: str, source: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise GradflowError(
            f"{source}: '{text}' is not a number", "give a number, start:stop:step, or -"
        ) from None


def _span(text: str) -> list[float]:
    parts = [_number(part, "--at") for part in text.split(":")]
    if len(parts) != 3 or not all(map(math.isfinite, parts)):
        raise GradflowError(f"--at: '{text}' is not start:stop:step", "like --at -5:5:0.5")
    start, stop, step = parts
    if step == 0 or (stop - start) / step < 0:
        raise GradflowError(f"--at: '{text}' never arrives: step {step:g} leads away from the stop")
    steps = (stop - start) / step
    if steps >= MAX_POINTS:
        raise GradflowError(f"--at: '{text}' is more than {MAX_POINTS:,} points", "a larger step")
    count = math.floor(steps * (1 + 1e-12) + 1e-9) + 1  # 0:1:0.1 has 11 points, in binary too
    # Rounded to the step's own digits where that changes nothing else: 0.3, not 0.30000000000000004
    return [float(f"{start + i * step:.15g}") for i in range(count)]


def _activation(name: str, alpha: float | None) -> Activation:
    return activation(name) if alpha is None else activation(name, alpha=alpha)


def _with_alpha(names: Iterable[str], alpha: float | None) -> list[Activation]:
    names = list(names)
    takers = [name for name in names if "alpha" in activation(name).parameters]
    if alpha is not None and not takers:
        activation(names[0], alpha=alpha)  # raises: it has none
    return [_activation(name, alpha if name in takers else None) for name in names]


def _curve_info(phi: Activation, low: float, high: float) -> CurveInfoRow:
    return CurveInfoRow(
        activation=phi.name,
        formula=phi.formula,
        parameters=dict(phi.parameters),
        max_slope=float(phi.max_slope),
        kinks=tuple(k for k in phi.kinks if low <= k <= high),
        saturated=tuple(phi.saturation(low, high)),
    )
