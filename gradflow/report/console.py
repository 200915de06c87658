"""A result as a rich table that fits the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gradflow.report.formatting import bars, cell
from gradflow.results.base import Column, Finding, Result, Row

#: Widths that columns of words are wrapped to before a column is given up.
_WRAPS = (None, 32, 22)
_SEVERITY = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "cyan")}


class ResultView:
    """Title, table, further tables and findings of a result, for any rich console."""

    def __init__(self, result: Result) -> None:
        self.result = result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.result.title, style="bold")
        records = shown_records(self.result)
        if records:
            yield fitted(self.result.row_type, records, console, options)
        yield from _findings(self.result.findings)
        for title, rows in further_tables(self.result):
            yield Text(f"\n{title}", style="bold")
            yield fitted(type(rows[0]), rows, console, options)


def show(result: Result) -> None:
    """Print `result` to standard output."""
    stdout_console().print(ResultView(result))


def stdout_console() -> Console:
    """Return the console for results: 80 columns or the terminal's width, plain when piped."""
    return Console(file=sys.stdout, highlight=False)


def say(message: str) -> None:
    """Print a remark to stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(message, style="dim"))


def shown_records(result: Result) -> Sequence[Any]:
    """Return the rows that a person wants to see: a summary table where rows are many points."""
    for name in ("curves",):
        summary = getattr(result, name, None)
        if summary:
            return tuple(summary)
    return result.records


def further_tables(result: Result) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the tables that a person wants to see beneath the first, with their headings."""
    if rows := getattr(result, "remedies", ()):
        yield "Remedies, each tried alone, the best first", rows
    if rows := getattr(result, "distribution", ()):
        yield "The gradient's norms in unclipped training, all seeds together", rows
        yield "How many of them lie where", getattr(result, "norms", ())


def fitted(
    row_type: type[Row], records: Sequence[Any], console: Console, options: ConsoleOptions
) -> Table:
    """Return the table of `records` as it fits: words wrapped, then columns left out."""
    columns = _used_columns(type(records[0]) if records else row_type, records)
    while True:
        for wrap in _WRAPS:
            table = _table(columns, records, wrap)
            width = Measurement.get(console, options.update(max_width=10_000), table).maximum
            if width <= options.max_width:
                return table
        worst = max(column.priority or 0 for column in columns.values())
        if worst == 0:
            return table
        last = [name for name, column in columns.items() if column.priority == worst][-1]
        del columns[last]


def _used_columns(row_type: type[Row], records: Iterable[Any]) -> dict[str, Column]:
    """Columns for the console that hold anything at all."""
    return {
        name: column
        for name, column in row_type.columns().items()
        if column.priority is not None
        and any(getattr(record, name) not in (None, (), {}) for record in records)
        and not (column.logarithm and any(_overflows(getattr(r, name)) for r in records))
        and not (column.varied and len({getattr(r, name) for r in records}) == 1)
    }


def _overflows(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _table(columns: dict[str, Column], records: Sequence[Any], wrap: int | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    drawn: dict[str, list[str]] = {}
    for name, column in columns.items():
        values = [getattr(record, name) for record in records]
        numeric = all(isinstance(v, int | float) or v is None for v in values)
        justify: Any = "right" if numeric else "left"
        table.add_column(
            column.label,
            justify=justify,
            no_wrap=numeric,
            overflow="fold",
            max_width=None if numeric else wrap,
        )
        drawn[name] = [cell(value, column) for value in values]
        if column.format == "bar":
            table.add_column("", no_wrap=True)
            drawn[f"{name} bar"] = bars(values)
    for cells in zip(*drawn.values(), strict=True):
        table.add_row(*(Text(text) for text in cells))
    return table


def _findings(findings: Iterable[Finding]) -> Iterator[RenderableType]:
    for finding in findings:
        mark, style = _SEVERITY[finding.severity]
        yield Text.assemble((f"{mark} {finding.code}: ", style), finding.message)
        if finding.advice:
            yield Text(f"  → {finding.advice}")
