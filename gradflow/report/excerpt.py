"""Which rows of a long table a person sees first: its ends, the worst, and a line a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

from gradflow.findings.thresholds import DEAD, SATURATED
from gradflow.report.formatting import cell
from gradflow.results.base import Row
from gradflow.results.names import up_to_number

#: Of a table that is cut so many rows stay at either end, and of each kind of worst.
_ENDS, _WORST = 5, 4
#: Of other tables, so many rows.
MOST = 1000
#: Lines that stand for what is left out, at most.
_MOST_LINES = 20


@dataclass(frozen=True)
class Gap:
    """Rows that are left out, from one index up to another, and what a line says of them."""

    start: int
    stop: int
    text: str


def excerpt(records: Sequence[Any]) -> list[int | Gap]:
    """Return which rows to show, by place, and what stands for the others."""
    places = range(len(records))
    key = records[0].summarized if records else None
    if key is None:
        return _capped(places)
    if len(records) <= records[0].many:
        return list(places)
    shown = {*places[:_ENDS], *places[-_ENDS:], *_worst(records, key)}
    blocks = _blocks(records, shown)
    while sum(block[0] not in shown for block in blocks) > _MOST_LINES:
        blocks = _paired(blocks, shown)
    return [
        block[0] if len(block) == 1 else Gap(block[0], block[-1] + 1, _line(records, block, key))
        for block in blocks
    ]


def _capped(places: range) -> list[int | Gap]:
    """Points, not layers: all of them up to a number that nobody reads."""
    left_out = len(places) - MOST
    if left_out <= 0:
        return list(places)
    half = MOST // 2
    text = f"… {left_out:,} more: --all prints them, -o FILE.csv keeps them"
    return [*places[:half], Gap(half, half + left_out, text), *places[-half:]]


def _worst(records: Sequence[Any], key: str) -> Iterator[int]:
    """Places of rows that are not finite, far from the others, dead, saturated, badly stepped."""
    broken = [i for i, row in enumerate(records) if not _finite(row, key)]
    yield from {*broken[:_WORST], *broken[-_WORST:]}
    yield from _largest(_far(records, key, float))
    yield from _largest(_far(records, "update_ratio", _log10))
    for name, threshold in (("dead_fraction", DEAD), ("saturated_fraction", SATURATED)):
        shares = {i: getattr(row, name, None) or 0.0 for i, row in enumerate(records)}
        yield from _largest({i: share for i, share in shares.items() if share >= threshold})


def _finite(row: Any, key: str) -> bool:
    lost = any(getattr(row, name, 0) for name in ("forward_nonfinite", "backward_nonfinite"))
    value = getattr(row, key)
    return not lost and (value is None or math.isfinite(value))


def _far(records: Sequence[Any], name: str, scale: Callable[[float], float]) -> dict[int, float]:
    """Distance of each row's value from the middle one, in powers of ten."""
    raw = {i: getattr(row, name, None) for i, row in enumerate(records)}
    known = {i: scale(v) for i, v in raw.items() if v is not None and math.isfinite(v)}
    known = {i: v for i, v in known.items() if math.isfinite(v)}
    middle = median(known.values()) if known else 0.0
    return {i: abs(value - middle) for i, value in known.items()}


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def _largest(values: dict[int, float]) -> list[int]:
    return sorted(values, key=values.__getitem__, reverse=True)[:_WORST]


def _blocks(records: Sequence[Row], shown: set[int]) -> list[list[int]]:
    """Places in runs that are of one block and left out; each that is shown is one of its own."""

    def key(place: int) -> tuple[int, str]:
        share = _MOST_LINES // 2 * place // len(records)  # where names tell of no blocks
        return (place, "") if place in shown else (-1, _block(records[place]) or f"{share}")

    return [list(run) for _, run in groupby(range(len(records)), key)]


def _paired(blocks: list[list[int]], shown: set[int]) -> list[list[int]]:
    """The same with every two neighbours that are left out in one, where there are two."""
    paired: list[list[int]] = []
    alone = False
    for block in blocks:
        left_out = block[0] not in shown
        if alone and left_out:
            paired[-1] = paired[-1] + block
        else:
            paired.append(block)
        alone = left_out and not alone
    return paired


def _block(row: Any) -> str:
    """The part of the network that a layer is of; empty where names do not tell."""
    return up_to_number(getattr(row, "name", ""))


def _line(records: Sequence[Any], block: Sequence[int], key: str) -> str:
    """What is said of rows that are left out: how many, of which blocks, between what."""
    column = type(records[0]).columns()[key]
    values = [v for i in block if (v := getattr(records[i], key)) is not None]
    first, last = _block(records[block[0]]), _block(records[block[-1]])
    where = first if first == last else f"{first} to {last}" if first and last else ""
    said = f"… {len(block)} layers like this"
    if values:
        low, high = cell(min(values), column), cell(max(values), column)
        said += f": {column.label} " + (low if low == high else f"{low} to {high}")
    return f"{said} ({where})" if where else said
