"""Labels at the ends of lines, in place of a legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.style import ink

_LINE_SPACING = 1.25
_SIZE = 8.0


class End(NamedTuple):
    """A label and the point at which its line ends."""

    text: str
    x: float
    y: float
    tint: str


def end_of(text: str, x: Floats, y: Floats, tint: str) -> list[End]:
    """Return the label for a line at its last drawable point; none for an empty line."""
    drawn = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return [End(text, float(x[drawn[-1]]), float(y[drawn[-1]]), tint)] if drawn.size else []


def ended(
    axes: Axes, text: str, x: Floats, y: Floats, tint: str, *, lost: bool = False
) -> list[End]:
    """Return `end_of`; with a cross if training was `lost` or the last value is not finite.

    The cross stands at the first step that is not finite, or the last one, at the height of the
    last value that can be drawn.
    """
    ends = end_of(text, x, y, tint)
    if not ends or (np.isfinite(y[-1]) and not lost):
        return ends
    last = int(np.flatnonzero(np.isfinite(x) & np.isfinite(y))[-1])
    at = float(x[min(last + 1, len(x) - 1)])
    axes.plot([ends[0].x, at], [ends[0].y] * 2, ":", color=tint, linewidth=1)
    axes.plot(at, ends[0].y, "X", color=tint, markersize=6, zorder=4, clip_on=False)
    return [ends[0]._replace(text=f"{text} ×", x=at)]


def label_ends(fig: Figure, labels: Iterable[tuple[Axes, Sequence[End]]]) -> None:
    """Write labels to the right of their axes, as near the lines' ends as the others allow.

    Call it last: it lays the page out to see how much room there is.
    """
    engine = fig.get_layout_engine()
    if engine is not None:
        engine.execute(fig)
    for axes, ends in labels:
        axes.set_xlim(axes.get_xlim())  # what was measured must stay
        axes.set_ylim(axes.get_ylim())
        if ends:
            _write(axes, ends, axes.get_window_extent().height * 72 / fig.dpi)


def _write(axes: Axes, ends: Sequence[End], points: float) -> None:
    """Write the labels of axes that are so many points high."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    at = np.clip([to_fraction.transform((end.x, end.y)) for end in ends], 0, 1)
    lines = np.array([1 + end.text.count("\n") for end in ends])
    heights = spread(at[:, 1], lines * _LINE_SPACING * _SIZE / points)
    for end, y, along in zip(ends, heights, at[:, 0], strict=True):
        leader = {
            "arrowstyle": "-",
            "color": end.tint,
            "linewidth": 0.6,
            "relpos": (0, 0.5),
            "linestyle": "-" if along > 0.9 else ":",
            "shrinkA": 0,
            "shrinkB": 1,
        }
        axes.annotate(
            end.text,
            (end.x, end.y),
            (1.035, y),
            "data",
            "axes fraction",
            leader,
            annotation_clip=False,
            va="center",
            ha="left",
            size=_SIZE,
            color=ink(end.tint),
            parse_math=False,
        )


def spread(wanted: Floats, heights: Floats) -> Floats:
    """Return positions as near to `wanted` as labels of these heights can lie without overlap.

    Least squares under an order: isotonic regression by pooling adjacent violators.
    """
    order = np.argsort(wanted, kind="stable")
    gaps = (heights[order][1:] + heights[order][:-1]) / 2
    shift = np.concatenate(([0.0], np.cumsum(gaps)))
    blocks: list[tuple[float, int]] = []
    for target in wanted[order] - shift:
        block = (float(target), 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, count = blocks.pop()
            total = count + block[1]
            block = ((mean * count + block[0] * block[1]) / total, total)
        blocks.append(block)
    packed = np.concatenate([np.full(count, mean) for mean, count in blocks])
    room = 1.0 - shift[-1]
    lowest, highest = (0.0, room) if room > 0 else (room / 2, room / 2)  # too many: out both ways
    placed = np.empty_like(packed)
    placed[order] = np.clip(packed, lowest, highest) + shift
    return placed
