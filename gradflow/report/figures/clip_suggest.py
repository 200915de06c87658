"""Figure of ``clip --suggest``: the norms met, and what each threshold proposed does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.report.figures import log_axes, page
from gradflow.report.style import BLUE, DASHED, GREY, PALE, VERMILLION

if TYPE_CHECKING:
    from gradflow.results.clipping import ClipResult, DistributionRow, PolicyRow


def figure(result: ClipResult) -> Figure:
    """Return the histogram above; below, final loss and share of updates clipped by threshold."""
    fig = page.blank(result.title, 5.4)
    panels = fig.subplot_mosaic([["norms", "norms"], ["loss", "engaged"]])
    _histogram(panels["norms"], result)
    tried = [row for row in result.records if row.threshold is not None]
    _losses(panels["loss"], result, tried)
    _engaged(panels["engaged"], tried)
    return fig


def _histogram(axes: Axes, result: ClipResult) -> None:
    low, high = page.values(result.norms, "low"), page.values(result.norms, "high")
    count = page.values(result.norms, "count")
    axes.bar(
        low,
        count,
        high - low,
        align="edge",
        color=PALE,
        edgecolor=GREY,
        linewidth=0.5,
        label="updates",
    )
    axes.set_xscale("log")
    _threshold_axis(axes)
    axes.set_xlabel("‖g‖ in unclipped training")
    axes.set_ylabel("updates")
    page.caption(axes, *_said(result.distribution[0], result.suggested))
    for row in result.records:
        if row.threshold is not None:
            best = row.threshold == result.suggested
            axes.axvline(
                row.threshold,
                color=VERMILLION if best else BLUE,
                linewidth=1.8 if best else 0.8,
                linestyle="-" if best else DASHED,
            )


def _said(row: DistributionRow, suggested: float | None) -> list[str]:
    best = f", solid: suggested {page.number(suggested)}" if suggested is not None else ""
    said = [
        f"median {page.number(row.median)}, 90 % below {page.number(row.percentile_90)}, "
        f"largest {page.number(row.largest)}"
    ]
    if row.tail_index is not None:
        tail = "heavy tail" if row.heavy_tail else "no heavy tail"
        said.append(f"{tail} (index {row.tail_index:.1f})")
    return [*said, f"dashed: thresholds tried{best}"]


def _losses(axes: Axes, result: ClipResult, tried: list[PolicyRow]) -> None:
    """Draw the final loss by threshold, with the range over seeds, and that without clipping."""
    x, y = page.values(tried, "threshold"), page.drawable(page.values(tried, "final_loss"))
    ends = (page.values(tried, f"final_loss_{end}") for end in ("low", "high"))
    low, high = (page.drawable(end) for end in ends)
    axes.fill_between(x, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(x, y, "o-", color=BLUE, label="clipped")
    best = [row for row in tried if row.threshold == result.suggested]
    x, y = page.values(best, "threshold"), page.drawable(page.values(best, "final_loss"))
    axes.plot(x, y, "o", color=VERMILLION, zorder=5)
    raw = next((row for row in result.records if row.threshold is None), None)
    level = None if raw is None else raw.final_loss
    level = level if level is not None and np.isfinite(level) else None
    if level is not None:
        axes.axhline(level, color=GREY, linewidth=1, linestyle=DASHED)
    _labelled(axes, "final loss")
    log_axes.log_scale(axes)
    if level is not None:
        page.beside_line(axes, level, "unclipped", or_above=True)
    elif raw is not None and raw.diverged:
        page.caption(axes, "unclipped training diverges")


def _engaged(axes: Axes, tried: list[PolicyRow]) -> None:
    x, y = page.values(tried, "threshold"), page.values(tried, "engaged_fraction")
    axes.plot(x, y, "o-", color=BLUE, label="clipped")
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=DASHED)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    _labelled(axes, "updates clipped")
    page.beside_line(axes, 0.5, "more often than not")


def _labelled(axes: Axes, what: str) -> None:
    axes.set_xscale("log")
    _threshold_axis(axes)
    axes.set_xlabel("threshold")
    axes.set_ylabel(what)


def _threshold_axis(axes: Axes) -> None:
    """Label a log axis in plain numbers where they are few digits long."""
    low, high = (float(limit) for limit in np.log10(axes.get_xlim()))
    ticks = log_axes.log_ticks(low, high)
    axes.set_xticks([10.0**tick for tick in ticks], log_axes.power_labels(ticks))
    axes.minorticks_off()
    axes.set_xlim(10.0**low, 10.0**high)
