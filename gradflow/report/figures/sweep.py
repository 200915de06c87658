"""Figure of ``sweep``: maps over depth and weight variance, theory's lines drawn over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from gradflow.arrays import Floats
from gradflow.report.figures import page
from gradflow.report.style import BLACK, BLUE, DASHED, GREEN, GREY, ORANGE, PALE, VERMILLION
from gradflow.results.sweep import SweepResult, SweepRow

#: Maps drawn at most; more are said to be left out.
_MOST_MAPS = 6
#: Decades at which the colours end.
_LIMIT = 6.0
#: Of each verdict; others are black.
_VERDICTS = {
    "healthy": GREEN,
    "vanishing": BLUE,
    "exploding": VERMILLION,
    "saturated": ORANGE,
    "unjudged": PALE,
}
_OTHER = "other"


def figure(result: SweepResult) -> Figure:
    """Return two maps per activation, width and σ_b²: the gradient, and the verdict.

    Where networks were trained, the accuracy that they reached takes the verdict's place.
    """
    maps = page.by_key(result.records, lambda row: row.map)
    shown = list(maps)[:_MOST_MAPS]
    fig = page.blank(result.title, 0.5 + 2.9 * max(len(shown), 1))
    panels = fig.subplots(max(len(shown), 1), 2, squeeze=False)
    if not shown:
        for axes in panels[0]:
            page.note(axes, "nothing was measured")
    for pair, key in zip(panels, shown, strict=False):
        _gradients(fig, pair[0], maps[key])
        if any(row.accuracy is not None for row in maps[key]):
            _accuracies(fig, pair[1], maps[key])
        else:
            _verdicts(pair[1], maps[key])
        for axes in pair:
            _theory(axes, result, maps[key])
            _name_axes(axes, maps[key])
        pair[1].legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, columnspacing=1.0)
    if len(maps) > len(shown):
        said = f"{len(maps) - len(shown)} more maps are left out"
        fig.supxlabel(said, size=8, color=GREY)
    return fig


def _gradients(fig: Figure, axes: Axes, rows: Sequence[SweepRow]) -> None:
    x, y, table = _table(rows, [row.gradient_log10 for row in rows])
    norm = TwoSlopeNorm(0.0, -_LIMIT, _LIMIT)
    with np.errstate(invalid="ignore"):
        shown = np.clip(table, -_LIMIT, _LIMIT)
    axes.set_facecolor(PALE)  # where nothing was measured
    mesh = axes.pcolormesh(_edges(x), _edges(y), shown, norm=norm, cmap="RdBu_r", rasterized=True)
    _colour_bar(fig, axes, mesh, table)
    page.caption(axes, f"{_named(rows[0])}log₁₀ of δ at the first over the last layer", width=48)


def _colour_bar(fig: Figure, axes: Axes, mesh: ScalarMappable, table: Floats) -> None:
    known = table[~np.isnan(table)]
    beyond = known.size and (known.min() < -_LIMIT, known.max() > _LIMIT)
    extend = {
        (True, True): "both",
        (True, False): "min",
        (False, True): "max",
    }.get(beyond or (False, False), "neither")
    bar = fig.colorbar(mesh, ax=axes, extend=extend, ticks=[-6, -4, -2, 0, 2, 4, 6])
    bar.ax.set_yticklabels([page.minus_signs(f"{v:g}") for v in bar.get_ticks()])
    bar.outline.set_visible(False)


def _verdicts(axes: Axes, rows: Sequence[SweepRow]) -> None:
    names = [*_VERDICTS, _OTHER]
    places = [names.index(row.verdict if row.verdict in _VERDICTS else _OTHER) for row in rows]
    x, y, table = _table(rows, places)
    colours = ListedColormap([*_VERDICTS.values(), BLACK])
    axes.set_facecolor(PALE)
    axes.pcolormesh(
        _edges(x),
        _edges(y),
        table,
        cmap=colours,
        vmin=-0.5,
        vmax=len(names) - 0.5,
        alpha=0.75,
        rasterized=True,
    )
    there = [name for place, name in enumerate(names) if place in places]
    for name in there:
        tint = _VERDICTS.get(name, BLACK)
        axes.plot([], [], "s", color=tint, alpha=0.75, label=name)
    page.caption(axes, f"{_named(rows[0])}verdict", width=48)


def _accuracies(fig: Figure, axes: Axes, rows: Sequence[SweepRow]) -> None:
    x, y, table = _table(rows, [row.accuracy for row in rows])
    axes.set_facecolor(PALE)
    mesh = axes.pcolormesh(
        _edges(x), _edges(y), table, vmin=0.0, vmax=1.0, cmap="cividis", rasterized=True
    )
    bar = fig.colorbar(mesh, ax=axes, ticks=[0, 0.25, 0.5, 0.75, 1], format="{x:.0%}")
    bar.outline.set_visible(False)
    page.caption(axes, f"{_named(rows[0])}test accuracy after training", width=48)


def _theory(axes: Axes, result: SweepResult, rows: Sequence[SweepRow]) -> None:
    """Draw the edge of chaos, and to which depth theory lets networks train."""
    name, _, bias = rows[0].map
    low, high = axes.get_xlim()
    for edge in result.edges:
        at = edge.weight_variance
        if (edge.activation, edge.bias_variance) == (name, bias) and at and low < at < high:
            axes.axvline(at, color=BLACK, linewidth=1.0, linestyle=DASHED)
            axes.annotate(
                "edge",
                (at, 1.0),
                (2, -2),
                axes.get_xaxis_transform(),
                "offset points",
                size=7,
                va="top",
                rotation=90,
            )
    curve = [s for s in result.scales if (s.activation, s.bias_variance) == (name, bias)]
    top = axes.get_ylim()[1]
    x, depth = (page.values(curve, field) for field in ("weight_variance", "trainable_to"))
    bottom = axes.get_ylim()[0]
    if ((depth > bottom) & (depth < top)).any():
        label = r"theory: trains to 6 $\xi$"
        axes.plot(x, np.minimum(depth, 10 * top), color=BLACK, linewidth=1.4, label=label)
        axes.set_ylim(bottom, top)


def _name_axes(axes: Axes, rows: Sequence[SweepRow]) -> None:
    axes.set_xlabel(r"weight variance $\sigma_w^2$")
    axes.set_ylabel("hidden layers")
    if len({row.depth for row in rows}) == 1:
        axes.set_yticks([rows[0].depth])  # the only one
    else:
        page.whole_numbers(axes.yaxis)


def _named(row: SweepRow) -> str:
    bias = f", σ_b² = {row.bias_variance:g}" if row.bias_variance else ""
    return f"{row.activation}, width {row.width}{bias}: "


def _table(
    rows: Sequence[SweepRow], values: Sequence[float | None]
) -> tuple[Floats, Floats, Floats]:
    """Weight variances, depths, and (depths, weight variances) of a value; NaN where unknown."""
    x = np.array(sorted({row.weight_variance for row in rows}))
    y = np.array(sorted({row.depth for row in rows}), dtype=np.float64)
    table = np.full((y.size, x.size), np.nan)
    for row, value in zip(rows, values, strict=True):
        at = np.searchsorted(y, row.depth), np.searchsorted(x, row.weight_variance)
        table[at] = np.nan if value is None else value
    return x, y, table


def _edges(centres: Floats) -> Floats:
    """The borders of cells around points: half way between neighbours."""
    if centres.size == 1:
        half = 0.5 * max(abs(float(centres[0])) * 0.1, 0.1)
        return np.array([centres[0] - half, centres[0] + half])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
