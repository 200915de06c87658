"""Figure of ``benchmark --plan``: how long each setting would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.report.figures import page
from gradflow.report.style import colour
from gradflow.results.benchmark import duration, labels

if TYPE_CHECKING:
    from gradflow.results.benchmark import PlanResult


def figure(result: PlanResult) -> Figure:
    """Return a bar of estimated seconds for each setting, all its runs together."""
    names = labels(result.records)
    fig = page.blank(result.title, 1.2 + 0.28 * max(len(result.records), 2))
    axes: Axes = fig.subplots()
    if not result.records:
        page.note(axes, "there is nothing to run")
        return fig
    for place, row in enumerate(result.records):
        axes.barh(place, row.seconds, color=colour(row.activation), height=0.6)
        axes.annotate(
            duration(row.seconds),
            (row.seconds, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=8,
        )
    axes.set_yticks(range(len(result.records)), [names[row.setting] for row in result.records])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("seconds of one worker, estimated")
    axes.set_ylabel("setting")
    return fig
