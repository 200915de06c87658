"""Figures of ``eval`` (an activation at chosen points) and ``activations`` (all of them)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.figures import page
from gradflow.report.figures.plot import slope_one
from gradflow.report.style import colour
from gradflow.results.activations import EvalResult


def figure(result: EvalResult) -> Figure:
    """Return f above and f′ below at the points that were asked for."""
    fig = page.blank(result.title, 4.6)
    above, below = fig.subplots(2, 1, sharex=True)
    x = page.drawable(page.values(result.records, "x"))
    value, slope = (page.drawable(page.values(result.records, k)) for k in ("value", "derivative"))
    _points(above, x, value, (), result.activation)
    _points(below, x, slope, result.kinks, result.activation)
    if np.isfinite(x).any():
        slope_one(below)
    above.set_ylabel("f(x)")
    below.set_ylabel("f′(x)")
    below.set_xlabel("x")
    fig.align_ylabels()
    return fig


def _points(axes: Axes, x: Floats, y: Floats, kinks: Sequence[float], name: str) -> None:
    """Draw points, joined in the order of x but not across a kink; say what cannot be drawn."""
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        page.note(axes, "no point with finite values")
        return
    if not shown.all():
        page.caption(axes, f"not drawn: {(~shown).sum()} of {len(x)} points are not finite")
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    piece = np.searchsorted(kinks, x, "left") + np.searchsorted(kinks, x, "right")
    gaps = np.flatnonzero(np.diff(piece)) + 1  # a point on a kink stands alone
    size = 4 if len(x) <= 40 else 2
    axes.plot(
        np.insert(x, gaps, np.nan),
        np.insert(y, gaps, np.nan),
        color=colour(name),
        marker="o",
        markersize=size,
        linewidth=0.8,
    )
