"""What the figures share: a page with its title, words, and numbers to draw."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from gradflow.arrays import Floats
from gradflow.report.style import GREY, WIDTH, style

#: Beyond this matplotlib's own arithmetic (margins, ticks) overflows.
_LARGEST = 1e300
_NOTEBOOK_DPI = 120
_TITLE_CHARACTERS = 84
_CAPTION_CHARACTERS = 100
#: Of the 80 points that a line has in each end: so many in the way of words are not one crossing.
_CROWDED = 8
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Shown(Figure):
    """A figure that a notebook shows as it is."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        with style():
            self.savefig(file, format="png", dpi=_NOTEBOOK_DPI)
        return file.getvalue()


def blank(title: str, height: float) -> Figure:
    """Return an empty figure of the house's width under `title`; `height` is in inches."""
    figure = Shown(figsize=(WIDTH, height), layout="constrained")
    heading = figure.suptitle("", x=0.012, horizontalalignment="left", parse_math=False)
    for width in range(_TITLE_CHARACTERS, 10, -4):  # letters differ in width: measure
        heading.set_text(balanced(minus_signs(title), width))
        if heading.get_window_extent().width <= 0.976 * figure.bbox.width:
            break
    return figure


def balanced(text: str, width: int) -> str:
    """Return `text` in as few lines as `width` characters allow, of about the same length."""
    lines = _wrapped(text, width)
    while width > 1 and len(_wrapped(text, width - 1)) == len(lines):
        width -= 1
    return "\n".join(_wrapped(text, width))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)  # leaky-relu stays whole


def minus_signs(text: str) -> str:
    """Return `text` with a true minus before numbers; hyphens in names stay."""
    return re.sub(r"(?<![A-Za-z0-9)])-(?=[\d.∞])|(?<=\de)-(?=\d)|(?<= )-(?= )", "−", text)


def number(value: float) -> str:
    """Return `value` to three digits, in print's notation: 1.3×10⁵."""
    head, _, exponent = f"{value:.3g}".partition("e")
    if not exponent:
        return minus_signs(head)
    return f"{minus_signs(head)}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def caption(axes: Axes, *phrases: str | None, width: int = _CAPTION_CHARACTERS) -> None:
    """Say above `axes` what is drawn in it; `None` is left out."""
    said = "; ".join(phrase for phrase in phrases if phrase)
    axes.set_title(textwrap.fill(minus_signs(said), width), loc="left", parse_math=False)


def note(axes: Axes, text: str) -> None:
    """Say in the middle of `axes` why there is nothing in it."""
    axes.text(
        0.5,
        0.5,
        textwrap.fill(text, 50),
        transform=axes.transAxes,
        color=GREY,
        ha="center",
        va="center",
    )
    axes.set_yticks([])


def whole_numbers(axis: Axis) -> None:
    """Label an axis of layers, steps or epochs: no 2.5th layer."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def beside_line(axes: Axes, y: float, text: str, *, or_above: bool = False) -> None:
    """Name a horizontal reference line, above it, at the end where other lines are further off.

    Call it when the lines are drawn and the axes have their limits.

    Parameters
    ----------
    or_above
        Name a dashed line in the caption instead, where other lines are near at both ends.
    """
    left, right = (_crossings(axes, y, side) for side in (0, 1))
    if or_above and min(left, right) > _CROWDED:
        caption(axes, axes.get_title(loc="left"), f"dashed: {text}")
        return
    end = int(right < left)
    axes.annotate(
        text,
        (end, y),
        (-4 if end else 4, 2.5),
        axes.get_yaxis_transform(),
        "offset points",
        size=8,
        color=GREY,
        ha="right" if end else "left",
        va="bottom",
        zorder=4,
        path_effects=[withStroke(linewidth=2, foreground="white")],  # over lines and bands
    )


def _crossings(axes: Axes, y: float, side: int) -> int:
    """Return how much of the lines lies where words above a height would, at the left or right."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    height = to_fraction.transform((axes.get_xlim()[0], y))[1]
    seen = 0
    for line in axes.get_lines():
        x, at = (np.asarray(data, dtype=np.float64) for data in line.get_data())
        if (
            x.shape == at.shape
            and len(x) > 2
            and line.get_transform().contains_branch(axes.transData)
        ):
            dense = np.linspace(0, len(x) - 1, 200)
            course = np.column_stack([np.interp(dense, np.arange(len(x)), v) for v in (x, at)])
            along, up = to_fraction.transform(course[np.isfinite(course).all(axis=1)]).T
            near = np.abs(along - side) < 0.4
            seen += int((near & (up > height - 0.01) & (up < height + 0.12)).sum())
    return seen


def values(records: Iterable[Any], name: str) -> Floats:
    """Return a field of every row; NaN for None."""
    raw = (getattr(record, name) for record in records)
    return np.array([math.nan if v is None else v for v in raw], dtype=np.float64)


def drawable(numbers: Floats) -> Floats:
    """Return `numbers` with NaN, at which a line is broken, for what cannot be drawn."""
    return np.where(np.abs(numbers) <= _LARGEST, numbers, np.nan)


def markers(count: int) -> str:
    """Return the marker for a line of `count` points: none where there are many."""
    return "o" if count <= 40 else ""


def widths(courses: Sequence[Floats]) -> list[float]:
    """Return the widths of lines drawn one over the other, so that each is seen beneath the next.

    A line is wider than those after it that go its way in a fifth of the points or more.
    """
    drawn = [np.asarray(course, dtype=np.float64) for course in courses]
    known = np.concatenate([course[np.isfinite(course)] for course in drawn] or [np.zeros(0)])
    near = 1e-3 * float(np.ptp(known)) if known.size else 0.0
    return [
        1.6 + 1.1 * sum(_same_way(course, other, near) for other in drawn[place + 1 :])
        for place, course in enumerate(drawn)
    ]


def _same_way(one: Floats, other: Floats, near: float) -> bool:
    if one.shape != other.shape or not one.size:
        return False
    with np.errstate(invalid="ignore"):
        return bool((np.abs(one - other) <= near).mean() >= 0.2)


def by(records: Iterable[Any], name: str) -> dict[str, list[Any]]:
    """Return the rows grouped by a field, in the order of first appearance."""
    return by_key(records, lambda record: getattr(record, name))


def by_key(records: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Return the rows grouped by what `key` gives for them, in the order of first appearance."""
    groups: dict[Any, list[Any]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last of every run of consecutive indices."""
    groups = groupby(enumerate(sorted(set(indices))), key=lambda pair: pair[1] - pair[0])
    found = [[index for _, index in group] for _, group in groups]
    return [(run[0], run[-1]) for run in found]
