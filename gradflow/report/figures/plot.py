"""Figure of ``plot``: f above, f′ below, and where the slope is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gradflow.arrays import Floats
from gradflow.report.figures import page
from gradflow.report.figures.line_labels import End, end_of, label_ends
from gradflow.report.style import BLACK, DASHED, GREY, PALE, colour, dashes, ink
from gradflow.results.activations import CurveInfoRow, PlotResult

#: More curves than this have a panel each.
_MOST_LABELS = 8
#: In a grid, f leaves the panel here: the slopes are what is compared.
_GRID_LIMITS = (-1.25, 2.05)
_SATURATED = "saturated, |f′| below 1 % of its largest"
_GREEK = {"alpha": "α", "beta": "β"}


def figure(result: PlotResult) -> Figure:
    """Return f and f′ of every curve: overlaid, or a panel each."""
    many = len(result.curves) > _MOST_LABELS
    return _grid(result) if (result.grid or many) and len(result.curves) > 1 else _overlay(result)


def slope_one(axes: Axes, *, named: bool = True) -> None:
    """Draw the line between vanishing and exploding."""
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    if named:
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.12))
        page.beside_line(axes, 1, "f′ = 1: neither shrinks nor grows")


def split(x: Floats, y: Floats, kinks: Sequence[float]) -> tuple[Floats, Floats]:
    """Return a curve with a gap (NaN) at every kink, both of its sides reaching up to it."""
    for kink in kinks:
        before, after = x < kink, x > kink
        left, _, right = sides(x, y, kink)
        x = np.concatenate([x[before], [kink] * 3, x[after]])
        y = np.concatenate([y[before], [left, math.nan, right], y[after]])
    return x, y


def sides(x: Floats, y: Floats, kink: float) -> tuple[float, float, float]:
    """Return f′ just before a kink, at it, and just after it; NaN outside of the curve.

    The limits are extrapolated from the nearest samples; the one whose branch is taken at the
    kink is the value there.
    """
    left = _limit(x[x < kink][::-1], y[x < kink][::-1], kink)
    right = _limit(x[x > kink], y[x > kink], kink)
    at = y[x == kink]
    value = float(at[0]) if at.size else left
    if abs(right - value) < abs(left - value):
        return left, value, value
    return value, value, right


def _limit(x: Floats, y: Floats, kink: float) -> float:
    x, y = x[np.isfinite(y)][:2], y[np.isfinite(y)][:2]
    if x.size < 2:
        return float(y[0]) if y.size else math.nan
    return float(y[0] + (kink - x[0]) * (y[1] - y[0]) / (x[1] - x[0]))


def _overlay(result: PlotResult) -> Figure:
    strip = _strip_rows(result.curves)
    heights = ([] if result.derivative_only else [2.1]) + [2.1] + [0.17 * strip] * bool(strip)
    fig = page.blank(result.title, 0.9 + sum(heights) + 0.3 * len(heights))
    panels = list(fig.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights))
    axes = [panel[0] for panel in panels]
    slope = axes[-2] if strip else axes[-1]
    ends = _lines(result, None if result.derivative_only else axes[0], slope)
    slope_one(slope)
    axes[-1].set_xlabel("x")
    if strip:
        _strip(axes[-1], result.curves)
    if len(result.curves) == 1:
        _describe(axes[0], result.curves[0])
        _shade(axes, result.curves[0])
    else:
        label_ends(fig, [(axes[0], ends)])
    fig.align_ylabels()
    return fig


def _columns(rows: Sequence[Any]) -> Iterator[Floats]:
    return (page.drawable(page.values(rows, name)) for name in ("x", "value", "derivative"))


def _from_end_to_end(axes: Axes, x: Floats) -> None:
    if np.isfinite(x).any():
        axes.set_xlim(np.nanmin(x), np.nanmax(x))


def _look(name: str, alone: bool = False) -> dict[str, Any]:
    line = "-" if alone else dashes(name)
    return {"color": colour(name), "linestyle": line, "label": name}


def _lines(result: PlotResult, value: Axes | None, slope: Axes) -> list[End]:
    """Draw every curve; return the labels for the ends of those in the upper panel."""
    points = page.by(result.records, "activation")
    ends: list[End] = []
    columns = [tuple(_columns(points.get(curve.activation, []))) for curve in result.curves]
    wide, steep = (page.widths([column[k] for column in columns]) for k in (1, 2))
    for place, curve in enumerate(result.curves):
        name = curve.activation
        x, f, derivative = columns[place]
        look = _look(name, alone=len(result.curves) == 1)
        if value is not None:
            value.plot(x, f, linewidth=wide[place], **look)
            corners = np.isin(x, curve.kinks)
            value.plot(x[corners], f[corners], "o", color=colour(name))
            value.set_ylabel("f(x)")
        slope.plot(*split(x, derivative, curve.kinks), linewidth=steep[place], **look)
        for kink in curve.kinks:
            _jump(slope, kink, sides(x, derivative, kink), colour(name))
        ends += end_of(name, x, derivative if value is None else f, colour(name))
        _from_end_to_end(slope, x)
    slope.set_ylabel("f′(x)")
    return ends


def _jump(axes: Axes, kink: float, limits: tuple[float, float, float], tint: str) -> None:
    """Mark a jump: filled where the value is taken, open where it is only approached."""
    left, value, right = limits
    far = [y for y in (left, right) if math.isfinite(y) and abs(y - value) > 1e-6]
    axes.plot([kink] * len(far), far, "o", color=tint, markerfacecolor="white", zorder=3)
    axes.plot([kink], [value], "o", color=tint, zorder=3)


def _describe(axes: Axes, curve: CurveInfoRow) -> None:
    parameters = [
        f"{_GREEK.get(name, name)} = {value:g}" for name, value in curve.parameters.items()
    ]
    page.caption(axes, f"f(x) = {curve.formula}", *parameters)


def _shade(axes: Sequence[Axes], curve: CurveInfoRow) -> None:
    """Shade where one curve is saturated, and say so beneath the formula of its slope."""
    for panel in axes:
        _shade_spans(panel, curve)
    formula = f"f′(x) = {curve.derivative}" if curve.derivative else None
    page.caption(axes[-1], formula, f"shaded: {_SATURATED}" if curve.saturated else None)


def _spans(axes: Axes, curve: CurveInfoRow) -> list[tuple[float, float]]:
    """Return where a curve is saturated, inside of what is seen."""
    left, right = axes.get_xlim()
    return [(max(low, left), min(high, right)) for low, high in curve.saturated]


def _shade_spans(axes: Axes, curve: CurveInfoRow) -> None:
    for low, high in _spans(axes, curve):
        axes.axvspan(low, high, color=PALE, linewidth=0, zorder=0)


def _strip_rows(curves: Sequence[CurveInfoRow]) -> int:
    saturated = [curve for curve in curves if curve.saturated]
    return len(saturated) if len(curves) > 1 else 0


def _strip(axes: Axes, curves: Sequence[CurveInfoRow]) -> None:
    """Draw a bar per curve where it is saturated."""
    saturated = [curve for curve in curves if curve.saturated]
    for row, curve in enumerate(saturated):
        for low, high in _spans(axes, curve):
            axes.plot([low, high], [row, row], color=colour(curve.activation), linewidth=4)
    axes.set_ylim(len(saturated) - 0.5, -0.5)
    axes.set_yticks(range(len(saturated)), [curve.activation for curve in saturated])
    for label, curve in zip(axes.get_yticklabels(), saturated, strict=True):
        label.set_color(ink(colour(curve.activation)))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    page.caption(axes, _SATURATED)


def _grid(result: PlotResult) -> Figure:
    columns = min(4, math.ceil(math.sqrt(len(result.curves))))
    rows = math.ceil(len(result.curves) / columns)
    fig = page.blank(result.title, 1.0 + 1.35 * rows)
    panels = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    points, limits = page.by(result.records, "activation"), _limits(result)
    for axes, curve in zip(panels.flat, result.curves, strict=False):
        _panel(axes, curve, points.get(curve.activation, []), result.derivative_only, limits)
    for axes in panels.flat[len(result.curves) :]:
        axes.set_visible(False)
    for axes in panels.flat[max(0, len(result.curves) - columns) : len(result.curves)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("x")
    _key(fig, result)
    return fig


def _limits(result: PlotResult) -> tuple[float, float]:
    """Return the heights of a grid's panels: those of every slope, and near 0 of f."""
    slopes = page.drawable(page.values(result.records, "derivative"))
    slopes = 1.05 * slopes[np.isfinite(slopes)]
    low, high = _GRID_LIMITS
    return slopes.min(initial=low), slopes.max(initial=high)


def _panel(
    axes: Axes,
    curve: CurveInfoRow,
    rows: Sequence[Any],
    derivative_only: bool,
    limits: tuple[float, float],
) -> None:
    x, f, derivative = _columns(rows)
    tint = colour(curve.activation)
    slope_one(axes, named=False)
    if not derivative_only:
        axes.plot(x, f, color=GREY, linewidth=1)
    axes.plot(*split(x, derivative, curve.kinks), color=tint, linewidth=1.8)
    _from_end_to_end(axes, x)
    _shade_spans(axes, curve)
    axes.set_ylim(*limits)
    axes.set_title(curve.activation, loc="center", color=ink(tint), size=9)


def _key(fig: Figure, result: PlotResult) -> None:
    handles: list[Any] = [
        Line2D([], [], color=BLACK, linewidth=1.8, label="f′ (in colour)"),
        Line2D([], [], color=GREY, linewidth=1, label="f (cut off at the edges)"),
        Line2D([], [], color=GREY, linewidth=0.8, linestyle=DASHED, label="f′ = 1"),
        Patch(color=PALE, label=_SATURATED),
    ]
    if result.derivative_only:
        del handles[1]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
