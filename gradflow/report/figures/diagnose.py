"""Figure of ``diagnose``: how δ's size changes from layer to layer, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from gradflow.arrays import Floats, Integers
from gradflow.report.figures import layers, log_axes, page
from gradflow.report.figures.line_labels import End, end_of, label_ends
from gradflow.report.style import BLACK, BLUE, DASHED, FAULT, GREEN, GREY, PALETTE, VERMILLION
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.names import all_numbered

#: log₁₀ of the smallest normal numbers; below them digits are lost, and soon everything.
SMALLEST_NORMAL = {"fp16": -4.2144, "bf16 and fp32": -37.9298, "fp64": -307.6527}


#: Roles that are told apart by colour and by name; those of fewer layers are grey.
_MOST_ROLES = 6


def figure(result: DiagnosisResult) -> Figure:
    """Return δ's rms per layer, and below it the activations and the units that are lost."""
    result = replace(result, records=result.layers)  # what belongs to no layer has no place in it
    named = not all_numbered(result.records)
    fig = page.blank(result.title, 7.6 if named and result.records else 6.4)
    panels: Sequence[Axes] = fig.subplots(3, 1, sharex=True, height_ratios=(3, 1.25, 1.25))
    if not result.records:
        page.note(panels[0], "no layers")
        return fig
    x = page.values(result.records, "index")
    pad = max(0.5, 0.006 * len(x))  # room for half a marker
    panels[0].set_xlim(x[0] - pad, x[-1] + pad)
    panels[-1].set_xlabel("layer, the last is the output (the gradient flows from right to left)")
    layers.names_at(panels[-1].xaxis, result.records, list(x), rotation=90, size=6.5)
    _shade_faults(panels, result)
    labels = (
        _flow(panels[0], result, x),
        _activations(panels[1], result, x),
        _fractions(panels[2], result, x),
    )
    label_ends(fig, zip(panels, labels, strict=True))
    fig.align_ylabels()
    return fig


def _at_fault(result: DiagnosisResult) -> set[int]:
    errors = [finding for finding in result.findings if finding.severity == "error"]
    return {layer for finding in errors for layer in finding.layers}


def _shade_faults(panels: Sequence[Axes], result: DiagnosisResult) -> None:
    for first, last in page.runs(_at_fault(result)):
        for axes in panels:
            axes.axvspan(first - 0.5, last + 0.5, color=FAULT, linewidth=0, zorder=0)


def _flow(axes: Axes, result: DiagnosisResult, x: Floats) -> list[End]:
    """Draw the measured δ with its band over seeds, and the prediction over it."""
    names = ("", "_low", "_high")
    raw, low, high = (page.values(result.records, f"delta_log10_rms{name}") for name in names)
    measured = page.drawable(raw)
    theory = page.drawable(page.values(result.records, "predicted_delta_log10_rms"))
    bottom, top = _limits(measured, low, high, theory)
    axes.set_ylim(bottom, top)
    axes.set_ylabel("rms of δ = ∂C/∂z")
    log_axes.decades(axes.yaxis, bottom, top)
    banded = np.isfinite(high) & ~np.isnan(low)
    floored = np.maximum(low, bottom)  # a dead seed's δ is 0, its log₁₀ −∞
    axes.fill_between(x, floored, high, where=banded.tolist(), color=BLUE, alpha=0.22, linewidth=0)
    ends = _measured(axes, result, x, measured)
    _predicted(axes, result, x, theory)
    _formats(axes, measured)
    page.caption(
        axes,
        f"band: 5 to 95 % of {len(result.meta.seeds)} seeds" if banded.any() else None,
        "shaded: layers at fault" if _at_fault(result) else None,
        "a line for each role in the blocks" if len(layers.lines(result.records)[0]) > 1 else None,
        *_off_scale(axes, result, x, raw),
    )
    return [*ends, *end_of("theory", x, theory, BLACK)]


def _measured(axes: Axes, result: DiagnosisResult, x: Floats, measured: Floats) -> list[End]:
    """Draw a line through all layers, or one through those of each role."""
    joined, alone = layers.lines(result.records)
    axes.plot(x[alone], measured[alone], "o", color=GREY, markersize=2.5)
    if len(joined) == 1:
        axes.plot(x, measured, color=BLUE, marker=page.markers(len(x)), label="measured")
        return end_of("measured", x, measured, BLUE)
    ends: list[End] = []
    joined.sort(key=lambda line: -len(line.places))
    words = layers.role_words(joined, 22)
    for i, (line, role) in enumerate(zip(joined, words, strict=True)):
        at, tint = line.places, PALETTE[i] if i < _MOST_ROLES else GREY
        marker = page.markers(len(at))
        axes.plot(x[at], measured[at], color=tint, marker=marker, markersize=2.5, linewidth=1.2)
        ends += end_of(role, x[at], measured[at], tint) if i < _MOST_ROLES else []
    return ends


def _predicted(axes: Axes, result: DiagnosisResult, x: Floats, theory: Floats) -> None:
    """Draw the theory as the measurement is drawn: through all layers, or role by role."""
    joined, alone = layers.lines(result.records)
    whole = len(joined) == 1
    for at in [np.arange(len(x))] if whole else [line.places for line in joined]:
        axes.plot(x[at], theory[at], color=BLACK, linestyle=DASHED, label="theory", zorder=3)
    if not whole:
        axes.plot(x[alone], theory[alone], "_", color=BLACK, markersize=6, zorder=3)


def _limits(*lines: Floats) -> tuple[float, float]:
    """Limits around every line, and a format's smallest number where that is near."""
    together = np.concatenate(lines)
    together = together[np.isfinite(together)]
    if not together.size:
        return -1.0, 1.0
    low, high = float(together.min()), float(together.max())
    near = max(1.0, 0.15 * (high - low))
    for limit in SMALLEST_NORMAL.values():
        if low - near <= limit <= high + near:
            low, high = min(low, limit), max(high, limit)
    pad = max(0.06 * (high - low), 0.15)
    return low - pad, high + pad


def _formats(axes: Axes, measured: Floats) -> None:
    """Draw the smallest normal numbers faintly, named at the side where the line is far."""
    bottom, top = axes.get_ylim()
    known = np.isfinite(measured).any()
    for name, limit in SMALLEST_NORMAL.items():
        if known and bottom < limit < top:
            axes.axhline(limit, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
            page.beside_line(axes, limit, f"smallest normal {name}: below it δ is lost")


def _off_scale(axes: Axes, result: DiagnosisResult, x: Floats, measured: Floats) -> Iterator[str]:
    """Mark at the edges what no log axis can show, and say what it is."""
    known = np.array([row.delta_log10_rms is not None for row in result.records])
    if not known.any():
        page.note(axes, "δ was not measured in any layer")
        return
    kinds = (
        ("δ = 0", "v", 0.03, np.isneginf(measured)),
        ("δ is infinite", "^", 0.97, np.isposinf(measured)),
        ("δ is not a number", "x", 0.03, np.isnan(measured) & known),
    )
    signs = {"v": "▽", "^": "△", "x": "×"}
    for words, marker, height, chosen in kinds:
        if chosen.all():
            page.note(axes, f"{words} in every layer")
        if chosen.any():
            axes.plot(
                x[chosen],
                np.full(chosen.sum(), height),
                marker,
                color=VERMILLION,
                markerfacecolor="none",
                transform=axes.get_xaxis_transform(),
            )
            yield f"{signs[marker]} {words}"


def _activations(axes: Axes, result: DiagnosisResult, x: Floats) -> list[End]:
    """Draw the mean activation with one standard deviation to either side."""
    axes.set_ylabel("activation")
    mean = page.drawable(page.values(result.records, "activation_mean"))
    variance = page.drawable(page.values(result.records, "activation_variance"))
    if not np.isfinite(mean).any():
        page.note(axes, "no finite activations were measured")
        return []
    deviation = np.sqrt(np.maximum(variance, 0))
    look: Any = {"color": GREEN, "alpha": 0.22, "linewidth": 0}
    found = _known_lines(result, "activation_mean")
    for at in found:
        if len(found) == 1:  # bands over each other say nothing
            axes.fill_between(x[at], (mean - deviation)[at], (mean + deviation)[at], **look)
        marker = page.markers(len(at))
        axes.plot(x[at], mean[at], color=GREEN, marker=marker, markersize=3, label="mean")
    _wide_scale(axes, np.abs(mean) + np.nan_to_num(deviation))
    label = "mean ±\ndeviation" if len(found) == 1 else "means"
    return end_of(label, x, mean, GREEN)


def _known_lines(result: DiagnosisResult, name: str) -> list[Integers]:
    """Places of the layers that a line joins, role by role: those of which a value is known."""
    known = np.array([getattr(row, name) is not None for row in result.records])
    joined, alone = layers.lines(result.records)
    places = [*(line.places for line in joined), *([place] for place in alone)]
    return [at[known[at]] for at in map(np.asarray, places) if known[at].any()]


def _wide_scale(axes: Axes, size: Floats) -> None:
    """Use a log axis to both sides of 0 where activations grow by more than three decades."""
    size = size[np.isfinite(size) & (size > 0)]
    if not size.size or size.max() < 1e3 * size[0]:
        return
    small, large = np.floor(np.log10([size[0], size.max()]))
    middle = (small + large) // 2
    axes.set_yscale("symlog", linthresh=10.0**small)
    axes.yaxis.set_minor_locator(NullLocator())
    upper = [10.0**middle, 10.0**large]
    labels = log_axes.power_labels([middle, large])
    axes.set_yticks(
        [*(-tick for tick in reversed(upper)), 0.0, *upper],
        [*(f"−{label}" for label in reversed(labels)), "0", *labels],
    )


def _fractions(axes: Axes, result: DiagnosisResult, x: Floats) -> list[End]:
    """Draw which share of the units is dead, and of the entries saturated or zero."""
    axes.set_ylabel("share")
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_yticks((0, 0.5, 1))
    ends: list[End] = []
    for name, label, tint, look in (
        # One beneath the other is seen on both sides of it.
        ("zero_fraction", "zero", GREY, {"linewidth": 4.5, "alpha": 0.45}),
        ("saturated_fraction", "saturated", BLUE, {"linewidth": 2.4}),
        ("dead_fraction", "dead units", VERMILLION, {"linewidth": 0.9}),
    ):
        share = page.values(result.records, name)
        for at in _known_lines(result, name):
            marker = page.markers(len(at))
            style: Any = {"color": tint, "marker": marker, "markersize": 3, "label": label}
            axes.plot(x[at], share[at], **style | look)
        ends += end_of(label, x, share, tint)
    if not ends:
        page.note(axes, "not measured")
    return ends
