"""How one value reads in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradflow.report.escape import visible
from gradflow.results.base import Column

BAR_WIDTH = 10
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def cell(value: Any, column: Column) -> str:
    """Return `value` as the text of a table cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k}={_number(v, '.4g')}" for k, v in value.items()) or "–"
    if isinstance(value, tuple | list):
        return ", ".join(_item(v) for v in value) or "–"
    if isinstance(value, int | float):
        return _number(value, ".2f" if column.format == "bar" else column.format)
    return visible(str(value))


def _item(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " to ".join(_number(v, ".3g") for v in value)
    return _number(value, ".4g") if isinstance(value, int | float) else visible(str(value))


def _number(value: float, format: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:{format}}"


def bars(values: Sequence[float | None], width: int = BAR_WIDTH) -> list[str]:
    """Return a bar per value, from the smallest (an eighth of a cell) to the largest (full).

    Values below a spread of one decade are drawn on a scale of one decade, so that a flat
    column looks flat. A value of −∞ (a gradient of exactly 0) and a NaN have no bar.
    """
    finite = [v for v in values if v is not None and math.isfinite(v)]
    if not finite:
        return ["" for _ in values]
    high = max(finite)
    spread = max(high - min(finite), 1.0)
    return [
        _bar(1 - (high - v) / spread, width) if v is not None and math.isfinite(v) else ""
        for v in values
    ]


def _bar(share: float, width: int) -> str:
    eighths = max(1, round(share * width * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
