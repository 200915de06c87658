"""One figure per command: it answers the command's question at a glance.

Figures read results and calculate nothing. They are `matplotlib.figure.Figure` objects, without
pyplot's global state, so that they can be drawn anywhere and as often as one likes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gradflow.errors import GradflowError
from gradflow.report.figures import (
    activations,
    benchmark,
    benchmark_plan,
    chain,
    clip,
    diagnose,
    eval,
    lr,
    plot,
    sweep,
    theory,
    watch,
    width,
)
from gradflow.report.style import style
from gradflow.results.base import Result

__all__ = ["FIGURES", "draw", "write"]

#: How each command's result is drawn; a new figure is one entry.
FIGURES: dict[str, Callable[[Any], Figure]] = {
    "activations": activations.figure,
    "benchmark": benchmark.figure,
    "benchmark-plan": benchmark_plan.figure,
    "chain": chain.figure,
    "clip": clip.figure,
    "diagnose": diagnose.figure,
    "eval": eval.figure,
    "lr": lr.figure,
    "plot": plot.figure,
    "sweep": sweep.figure,
    "theory": theory.figure,
    "watch": watch.figure,
    "width": width.figure,
}


def draw(result: Result) -> Figure:
    """Return the figure of `result`.

    Raises
    ------
    GradflowError
        If there is no figure for its command.
    """
    if result.command not in FIGURES:
        raise GradflowError(f"there is no figure of '{result.command}'", "write its table instead")
    with style():
        return FIGURES[result.command](result)


def write(result: Result, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write the figure of `result` to `path`; the suffix chooses the format."""
    figure, drawn = draw(result), io.BytesIO()
    with style():  # salt, fonts and resolution are asked for when saving
        figure.savefig(drawn, format=path.suffix.lower()[1:], metadata=metadata)
    path.write_bytes(drawn.getvalue())  # at once: of a full disk PDF's writer says something else
