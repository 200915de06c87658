"""Figure of ``chain``: the running product as a staircase on a log axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.figures import log_axes, page
from gradflow.report.style import BLUE, DASHED, FAULT, GREY, VERMILLION
from gradflow.results.chain import ChainResult, FactorRow

#: With at most this many factors there is room for each one's value below its symbol.
_MOST_VALUES = 9
_MOST_SYMBOLS = 30


def figure(result: ChainResult) -> Figure:
    """Return the product up to each factor, from 1; its sign by colour and marker."""
    fig = page.blank(result.title, 3.9)
    axes = fig.subplots()
    if not result.records:
        page.note(axes, "no factors")
        return fig
    x = page.values(result.records, "index")
    log10 = page.values(result.records, "product_log10")
    low, high = _limits(log10)
    axes.set_ylim(low, high)
    axes.set_xlim(x[0] - 0.8, x[-1] + 0.7)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    _staircase(axes, x, log10)
    _signs(axes, x, log10, page.values(result.records, "value"))
    _dead(axes, result.records, log10)
    _symbols(axes, result.records)
    log_axes.decades(axes.yaxis, low, high)
    axes.set_ylabel("|product so far|")
    return fig


def _limits(log10: Floats) -> tuple[float, float]:
    finite = np.append(log10[np.isfinite(log10)], 0.0)  # the staircase begins at 1
    pad = 0.08 * np.ptp(finite) or 0.5
    return float(finite.min() - pad), float(finite.max() + pad)


def _staircase(axes: Axes, x: Floats, log10: Floats) -> None:
    """A level over each factor's place; a product of 0 goes through the floor."""
    levels = np.concatenate([[0.0], log10])
    edges = np.concatenate([[x[0] - 0.8], x - 0.5, [x[-1] + 0.5]])
    alive = np.isfinite(levels)
    floor = axes.get_ylim()[0] - 1
    last = int(alive.sum())  # once 0, a product stays 0
    steps = np.where(alive, levels, floor)[: last + 1]
    axes.step(
        edges[: len(steps) + 1], np.append(steps, steps[-1]), where="post", color=GREY, zorder=2
    )


def _signs(axes: Axes, x: Floats, log10: Floats, factors: Floats) -> None:
    positive = np.cumprod(np.sign(factors)) > 0
    alive = np.isfinite(log10)
    size = 6 if len(x) <= _MOST_SYMBOLS else 1.5
    groups = [
        (alive & positive, "o", BLUE, BLUE, "positive"),
        (alive & ~positive, "s", VERMILLION, "white", "negative"),
    ]
    for chosen, marker, tint, face, label in groups:
        if chosen.any():
            axes.plot(
                x[chosen],
                log10[chosen],
                marker,
                color=tint,
                markerfacecolor=face,
                markersize=size,
                label=label,
                zorder=3,
            )
    if (alive & ~positive).any():
        axes.legend(loc="best", handletextpad=0.2)


def _dead(axes: Axes, records: Sequence[FactorRow], log10: Floats) -> None:
    """Shade from the first factor that is 0 on: nothing gets through."""
    zeros = np.flatnonzero(np.isneginf(log10))
    if not zeros.size:
        return
    first = records[zeros[0]]
    axes.axvspan(first.index - 0.5, axes.get_xlim()[1], color=FAULT, linewidth=0, zorder=0)
    low, high = axes.get_ylim()
    axes.text(
        records[-1].index + 0.45,
        0.7 if -low < (high - low) / 2 else 0.3,  # clear of the line at a product of 1
        f"product = 0 from {first.symbol} on",
        transform=axes.get_xaxis_transform(),
        size=8,
        color=VERMILLION,
        ha="right",
        va="bottom",
    )


def _symbols(axes: Axes, records: Sequence[FactorRow]) -> None:
    """Name the factors along the axis, as many as there is room for."""
    few = len(records) <= _MOST_SYMBOLS
    stride = 1 if few else 2 * math.ceil(len(records) / (2 * _MOST_SYMBOLS))  # every φ′, no w
    shown = records[::stride]
    labels = [row.symbol for row in shown]
    if len(records) <= _MOST_VALUES:
        labels = [f"{row.symbol}\n{page.minus_signs(f'{row.value:.3g}')}" for row in shown]
    steep = len(records) > _MOST_VALUES
    axes.set_xticks([row.index for row in shown], labels, rotation=90 if steep else 0)
    axes.set_xlabel("factor, and its value" if not steep else "factor")
