"""Figure of ``benchmark``: accuracy and loss over the epochs, and the gradient flow beneath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from gradflow.arrays import Floats
from gradflow.report.figures import benchmark_flow, log_axes, page
from gradflow.report.figures.line_labels import End, ended, label_ends
from gradflow.report.style import DASHES, PALETTE, colour, dashes, ink, shade
from gradflow.results.benchmark import labels

if TYPE_CHECKING:
    from gradflow.results.benchmark import BenchmarkResult

#: An accuracy of 1 is drawn as this: on an axis of errors 0 has no place.
_PERFECT = 1 - 1e-5
_TICKS = (
    0,
    0.3,
    0.5,
    0.7,
    0.8,
    0.85,
    0.9,
    0.92,
    0.94,
    0.95,
    0.96,
    0.97,
    0.975,
    0.98,
    0.985,
    0.99,
    0.995,
    0.998,
    0.999,
    0.9999,
    0.99999,
)


class Panel(NamedTuple):
    """A column of the history, and how it reads."""

    name: str
    label: str
    form: Callable[[float], str]


PANELS = (
    Panel("test_accuracy", "test accuracy", lambda share: f"{100 * share:.2f} %"),
    Panel("test_loss", "test loss", page.number),
)


class EpochCurve(NamedTuple):
    """A column of the history over the epochs: mean, smallest and largest over the seeds."""

    epoch: Floats
    mean: Floats
    low: Floats
    high: Floats


def figure(result: BenchmarkResult) -> Figure:
    """Return test accuracy (its errors on a log axis) and loss, above the flow by layer."""
    names = labels(result.history)
    groups = page.by_key(result.history, lambda row: names[row.setting])
    tall = max(5.4, 2.0 + 0.3 * len(groups))
    fig = page.blank(result.title, tall + benchmark_flow.height(result.flow))
    if not groups:
        page.note(fig.subplots(), "no epoch was finished")
        return fig
    if not result.flow:
        _trained(fig, fig.subplots(2, 1, sharex=True), result, groups)
        fig.align_ylabels()
        return fig
    parted: Any = fig.subfigures(2, 1, height_ratios=[tall, benchmark_flow.height(result.flow)])
    above, below = parted
    panels = above.subplots(2, 1, sharex=True)
    benchmark_flow.draw(below, result.flow, labels(result.flow))
    _trained(fig, panels, result, groups)
    above.align_ylabels()
    return fig


def _trained(
    fig: Figure, panels: Sequence[Axes], result: BenchmarkResult, groups: dict[str, list[Any]]
) -> None:
    """Draw both quantities over the epochs, one above the other."""
    draw = _curves if len({row.epoch for row in result.history}) > 1 else _points
    seeds = {row.seed for row in result.history}
    range_over = f"mean and range over {len(seeds)} seeds" if len(seeds) > 1 else None
    page.caption(panels[0], range_over, "accuracy by its errors, on a log axis")
    ends = [draw(axes, groups, panel) for axes, panel in zip(panels, PANELS, strict=True)]
    _error_axis(panels[0])
    log_axes.log_scale(panels[1])
    for axes in panels:
        if not np.isfinite(axes.dataLim.intervaly).all():
            page.note(axes, "× no value is finite")
    label_ends(fig, zip(panels, ends, strict=True))


def tint_of(place: int, rows: Sequence[Any], groups: dict[str, list[Any]]) -> tuple[str, Any]:
    """Return colour and dashes: the activation's, of its settings lighter and lighter ones.

    Where there is one activation, its settings have colours of their own.
    """
    name = rows[0].activation
    names = [group[0].activation for group in groups.values()]
    if len(set(names)) == 1 < len(names):
        return PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]
    count, before = names.count(name), names[:place].count(name)
    if count == 1:
        return colour(name), dashes(name)
    return shade(colour(name), before, count), DASHES[before % len(DASHES)]


def epoch_curve(rows: Sequence[Any], name: str) -> EpochCurve:
    """Return a column of one setting's history over the epochs."""
    epochs = page.by(rows, "epoch")
    table = []
    for epoch in sorted(epochs):
        seen = page.drawable(page.values(epochs[epoch], name))
        finite = seen[np.isfinite(seen)]
        # A mean over the seeds that survived would flatter an activation that diverges in others.
        mean = seen.mean()
        low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
        table.append((epoch, mean, low, high))
    return EpochCurve(*np.array(table, dtype=np.float64).T)


def _curves(axes: Axes, groups: dict[str, list[Any]], panel: Panel) -> list[End]:
    """Draw every setting over the epochs; return its name and last value for the line's end."""
    axes.set_ylabel(panel.label)
    ends: list[End] = []
    courses = [epoch_curve(rows, panel.name) for rows in groups.values()]
    widths = page.widths([course.mean for course in courses])
    for place, (name, rows) in enumerate(groups.items()):
        epoch, mean, low, high = courses[place]
        tint, dash = tint_of(place, rows, groups)
        axes.fill_between(epoch, low, high, color=tint, alpha=0.15, linewidth=0)
        axes.plot(
            epoch,
            mean,
            color=tint,
            linestyle=dash,
            linewidth=widths[place],
            label=name,
            marker=page.markers(epoch.size),
            markersize=3,
            clip_on=False,  # the last marker stands on the edge
        )
        for end in ended(axes, page.balanced(name, 18), epoch, mean, tint):
            value = "" if end.text.endswith("×") else f" {panel.form(end.y)}"
            ends.append(end._replace(text=end.text + value))
    _epoch_axis(axes, [row for rows in groups.values() for row in rows])
    return ends


def _epoch_axis(axes: Axes, history: Sequence[Any]) -> None:
    epochs = page.values(history, "epoch")
    first, last = epochs.min(), epochs.max()
    axes.set_xlim(first - 0.04 * (last - first), last)
    page.whole_numbers(axes.xaxis)
    axes.set_xlabel("epoch")
    axes.label_outer()


def _points(axes: Axes, groups: dict[str, list[Any]], panel: Panel) -> list[End]:
    """Draw the one epoch that there is: a point per activation, with its value beside it."""
    axes.set_ylabel(panel.label)
    for place, (name, rows) in enumerate(groups.items()):
        epoch, mean, low, high = epoch_curve(rows, panel.name)
        tint, _ = tint_of(place, rows, groups)
        axes.vlines(place, low, high, color=tint, linewidth=1)
        axes.plot([place], mean, "o", color=tint, label=name)
        finite = np.isfinite(mean[0])
        axes.annotate(
            panel.form(mean[0]) if finite else "×",
            (place, mean[0] if finite else 0.06),
            (5, 0),
            "data" if finite else axes.get_xaxis_transform(),
            "offset points",
            size=8,
            color=ink(tint),
            va="center",
        )
    axes.set_xticks(range(len(groups)), list(groups), rotation=0 if len(groups) <= 7 else 90)
    axes.set_xlim(-0.4, len(groups) - 0.2)
    axes.set_xlabel(f"after epoch {epoch[0]:.0f}")
    axes.label_outer()
    return []


def _error_axis(axes: Axes) -> None:
    """Put accuracies on a log axis of their errors, on which the leaders can be told apart."""
    low, high = (float(_height(limit)) for limit in axes.dataLim.intervaly)
    if not low <= high:  # nothing was drawn
        return
    pad = max(0.06 * (high - low), (0.3 - high + low) / 2)
    axes.set_yscale("function", functions=(_height, _accuracy))
    axes.set_ylim(_accuracy(low - pad), _accuracy(high + pad))
    heights: list[float] = []
    for height in _height(np.array(_TICKS)):
        spaced = not heights or height - heights[-1] > 0.1 * (high - low)
        if spaced and low - pad <= height <= high + pad:
            heights.append(float(height))
    axes.yaxis.set_major_locator(FixedLocator([float(_accuracy(h)) for h in heights]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))


def _height(accuracy: Any) -> Any:
    return -np.log10(1 - np.minimum(accuracy, _PERFECT))


def _accuracy(height: Any) -> Any:
    return 1 - 10.0**-height
