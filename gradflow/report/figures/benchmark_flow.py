"""Gradient flow while training: small heat maps, layer by epoch, a column for each setting."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from gradflow.arrays import Floats
from gradflow.report.figures import log_axes, page
from gradflow.report.style import GREY, PALE

MOST = 6  # settings that fit side by side
_TITLE_CHARACTERS = 13


def _log10(numbers: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        logs: Floats = np.log10(numbers)
    return logs


def _logarithmic(seen: Floats) -> Normalize:
    positive = seen[seen > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    return LogNorm(min(low, high / 10), high)


def _share(_: Floats) -> Normalize:
    return Normalize(0, 1)


def _about_one(seen: Floats) -> Normalize:
    """Colours of log₁₀ of a variance: white at 1."""
    reach = max(float(np.abs(seen).max(initial=0.0)), 0.5)
    return TwoSlopeNorm(0.0, -reach, reach)


class HeatMap(NamedTuple):
    """A column of the flow, how it reads, and the colours of its values.

    `drawn` is applied to the values before `norm` gives them colours.
    """

    name: str
    label: str
    norm: Callable[[Floats], Normalize]
    colours: str
    drawn: Callable[[Floats], Floats] = np.asarray


#: From top to bottom; a new heat map is one entry.
HEAT_MAPS = (
    HeatMap("gradient_norm", "‖g‖", _logarithmic, "viridis"),
    HeatMap("update_ratio", "‖Δw‖ / ‖w‖", _logarithmic, "viridis"),
    HeatMap("saturated_fraction", "saturated", _share, "cividis"),
    HeatMap("dead_fraction", "dead", _share, "cividis"),
    HeatMap("activation_variance", "log₁₀ Var a", _about_one, "PuOr_r", _log10),
)


def height(flow: Sequence[Any]) -> float:
    """Return the height in inches that the heat maps need; 0 where there is nothing to draw."""
    return 0.75 * len(HEAT_MAPS) + 0.6 if flow else 0.0


def draw(fig: SubFigure, flow: Sequence[Any], names: Mapping[Any, str]) -> None:
    """Draw a heat map for each quantity and setting; layers from the first (top) to the last."""
    groups = page.by_key(flow, lambda row: names[row.setting])
    shown = dict(list(groups.items())[:MOST])
    panels = fig.subplots(len(HEAT_MAPS), len(shown), squeeze=False, sharex="col", sharey="row")
    for row, heat_map in zip(panels, HEAT_MAPS, strict=True):
        _row(fig, row, list(shown.values()), heat_map)
    for axes, name in zip(panels[0], shown, strict=True):
        axes.set_title(_heading(name), loc="center", parse_math=False)
    for axes, rows in zip(panels[-1], shown.values(), strict=True):
        epochs = {row.epoch for row in rows}
        axes.set_xticks(sorted({min(epochs), max(epochs)}))
        axes.set_xlabel("epoch")
    fig.align_ylabels(panels[:, 0])
    missing = len(groups) - len(shown)
    more = f"; {missing} more are not drawn" if missing else ""
    fig.suptitle(
        f"gradient flow while training, layer by epoch{more}",
        x=0.012,
        ha="left",
        size=8,
        color=GREY,
        weight="normal",
    )


def _heading(name: str) -> str:
    """Return a setting's name in short lines: a line for each of what it says, if one is short."""
    if len(name) <= _TITLE_CHARACTERS:
        return name
    return "\n".join(page.balanced(part, _TITLE_CHARACTERS) for part in re.split("(?<=,) ", name))


def _row(fig: SubFigure, panels: Sequence[Axes], groups: list[Any], heat_map: HeatMap) -> None:
    """Draw one quantity for every setting, in the same colours, with its colour bar."""
    tables = [heat_map.drawn(table(rows, heat_map.name)) for rows in groups]
    seen = np.concatenate([values.ravel() for values in tables])
    norm = heat_map.norm(seen[np.isfinite(seen)])
    for axes, values, rows in zip(panels, tables, groups, strict=True):
        epochs = {row.epoch for row in rows}
        image = axes.imshow(
            values,
            norm=norm,
            cmap=heat_map.colours,
            aspect="auto",
            interpolation="nearest",
            extent=(min(epochs) - 0.5, max(epochs) + 0.5, len(values) + 0.5, 0.5),
        )
        axes.set_facecolor(PALE)  # where there is no number: a layer without an activation
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    _name_layers(panels[0], {row.index: row.name for row in groups[0]})
    _colour_bar(fig, panels, image)
    panels[0].set_ylabel(heat_map.label, size=7)


def _name_layers(axes: Axes, layers: dict[int, str]) -> None:
    """Name every layer where there is room, else the first and the last."""
    few = len(layers) <= 5
    axes.yaxis.set_major_locator(FixedLocator(list(layers) if few else [1, len(layers)]))
    axes.set_yticklabels(
        list(layers.values()) if few else ["first", "last"], size=6, parse_math=False
    )


def _colour_bar(fig: SubFigure, panels: Sequence[Axes], image: AxesImage) -> None:
    bar = fig.colorbar(image, ax=list(panels), pad=0.01, aspect=9, fraction=0.05)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, length=2)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    if isinstance(image.norm, LogNorm):
        ends = (math.log10(float(limit or 1)) for limit in (image.norm.vmin, image.norm.vmax))
        ticks = log_axes.few_ticks(*ends)
        bar.set_ticks([10.0**tick for tick in ticks], labels=log_axes.power_labels(ticks))
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2))


def table(rows: Sequence[Any], name: str) -> Floats:
    """Return a column of the flow as (layers, epochs): means over the seeds, NaN for none."""
    epochs, layers = sorted({r.epoch for r in rows}), sorted({r.index for r in rows})
    cells = page.by_key(rows, lambda row: (row.index, row.epoch))
    return np.array(
        [[_mean(page.values(cells.get((i, e), ()), name)) for e in epochs] for i in layers]
    )


def _mean(numbers: Floats) -> float:
    finite = numbers[np.isfinite(numbers)]
    return float(finite.mean()) if finite.size else float("nan")
