"""Figure of ``lr``: the loss while the learning rate grows, and the rates to be told from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.figures import log_axes, page
from gradflow.report.style import BLUE, DASHED, GREEN, GREY, ICE, VERMILLION

if TYPE_CHECKING:
    from gradflow.results.learning_rate import LearningRateResult

#: Where the words beside a vertical line stand: beyond the largest stable rate the loss goes up.
_HEIGHTS = {"suggested": 0.97, "largest stable": 0.1, "in use": 0.89}


def figure(result: LearningRateResult) -> Figure:
    """Return the loss after each step by its rate; vertical lines are the rates that were found."""
    fig = page.blank(result.title, 3.4)
    axes = fig.subplots()
    rates, losses = (page.values(result.records, name) for name in ("rate", "loss"))
    low, high = (page.values(result.records, f"loss_{end}") for end in ("low", "high"))
    axes.fill_between(rates, page.drawable(low), page.drawable(high), color=ICE, linewidth=0)
    axes.plot(rates, page.drawable(losses), "o-", color=BLUE, label="loss")
    axes.set_xscale("log")
    marked = {
        "suggested": (result.suggested, GREEN),
        "largest stable": (result.largest_stable, VERMILLION),
        "in use": (result.in_use, GREY),
    }
    _labels(axes, [*rates, *(rate for rate, _ in marked.values() if rate is not None)])
    if result.start is not None and math.isfinite(result.start):
        _limits(axes, result.start, losses, low)
        axes.axhline(result.start, color=GREY, linewidth=0.8, linestyle=DASHED)
        page.beside_line(axes, result.start, "at the start")
    if result.suggested_low is not None and result.suggested_high is not None:
        axes.axvspan(result.suggested_low, result.suggested_high, color=GREEN, alpha=0.12)
    for text, (rate, colour) in marked.items():
        _line(axes, rate, text, colour, _HEIGHTS[text])
    seeds = len(result.meta.seeds)
    page.caption(axes, "loss after each step", f"median of {seeds} seeds" if seeds > 1 else None)
    axes.set_xlabel("learning rate of the step")
    axes.set_ylabel("loss after it")
    return fig


def _line(axes: Axes, rate: float | None, text: str, colour: str, height: float) -> None:
    if rate is None:
        return
    axes.axvline(rate, color=colour, linewidth=1.4)
    axes.annotate(
        f"{text} {page.number(rate)}",
        (rate, height),
        (4, 0),
        axes.get_xaxis_transform(),
        "offset points",
        size=8,
        color=colour,
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _limits(axes: Axes, start: float, losses: Floats, low: Floats) -> None:
    """Show from the lowest loss to a little above the start: a diverging loss leaves the page."""
    known = np.concatenate([losses, low])
    known = known[np.isfinite(known)]
    least = min(float(known.min()), start) if known.size else start
    room = max(start - least, 0.05 * abs(start), 1e-12)
    axes.set_ylim(least - 0.08 * room, start + 0.6 * room)


def _labels(axes: Axes, rates: Sequence[float]) -> None:
    """Label the rates in powers of ten, with room for words to the right of the last."""
    low, high = math.log10(min(rates)), math.log10(max(rates))
    low, high = low - 0.1, high + max(0.18 * (high - low), 0.45)
    ticks = log_axes.log_ticks(low, high)
    axes.set_xticks([10.0**tick for tick in ticks], log_axes.power_labels(ticks))
    axes.minorticks_off()
    axes.set_xlim(10.0**low, 10.0**high)
