"""Figure of ``clip``: what each policy leaves of a gradient, and of training."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.configs.policies import POLICIES
from gradflow.report.figures import clip_suggest, log_axes, page
from gradflow.report.figures.line_labels import End, ended, label_ends
from gradflow.report.style import BLACK, BLUE, DASHED, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from gradflow.results.clipping import ClipResult, PolicyRow, StepRow

#: Colours of the policies in the order of the registry; nothing clipped stands back.
_TINTS = (GREY, VERMILLION, BLUE, SKY, GREEN, ORANGE, PURPLE, BLACK)
_OTHERS = (ORANGE, PURPLE, SKY, GREEN)
#: A course that diverges is drawn up to this many times what the others reach.
_BEYOND = 100
#: With more layers than this, shares are drawn as steps instead of bars side by side.
_MOST_BARS = 12


def figure(result: ClipResult) -> Figure:
    """Return shares of the gradient per layer; below, norm and loss over the steps.

    For sequences also how the gradient changes over their steps; for ``--suggest`` another figure.
    """
    if result.distribution:
        return clip_suggest.figure(result)
    tints = policy_tints([row.policy for row in result.records])
    rows: list[Any] = [["shares", "shares"]]
    rows += [["norm", "loss"]] if result.history else []
    rows += [["flow", "flow"]] if len(result.flow) > 1 else []
    extra = 0.17 * max(0, len(result.records) - 3)  # lines of the legend
    fig = page.blank(result.title, {1: 3.2, 2: 5.6, 3: 7.4}[len(rows)] + extra)
    panels = fig.subplot_mosaic(rows)
    _shares(panels["shares"], result, tints)
    if "flow" in panels:
        _flow(panels["flow"], result)
    if "norm" in panels:
        _norms(panels["norm"], result, tints)
        label_ends(fig, [(panels["loss"], _losses(panels["loss"], result, tints))])
    return fig


def policy_tints(policies: Sequence[str]) -> dict[str, str]:
    """Return a colour per policy: a name has its own in every figure, or the first NAME:LIMIT."""
    free = dict(zip(POLICIES, itertools.cycle(_TINTS), strict=False))
    bare_first = sorted(policies, key=lambda policy: ":" in policy)
    own = {policy: free.pop(policy.partition(":")[0], "") for policy in bare_first}
    others = itertools.cycle([c for c in _OTHERS if c not in own.values()] or [BLACK])
    return {policy: tint or next(others) for policy, tint in own.items()}


def _shares(axes: Axes, result: ClipResult, tints: dict[str, str]) -> None:
    """Draw each layer's share of the squared norm, policies side by side."""
    groups = page.by(result.layers, "policy")
    names = {row.index: row.name for row in result.layers}
    axes.set_ylabel("share of ‖g‖²")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    if not names:
        page.note(axes, "no layers")
        return
    for place, row in enumerate(result.records):
        layers = groups.get(row.policy, [])
        x, share = page.values(layers, "index"), page.drawable(page.values(layers, "share"))
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
        return f"raw gradient, ‖g‖ = {page.number(row.norm_before)}"
    before, after = page.number(row.norm_before), page.number(row.norm_after)
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
        page.whole_numbers(axes.xaxis)
    axes.set_xlabel("layer")


def _norms(axes: Axes, result: ClipResult, tints: dict[str, str]) -> None:
    """Draw the norm that each policy meets, and the threshold."""
    _courses(axes, result, "norm_before", tints)
    axes.axhline(result.threshold, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    axes.set_ylabel("‖g‖ before clipping")
    log_axes.log_scale(axes)
    page.beside_line(axes, result.threshold, "threshold", or_above=True)


def _losses(axes: Axes, result: ClipResult, tints: dict[str, str]) -> list[End]:
    ends = _courses(axes, result, "loss", tints)
    if result.chance and any(row.step > 1 for row in result.history):
        axes.axhline(result.chance, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    axes.set_ylabel("loss")
    log_axes.log_scale(axes)
    if not any(np.isfinite(row.loss) for row in result.history):
        page.note(axes, "× no loss is finite")
    elif result.chance and any(row.step > 1 for row in result.history):
        page.beside_line(axes, result.chance, "input ignored", or_above=True)
    return ends


def _flow(axes: Axes, result: ClipResult) -> None:
    """Draw the raw gradient over the steps of a sequence."""
    x = page.values(result.flow, "step")
    y = page.drawable(page.values(result.flow, "gradient_log10"))
    axes.plot(x, y, color=GREY, marker=page.markers(len(x)), markersize=3)
    axes.set_xlabel("step of the sequence")
    axes.set_ylabel("raw ‖∂C/∂x‖")
    if not np.isfinite(y).any():
        page.note(axes, "no gradient arrives at any step")
        return
    page.whole_numbers(axes.xaxis)
    low, high = axes.get_ylim()
    log_axes.decades(axes.yaxis, low, high)


def _courses(axes: Axes, result: ClipResult, name: str, tints: dict[str, str]) -> list[End]:
    """Draw every policy over the steps, the median with the range over seeds.

    A value that is not finite ends its line with a cross.
    """
    ends: list[End] = []
    axes.set_xlabel("training step" if result.flow else "step")
    page.whole_numbers(axes.xaxis)
    band, highest = name.partition("_")[0], _highest(result, name)
    for policies, rows in _courses_of(result, name):
        x, y = page.values(rows, "step"), page.drawable(page.values(rows, name))
        y = np.minimum(y, highest)  # out of the page at its top
        tint = tints[policies[0]]
        low, high = (page.drawable(page.values(rows, f"{band}_{end}")) for end in ("low", "high"))
        low = np.where(low > highest, np.nan, low)
        axes.fill_between(x, low, np.minimum(high, highest), color=tint, alpha=0.15, linewidth=0)
        look: Any = {"marker": "o" if len(x) == 1 else "", "label": policies[0]}
        axes.plot(x, y, color=tint, **look)
        for number, policy in enumerate(policies[1:], start=1):  # equal: dashes over it
            dash: Any = (2 * number, (2, 2 * len(policies) - 2))
            look["label"] = policy
            axes.plot(x, y, color=tints[policy], linestyle=dash, **look)
        last = (rows[-1].loss, rows[-1].norm_before)
        lost = not np.isfinite(last).all() or getattr(rows[-1], name) > highest
        ends += ended(axes, " = ".join(policies), x, y, tint, lost=lost)
    return ends


def _courses_of(result: ClipResult, name: str) -> list[tuple[list[str], Sequence[StepRow]]]:
    """Return the rows of every course, with the policies that go it: equal lines are one."""
    found: dict[Any, tuple[list[str], Sequence[StepRow]]] = {}
    for policy, rows in page.by(result.history, "policy").items():
        course = page.values(rows, name).tobytes()
        found.setdefault(course, ([], rows))[0].append(policy)
    return list(found.values())


def _highest(result: ClipResult, name: str) -> float:
    """Return what is worth drawing: beyond it there is only what diverges."""
    steady = {row.policy for row in result.records if row.outcome and not row.diverged}
    seen = page.drawable(page.values((row for row in result.history if row.policy in steady), name))
    finite = seen[np.isfinite(seen)]
    return _BEYOND * float(finite.max()) if finite.size else math.inf
