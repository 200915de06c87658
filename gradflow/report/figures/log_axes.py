"""Axes of powers of ten: of numbers, and of their logarithms where the numbers overflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator, NullLocator


def decades(axis: Axis, low: float, high: float) -> None:
    """Label an axis on which log₁₀ is drawn, from `low` to `high`, as a log axis: 1, 10, 10²."""
    ticks = log_ticks(low, high)
    axis.set_ticks(ticks, power_labels(ticks))


def log_scale(axes: Axes) -> None:
    """Make y logarithmic, labelled in plain numbers; call it when the lines are drawn.

    A 0 lies below the axis. Left linear where a number is negative.
    """
    low, high = axes.dataLim.intervaly
    low = axes.dataLim.minposy if low == 0 else low
    if not 0 < low <= high < math.inf:
        return
    axes.set_yscale("log", nonpositive="clip")
    pad = max(0.06 * math.log10(high / low), 0.02)
    low, high = math.log10(low) - pad, math.log10(high) + pad
    axes.set_ylim(10.0**low, 10.0**high)
    ticks = log_ticks(low, high)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks([10.0**tick for tick in ticks], power_labels(ticks))


def log_ticks(low: float, high: float) -> list[float]:
    """Return log₁₀ of round numbers: powers of ten, or numbers between them on a short axis."""
    span = high - low
    if span > 2.5:
        step = _nice(span / 7)
        steps = range(math.ceil(low / step), math.floor(high / step) + 1)
        return [float(k * step) for k in steps if low <= k * step]
    whole = range(math.floor(low), math.ceil(high) + 1)
    for mantissas in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [k + math.log10(mantissa) for k in whole for mantissa in mantissas]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside
    base = math.floor(low)  # 10**low itself may be 0 in doubles
    numbers = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(
        10 ** (low - base), 10 ** (high - base)
    )
    ticks = [base + math.log10(number) for number in numbers if number > 0]
    return [tick for tick in ticks if low <= tick <= high]


def few_ticks(low: float, high: float) -> list[float]:
    """Return two or three of `log_ticks` for an axis that is short on paper: the outermost."""
    ticks = log_ticks(low, high)
    middle = [ticks[len(ticks) // 2]] if len(ticks) % 2 and len(ticks) > 2 else []
    return sorted({ticks[0], *middle, ticks[-1]}) if ticks else [low, high]


def _nice(step: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … decades."""
    scale = 10 ** math.floor(math.log10(step)) if step > 1 else 1
    return int(next(m * scale for m in (1, 2, 5, 10) if m * scale >= step))


def power_labels(exponents: Sequence[float]) -> list[str]:
    """Return 10**exponent as tick labels: all in plain numbers, or all as powers of ten."""
    if all(-3.001 < exponent < 4.001 for exponent in exponents):
        return [f"{10.0**exponent:.6g}" for exponent in exponents]
    return [_power(exponent) for exponent in exponents]


def _power(exponent: float) -> str:
    whole = math.floor(exponent + 1e-9)
    mantissa = 10 ** (exponent - whole)
    if whole == 0:
        return f"{mantissa:.6g}"
    head = "" if abs(mantissa - 1) < 1e-6 else rf"{mantissa:.6g}\times"
    return rf"$\mathdefault{{{head}10^{{{whole}}}}}$"
