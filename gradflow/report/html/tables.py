"""A result's rows as a table that a browser can sort: what each cell shows, and what it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradflow.report.excerpt import MOST, Gap, excerpt
from gradflow.report.formatting import cell
from gradflow.results.base import Column
from gradflow.results.nonfinite import encoded

#: Tables of more columns keep the least important ones back until they are asked for.
_FEW_COLUMNS = 10
#: The priority from which a column is one of those.
_LESS_IMPORTANT = 6


@dataclass(frozen=True)
class Heading:
    """A column's name, and that of its field."""

    label: str
    field: str
    number: bool
    more: bool


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and by what it is sorted."""

    text: str
    key: str
    number: bool
    more: bool


@dataclass(frozen=True)
class Line:
    """A row, or what stands for those that are left out."""

    cells: tuple[Cell, ...] = ()
    fault: bool = False
    gap: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under their headings."""

    title: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]

    @property
    def more(self) -> bool:
        """Whether there are columns that are shown when they are asked for."""
        return any(heading.more for heading in self.headings)


def table(
    title: str,
    records: Sequence[Any],
    faults: Collection[int] = (),
    without: Collection[str] = (),
) -> Table:
    """Return the table of `records`; rows of the layers in `faults` stand out."""
    found = _columns(records).items()
    columns = {n: c for n, c in found if n not in without and _used(n, c, records)}
    many = len(columns) > _FEW_COLUMNS
    headings = tuple(
        Heading(c.label, name, _numeric(name, records), many and _less_important(c))
        for name, c in columns.items()
    )
    return Table(title, headings, tuple(_lines(records, columns, headings, faults)))


def _columns(records: Sequence[Any]) -> dict[str, Column]:
    found: dict[str, Column] = type(records[0]).columns() if records else {}
    return found


def _used(name: str, column: Column, records: Sequence[Any]) -> bool:
    values = [getattr(record, name) for record in records]
    same = column.varied and all(value == values[0] for value in values)
    return not same and any(value not in (None, (), {}, "") for value in values)


def _numeric(name: str, records: Sequence[Any]) -> bool:
    values = (getattr(record, name) for record in records)
    return all(isinstance(v, int | float) or v is None for v in values)


def _less_important(column: Column) -> bool:
    return column.priority is None or column.priority >= _LESS_IMPORTANT


def _lines(
    records: Sequence[Any],
    columns: dict[str, Column],
    headings: Sequence[Heading],
    faults: Collection[int],
) -> Iterator[Line]:
    places = range(len(records)) if len(records) <= MOST else excerpt(records)
    for place in places:
        if isinstance(place, Gap):
            yield Line(gap=place.text)
            continue
        record = records[place]
        cells = (
            Cell(
                cell(value := getattr(record, h.field), columns[h.field]),
                _key(value),
                h.number,
                h.more,
            )
            for h in headings
        )
        yield Line(tuple(cells), getattr(record, "index", None) in faults)


def _key(value: Any) -> str:
    """By what a cell is sorted; empty for what stands last in either order."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return "" if math.isnan(value) else str(encoded(value))
    return "" if value is None else cell(value, Column(""))
