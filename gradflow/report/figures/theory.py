"""Figure of ``theory``: the phase diagram with the network in it, and its gradient by layer."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.figures import log_axes, page
from gradflow.report.style import BLACK, DASHED, FAULT, GREY, ICE, VERMILLION, colour
from gradflow.results.theory import TheoryResult


def figure(result: TheoryResult) -> Figure:
    """Return the phase diagram, and beside it δ's predicted rms in every layer."""
    fig = page.blank(result.title, 3.4)
    phases, flow = fig.subplots(1, 2)
    _phases(phases, result)
    _flow(flow, result)
    return fig


def _phases(axes: Axes, result: TheoryResult) -> None:
    """Draw the edge of chaos, order to its left, and where the network sits."""
    weight = page.values(result.edge, "weight_variance")
    bias = page.values(result.edge, "bias_variance")
    x, y = result.weight_variance, result.bias_variance
    _limits(axes, np.append(weight, x), np.append(bias, y))
    if weight.size:
        left, right = axes.get_xlim()
        axes.fill_betweenx(bias, left, weight, color=ICE, linewidth=0, zorder=0)
        axes.fill_betweenx(bias, weight, right, color=FAULT, linewidth=0, zorder=0)
        axes.plot(weight, bias, color=BLACK, label="edge of chaos")
        if bias.min() > 0.1 * axes.get_ylim()[1]:
            axes.text(
                0.5,
                bias.min() / 2,
                "no stable edge below",
                size=8,
                color=GREY,
                ha="center",
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        _name_regions(axes, weight, bias, (x, y))
    axes.plot(
        [x],
        [y],
        "o",
        color=colour(result.activation),
        markeredgecolor=BLACK,
        markersize=8,
        clip_on=False,
        zorder=4,
        label="this network",
    )
    edge = "line: edge of chaos" if weight.size else "no edge of chaos here"
    page.caption(axes, f"dot: this network ({result.regime})", edge, width=50)
    axes.set_xlabel(r"weight variance $\sigma_w^2$")
    axes.set_ylabel(r"bias variance $\sigma_b^2$")


def _limits(axes: Axes, weight: Floats, bias: Floats) -> None:
    low, high = weight.min(), weight.max()
    if low > 0 and high > 20 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 2, high * 2)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, 1.4 * high or 1.0)
    axes.set_ylim(0, bias.max() or 1.0)


def _name_regions(axes: Axes, weight: Floats, bias: Floats, dot: tuple[float, float]) -> None:
    """Write each region's name where it is wide and clear of the dot, or else upright."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    edge, heights = to_fraction.transform(np.column_stack([weight, bias])).T
    dot_height = to_fraction.transform(dot)[1]
    for name, ordered, place in (
        ("ordered:\ngradients vanish", True, 0.8),
        ("chaotic:\ngradients explode", False, 0.28),
    ):
        height, near = place, edge[np.abs(heights - place) < 0.15]
        flat = near.size > 0 and abs(height - dot_height) > 0.12
        if not (flat and (near.min() if ordered else 1 - near.max()) > 0.42):
            height, near, flat = 0.55, edge, False
        left, right = (0.0, near.min()) if ordered else (near.max(), 1.0)
        axes.text(
            (left + right) / 2,
            height,
            name,
            transform=axes.transAxes,
            size=8,
            ha="center",
            va="center",
            rotation=0 if flat else 90,
        )


def _flow(axes: Axes, result: TheoryResult) -> None:
    """Draw δ's rms per layer, relative to that of the last."""
    axes.set_xlabel("layer (gradient: right to left)")
    axes.set_ylabel("rms of δ / that of the last layer")
    scale = f"{result.depth_scale:.3g}" if math.isfinite(result.depth_scale) else "∞"
    settled = f"fixed point: χ = {page.number(result.chi_fixed_point)}"
    page.caption(axes, settled, f"depth scale {scale} layers", width=50)
    x, raw = (page.values(result.records, name) for name in ("layer", "gradient_log10"))
    log10 = page.drawable(raw)
    if not np.isfinite(log10).any():
        page.note(axes, "nothing finite to draw")
        return
    low, high = np.nanmin(log10), np.nanmax(log10)
    pad = max(0.06 * (high - low), 0.15)
    axes.set_ylim(low - pad, high + pad)
    axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    log_axes.decades(axes.yaxis, low - pad, high + pad)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    axes.plot(x, log10, color=colour(result.activation), marker=page.markers(len(x)))
    page.whole_numbers(axes.xaxis)
    lost = np.isneginf(raw)
    if lost.any():
        axes.plot(
            x[lost],
            np.full(lost.sum(), 0.03),
            "v",
            color=VERMILLION,
            markerfacecolor="none",
            transform=axes.get_xaxis_transform(),
        )
        axes.text(
            0.5,
            0.09,
            "▽ no gradient arrives",
            transform=axes.transAxes,
            size=8,
            color=VERMILLION,
            ha="center",
        )
