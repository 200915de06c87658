"""Figure of ``width``: how far training moves every layer, against the width, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.report.figures import log_axes, page
from gradflow.report.figures.line_labels import End, end_of, label_ends
from gradflow.report.style import DASHES, PALETTE

if TYPE_CHECKING:
    from gradflow.results.width import CoordinateRow, WidthResult, WidthRow

#: Layers that are drawn, the steepest among them.
_MOST = 7


def figure(result: WidthResult) -> Figure:
    """Return the change of every layer at each step; the last step's line is thick."""
    fig = page.blank(result.title, 3.6)
    rows = _drawn(result.records)
    repaired = any(point.repaired for point in result.coordinates)
    panels = fig.subplots(1, 2 if repaired else 1, sharey=True, squeeze=False)[0]
    last = max((point.step for point in result.coordinates), default=0)
    ends = []
    for axes, after in zip(panels, (False, True), strict=False):
        points = [p for p in result.coordinates if p.repaired == after and p.step > 0]
        own = [end for n, row in enumerate(rows) for end in _layer(axes, points, row, n, last)]
        ends.append((axes, own if after or not repaired else []))
        left = len(result.records) - len(rows)
        page.caption(
            axes,
            "repaired" if after else f"as it is, with {result.optimizer}",
            None if after or last < 2 else f"thick: after {last} steps, thin: after fewer",
            f"{left} more layers are not drawn" if left and not after else None,
            width=50,
        )
        axes.set_xscale("log")
        axes.set_xlabel("width")
        axes.set_xticks(result.widths, [str(width) for width in result.widths])
        axes.minorticks_off()
    panels[0].set_ylabel("rms change of the outputs")
    _scale(panels, result.coordinates)
    label_ends(fig, ends)
    return fig


def _drawn(rows: Sequence[WidthRow]) -> list[WidthRow]:
    """The layers that are drawn, in their order: the steepest."""
    steepest = sorted(rows, key=lambda row: -abs(row.slope or 0.0))[:_MOST]
    return sorted(steepest, key=lambda row: row.index)


def _layer(
    axes: Axes, points: Sequence[CoordinateRow], row: WidthRow, number: int, last: int
) -> list[End]:
    """Draw one layer: a line for every step."""
    own = page.by([p for p in points if p.layer == row.name], "step")
    tint, dashes = PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]
    ends: list[End] = []
    for step, line in own.items():
        widths, changes = (page.values(line, name) for name in ("width", "change"))
        changes = page.drawable(np.where(changes > 0, changes, np.nan))
        final = int(step) == last
        axes.plot(
            widths,
            changes,
            color=tint,
            linestyle=dashes,
            linewidth=1.6 if final else 0.7,
            alpha=1.0 if final else 0.5,
            marker="o" if final else "",
        )
        if final:
            ends = end_of(row.name, widths, changes, tint)
    return ends


def _scale(panels: Sequence[Axes], points: Sequence[CoordinateRow]) -> None:
    changes = page.drawable(page.values(points, "change"))
    changes = changes[changes > 0]
    if not changes.size:
        page.note(panels[0], "no layer moved")
        return
    low, high = np.log10(changes.min()), np.log10(changes.max())
    pad = max(0.06 * (high - low), 0.05)
    low, high = float(low - pad), float(high + pad)
    ticks = log_axes.log_ticks(low, high)
    panels[0].set_yscale("log")
    panels[0].set_ylim(10.0**low, 10.0**high)
    panels[0].set_yticks([10.0**tick for tick in ticks], log_axes.power_labels(ticks))
    for axes in panels:
        axes.minorticks_off()
