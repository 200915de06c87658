"""Figure of ``clip``: what each policy leaves of a gradient, and of training."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.report.figures import parts, scales
from gradflow.report.figures.ends import End, ended, label_ends
from gradflow.report.style import BLUE, DASHED, GREEN, GREY, PURPLE, SKY, VERMILLION
from gradflow.results.clipping import ClipResult, PolicyRow

_COLOURS = {"none": GREY, "value": VERMILLION, "norm": BLUE}
_OTHERS = (GREEN, PURPLE, SKY)
#: With more layers than this, shares are drawn as steps instead of bars side by side.
_MOST_BARS = 12


def figure(result: ClipResult) -> Figure:
    """Return shares of the gradient per layer; below, norm and loss over the steps."""
    page = parts.page(result.title, 5.6 if result.history else 3.2)
    tints = _tints(result)
    if not result.history:
        _shares(page.subplots(), result, tints)
        return page
    panels = page.subplot_mosaic([["shares", "shares"], ["norm", "loss"]])
    _shares(panels["shares"], result, tints)
    _norms(panels["norm"], result, tints)
    label_ends(page, [(panels["loss"], _losses(panels["loss"], result, tints))])
    return page


def _tints(result: ClipResult) -> dict[str, str]:
    policies = [row.policy for row in result.records]
    others = iter(_OTHERS * len(policies))
    return {policy: _COLOURS.get(policy) or next(others) for policy in policies}


def _shares(axes: Axes, result: ClipResult, tints: dict[str, str]) -> None:
    """Draw each layer's share of the squared norm, policies side by side."""
    groups = parts.by(result.layers, "policy")
    names = {row.index: row.name for row in result.layers}
    axes.set_ylabel("share of ‖g‖²")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    if not names:
        parts.note(axes, "no layers")
        return
    for place, row in enumerate(result.records):
        layers = groups.get(row.policy, [])
        x, share = parts.values(layers, "index"), parts.drawable(parts.values(layers, "share"))
        look: dict[str, Any] = {"color": tints[row.policy], "label": _kept(row)}
        if len(names) > _MOST_BARS:
            look["linewidth"] = 4 if row.policy == "none" else 1.4  # seen beneath an equal one
            axes.step(x, share, where="mid", **look)
        else:
            width = 0.8 / len(result.records)
            shift = width * (place - (len(result.records) - 1) / 2)
            axes.bar(x + shift, np.nan_to_num(share), width * 0.92, **look)
    axes.set_xlim(min(names) - 0.6, max(names) + 0.6)
    axes.set_ylim(0, None)
    _layer_names(axes, names)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _kept(row: PolicyRow) -> str:
    """Say what a policy makes of the gradient: length and direction."""
    if row.policy == "none":
        return f"raw gradient, ‖g‖ = {parts.number(row.norm_before)}"
    before, after = parts.number(row.norm_before), parts.number(row.norm_after)
    length = f"clipped by {row.policy}: ‖g‖ {before} → {after}"
    if row.cosine is None:
        return f"{length}, no direction"
    if row.cosine > 1 - 1e-6:
        return f"{length}, direction kept"
    degrees = math.degrees(math.acos(max(-1.0, min(1.0, row.cosine))))
    return f"{length}, turned by {degrees:.0f}° (cosine {row.cosine:.3f})"


def _layer_names(axes: Axes, names: dict[int, str]) -> None:
    if len(names) <= _MOST_BARS:
        short = [re.sub(r"^hidden(\d+).*", r"\1", name) for name in names.values()]
        axes.set_xticks(list(names), short)
    else:
        parts.whole_numbers(axes.xaxis)
    axes.set_xlabel("layer")


def _norms(axes: Axes, result: ClipResult, tints: dict[str, str]) -> None:
    """Draw the norm that each policy meets, and the threshold."""
    _courses(axes, result, "norm_before", tints)
    axes.axhline(result.threshold, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    axes.set_ylabel("‖g‖ before clipping")
    scales.log_scale(axes)
    parts.beside_line(axes, result.threshold, "threshold", right=True)


def _losses(axes: Axes, result: ClipResult, tints: dict[str, str]) -> list[End]:
    ends = _courses(axes, result, "loss", tints)
    axes.set_ylabel("loss")
    scales.log_scale(axes)
    return ends


def _courses(axes: Axes, result: ClipResult, name: str, tints: dict[str, str]) -> list[End]:
    """Draw every policy over the steps; a value that is not finite ends its line with a cross."""
    ends: list[End] = []
    axes.set_xlabel("step")
    parts.whole_numbers(axes.xaxis)
    for policy, rows in parts.by(result.history, "policy").items():
        x, y = parts.values(rows, "step"), parts.drawable(parts.values(rows, name))
        tint = tints[policy]
        axes.plot(x, y, color=tint, marker="o" if len(x) == 1 else "", label=policy)
        last = (rows[-1].loss, rows[-1].norm_before)
        ends += ended(axes, policy, x, y, tint, lost=not np.isfinite(last).all())
    return ends
