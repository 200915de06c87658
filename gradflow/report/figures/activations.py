"""The figure of `activations`: cost beside largest slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator

from gradflow.arrays import Floats
from gradflow.report.figures import page
from gradflow.report.style import DASHED, GREY, PALE, colour, ink
from gradflow.results.activations import ActivationRow, ActivationsResult


def figure(result: ActivationsResult) -> Figure:
    """Return a dot per activation: its largest slope, critical gain and, if measured, cost."""
    records = sorted(result.records, key=lambda row: -row.max_slope)
    columns = ["max_slope", "critical_gain"]
    if any(row.relative_cost is not None for row in records):
        columns.append("relative_cost")
    fig = page.blank(result.title, 1.2 + 0.2 * len(records))
    panels = fig.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        _dots(axes, records, column)
    panels[0].set_yticks(range(len(records)), [row.name for row in records])
    for label, row in zip(panels[0].get_yticklabels(), records, strict=True):
        label.set_color(ink(colour(row.name)))
    panels[0].set_ylim(len(records) - 0.3, -0.7)
    return fig


_LABELS = {
    "max_slope": "largest slope, max |f′|  (dashed: 1)",
    "critical_gain": r"critical gain $\sigma_w$",
    "relative_cost": "cost / cost of ReLU",
}


def _dots(axes: Axes, records: Sequence[ActivationRow], column: str) -> None:
    """Draw one column as dots with their numbers."""
    numbers = page.drawable(page.values(records, column))
    _ratio_axis(axes, numbers, log=column == "critical_gain")
    if column != "critical_gain":
        axes.axvline(1, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    for place, (row, number) in enumerate(zip(records, numbers, strict=True)):
        axes.axhline(place, color=PALE, linewidth=0.6, zorder=0)
        dot: Any = {"color": colour(row.name), "markersize": 5, "clip_on": False}
        axes.plot([number], [place], "o", **dot)
        known = np.isfinite(number)
        axes.annotate(
            f"{number:.3g}" if known else "none",
            (number if known else 0, place),
            (6, -0.5),
            "data" if known else axes.get_yaxis_transform(),
            "offset points",
            va="center",
            size=8,
            color=GREY,
            path_effects=[withStroke(linewidth=2, foreground="white")],  # over the row's line
        )
    axes.set_xlabel(_LABELS[column])
    axes.tick_params(axis="y", length=0)


def _ratio_axis(axes: Axes, numbers: Floats, *, log: bool) -> None:
    """From 0, or logarithmic; with room for the number beside the rightmost dot."""
    low, high = np.nanmin(numbers, initial=1.0), np.nanmax(numbers, initial=1.0)
    if not (log and low > 0):
        axes.set_xlim(0, 1.35 * high)
        return
    axes.set_xscale("log")
    axes.set_xlim(low / 2, high * (2.5 * high / low) ** 0.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
