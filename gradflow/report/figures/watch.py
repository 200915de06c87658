"""Figure of ``watch``: the gradient of every layer at every step, and what clipping did to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from gradflow.arrays import Floats, Integers
from gradflow.findings.words import dead_rows, indices
from gradflow.report.figures import layers, log_axes, page
from gradflow.report.figures.line_labels import End, end_of, ended, label_ends
from gradflow.report.style import BLACK, BLUE, GREY, PALE, PALETTE, VERMILLION
from gradflow.results.watching import WatchResult

#: Dark is small: a vanished gradient is a dark band. Colour-blind safe and even in print.
_COLOURS = "viridis"


def figure(result: WatchResult) -> Figure:
    """Return a heat map layer × step; above it the norm before and after clipping."""
    height = 3.4 + min(max(0.14 * len(result.records), 1.2), 4.5)
    fig = page.blank(result.title, height)
    if not result.steps or not result.records:
        page.note(fig.subplots(), "no step was recorded")
        return fig
    ratios = (1, max(1.2, min(0.14 * len(result.records), 4.5)))
    top, below = fig.subplots(2, 1, sharex=True, height_ratios=ratios)
    ends = _norms(top, result)
    _heat(fig, below, result)
    label_ends(fig, [(top, ends)])
    return fig


def _norms(axes: Axes, result: WatchResult) -> list[End]:
    """Draw the whole gradient's norm as backward left it and as the optimizer met it."""
    if len(result.models) > 1:
        return _norms_of_models(axes, result)
    step = page.values(result.steps, "step")
    before, after = (
        page.drawable(page.values(result.steps, name)) for name in ("norm_before", "norm_after")
    )
    marker = page.markers(len(step))
    axes.plot(step, before, color=BLUE, marker=marker, label="before clipping", linewidth=1.2)
    ends = ended(axes, "‖g‖", step, before, BLUE)
    if result.clip_rate:
        cut = np.array([s.clipped for s in result.steps])
        axes.plot(step, after, color=VERMILLION, marker=marker, label="clipped", linewidth=1.2)
        axes.vlines(step[cut], after[cut], before[cut], color=PALE, linewidth=0.8, zorder=0)
        ends += end_of("clipped", step, after, VERMILLION)
    axes.set_ylabel("‖g‖ of all layers")
    log_axes.log_scale(axes)
    return ends


def _norms_of_models(axes: Axes, result: WatchResult) -> list[End]:
    """Draw a line for each model of a program."""
    ends = []
    for number, model in enumerate(result.models):
        colour = PALETTE[number % len(PALETTE)]
        step = page.values(model.steps, "step")
        norm = page.drawable(page.values(model.steps, "norm_before"))
        axes.plot(step, norm, color=colour, marker=page.markers(len(step)), linewidth=1.2)
        ends += ended(axes, model.name, step, norm, colour)
    axes.set_ylabel("‖g‖ of a model")
    log_axes.log_scale(axes)
    return ends


def _heat(fig: Figure, axes: Axes, result: WatchResult) -> None:
    steps = _recorded(result)
    order = _order(result)
    table = _table(result, "gradient_log10_norm")[order]
    low, high = _limits(table)
    half = result.every / 2
    place: Any = {
        "aspect": "auto",
        "interpolation": "nearest",
        "extent": (steps[0] - half, steps[-1] + half, len(table) + 0.5, 0.5),
    }
    known = np.where(np.isfinite(table), table, np.nan)
    image = axes.imshow(known, cmap=_COLOURS, vmin=low, vmax=high, **place)
    for marked, tint in ((np.isneginf(table), BLACK), (np.isposinf(table), VERMILLION)):
        if marked.any():
            axes.imshow(np.where(marked, 1.0, np.nan), cmap=ListedColormap([tint]), **place)
    axes.set_facecolor(PALE)
    axes.set_xlabel("step")
    page.whole_numbers(axes.xaxis)
    _name_layers(axes, result, order)
    bar: Any = fig.colorbar(image, ax=axes, pad=0.02, aspect=25)
    bar.set_label("‖∂C/∂W‖", size=8)
    ticks = log_axes.log_ticks(low, high)
    bar.set_ticks(ticks, labels=log_axes.power_labels(ticks))
    bar.outline.set_linewidth(0.5)
    _mark_dead(axes, result, steps, order, table)


def _order(result: WatchResult) -> Integers:
    """Places of the layers from top to bottom: by depth, many of them role by role."""
    joined, alone = layers.lines(result.records)
    if len(result.records) <= layers.MOST or len(joined) == 1:
        return np.arange(len(result.records))
    return np.concatenate([*(line.places for line in joined), alone])


def _name_layers(axes: Axes, result: WatchResult, order: Integers) -> None:
    """Write at the left what the layers are: their names, or the roles that they stand in."""
    joined, alone = layers.lines(result.records)
    axes.set_ylabel("layer")
    if len(order) <= layers.MOST or len(joined) == 1:
        places = [float(row.index) for row in result.records]
        layers.names_at(axes.yaxis, result.records, places, size=7)
        return
    bounds = np.cumsum([0, *(len(line.places) for line in joined)]) + 0.5
    words = layers.role_words(joined, layers.LETTERS)
    room = len(order) / (2 * layers.MOST)
    labels = [
        word if above - below >= room else ""
        for word, below, above in zip(words, bounds, bounds[1:], strict=False)
    ]
    axes.set_yticks((bounds[:-1] + bounds[1:]) / 2, labels, size=7, parse_math=False)
    for bound in bounds[1:] if alone.size else bounds[1:-1]:
        axes.axhline(bound, color="white", linewidth=0.8)
    axes.set_ylabel("layers by role, each from the input down")


def _recorded(result: WatchResult) -> list[int]:
    """Steps of any model."""
    return sorted({s.step for s in result.steps} | {row.step for row in result.history})


def _table(result: WatchResult, name: str) -> Floats:
    """(layers, steps) of log₁₀: −∞ for 0, ∞ for what is not finite, NaN for not measured."""
    places = {step: i for i, step in enumerate(_recorded(result))}
    table = np.full((len(result.records), len(places)), np.nan)
    for row in result.history:
        value = getattr(row, name)
        if value is not None:
            lost = np.isnan(value) or value == np.inf
            table[row.index - 1, places[row.step]] = np.inf if lost else value
    return table


def _limits(table: Floats) -> tuple[float, float]:
    known = table[np.isfinite(table)]
    if not known.size:
        return -1.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high - low > 0.1 else (low - 0.05, high + 0.05)


def _mark_dead(
    axes: Axes, result: WatchResult, steps: list[int], order: Integers, table: Floats
) -> None:
    """Cross out, at the right, layers that were dead at the end; say what no colour bar says."""
    gone = {index - 1 for index in indices(dead_rows(result.records))}
    dead = [height for height, place in enumerate(order, start=1) if place in gone]
    half = result.every / 2
    if dead:
        axes.plot([steps[-1] + half] * len(dead), dead, "X", color=VERMILLION, clip_on=False)
    page.caption(
        axes,
        "× : dead at the end" if dead else None,
        "black: gradient exactly 0" if np.isneginf(table).any() else None,
        "orange: not finite" if np.isposinf(table).any() else None,
        "grey: not recorded" if np.isnan(table).any() else None,
    )
    axes.tick_params(axis="y", length=0, labelcolor=GREY)
