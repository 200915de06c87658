"""A result as a rich table that fits the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from gradflow.report import grid
from gradflow.report.escape import visible
from gradflow.report.excerpt import Gap, excerpt
from gradflow.report.folded import folded
from gradflow.report.formatting import bars, cell
from gradflow.results.base import Column, Finding, Result, Row
from gradflow.results.explain import Explanation
from gradflow.results.names import all_numbered, called, up_to_number

_SEVERITY = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "cyan")}


class ResultView:
    """Title, table, further tables and findings of a result, for any rich console.

    Parameters
    ----------
    shown
        The same result as it was printed before there was more of it: what is new is yielded.
    """

    def __init__(
        self, result: Result, *, every_row: bool = True, shown: Result | None = None
    ) -> None:
        self.result = result
        self.every_row = every_row
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in self._parts(console, options):
            yield from _wrapped(part, console, options.max_width)

    def _parts(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if isinstance(self.result, Explanation):
            from rich.markdown import Markdown  # slow to import, and of no other result

            yield Markdown(self.result.page, code_theme="ansi_dark")
            return
        sections = getattr(self.result, "models", ())
        if len(sections) > 1:
            for section in sections:
                yield from self._section(section, console, options.max_width)
            yield from _findings(getattr(self.result, "of_the_program", ()))
            if options.is_terminal:
                yield from _way_on(self.result.findings)
            return
        if self.shown is None:
            yield from self._measured(console, options)
        else:
            yield from _findings(f for f in self.result.findings if f not in self.shown.findings)
        for title, rows in further_tables(self.result):
            yield Text(f"\n{title}", style="bold")
            yield from table(type(rows[0]), rows, console, options.max_width)
        yield from _beneath(self.result)

    def _measured(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, the table and the findings."""
        yield Text(visible(self.result.title, keep="\n"), style="bold")
        records = shown_records(self.result)
        if records:
            yield from table(
                self.result.row_type, records, console, options.max_width, every_row=self.every_row
            )
        if note := getattr(self.result, "note", None):
            yield Text(f"  ({visible(note)})")
        yield from _findings(self.result.findings)
        if options.is_terminal:
            yield from _way_on(self.result.findings)

    def _section(self, model: Any, console: Console, width: int) -> RenderResult:
        """Yield a model of a program: its name, title, table and findings."""
        name = f"{model.name} ({model.optimizer})" if model.optimizer else model.name
        yield Text(visible(f"{name}: {model.title}"), style="bold")
        if model.rows:
            kind = type(model.rows[0])
            yield from table(kind, model.rows, console, width, every_row=self.every_row)
        yield from _findings(model.findings)
        yield Text()


def _wrapped(part: Any, console: Console, width: int) -> Iterator[Any]:
    """Yield words line by line: rich leaves a blank at the end of a line that it breaks."""
    if not isinstance(part, Text):
        yield part
        return
    for line in part.wrap(console, width):
        line.rstrip()
        yield line


def show(result: Result, *, every_row: bool = True, shown: Result | None = None) -> None:
    """Print `result` to standard output; without `every_row` a long table is cut.

    A finding's page is Markdown: set for a terminal, folded for a pipe or a file.

    Parameters
    ----------
    shown
        What of it was printed before.
    """
    console = stdout_console()
    if isinstance(result, Explanation) and not console.is_terminal:
        console.out(folded(result.page, console.width), end="")
        return
    console.print(ResultView(result, every_row=every_row, shown=shown))


def tell(line: str) -> None:
    """Print a sentence to standard output, and at once."""
    stdout_console().print(Text(visible(line)))
    sys.stdout.flush()


class _Stdout(Console):
    """A console that leaves it to its caller what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 (called while it is being handled)


def stdout_console() -> Console:
    """Return the console for results: 80 columns or the terminal's width, plain when piped."""
    return _Stdout(file=sys.stdout, highlight=False)


class _Stderr(Console):
    """A console for remarks, which nobody need read: they are no reason to fail."""

    def on_broken_pipe(self) -> None:
        pass

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # as of a full disk
            del self._buffer[:]


def stderr_console(**options: Any) -> Console:
    """Return the console for progress, remarks and errors."""
    return _Stderr(stderr=True, highlight=False, **options)


def say(message: str) -> None:
    """Print a remark to stderr."""
    stderr_console(soft_wrap=True).print(Text(visible(message), style="dim"))


def shown_records(result: Result) -> Sequence[Any]:
    """Return the rows that a person wants to see: a summary table where rows are many points."""
    for name in ("curves", "summary"):
        summary = getattr(result, name, None)
        if summary:
            return tuple(summary)
    return result.records


def further_tables(result: Result) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the tables that a person wants to see beneath the first, with their headings."""
    if rows := getattr(result, "remedies", ()):
        yield _remedies_heading(result), rows
    if rows := getattr(result, "distribution", ()):
        yield "The gradient's norms in unclipped training, all seeds together", rows
        if norms := getattr(result, "norms", ()):
            yield "How many of them lie where", norms
    if rows := getattr(result, "multipliers", ()):
        yield "What repairs it, with m = width / the smallest width", rows


def _remedies_heading(result: Result) -> str:
    steps, loss = getattr(result, "trial_steps", None), getattr(result, "untreated_loss", None)
    if steps is None or loss is None:
        return "Remedies, each tried alone, the best first"
    fewer = any((row.steps or steps) < steps for row in getattr(result, "remedies", ()))
    many = f"up to {steps}" if fewer else str(steps)
    without = f"(without any: {loss:.3g})"
    return f"Remedies, each trained alone for {many} steps, the best first {without}"


#: Parameters up to which the lines that change them are printed.
_LINES = 24


def _beneath(result: Result) -> Iterator[RenderableType]:
    """Yield what stands beneath the remedies: the best one's lines, and what was left out."""
    rows = getattr(result, "remedies", ())
    if rows and rows[0].torch and not rows[0].options:
        yield Text(f"\n{rows[0].remedy}, in torch:", style="bold")
        yield Text(rows[0].torch)
    if rows := getattr(result, "multipliers", ()):
        shown = len(rows) <= _LINES
        yield Text("\nThe same in torch" + (":" if shown else ": --apply FILE.py"), style="bold")
        yield Text(getattr(result, "torch", "").rstrip() if shown else "")
    if note := getattr(result, "trial_note", None):
        yield Text(f"  ({note})")


def table(
    row_type: type[Row],
    records: Sequence[Any],
    console: Console,
    width: int,
    *,
    every_row: bool = True,
) -> Iterator[Segment]:
    """Yield the lines of a table of `records` that is at most `width` wide."""
    row_type = type(records[0]) if records else row_type
    places = range(len(records)) if every_row else excerpt(records)
    shown = [place for place in places if not isinstance(place, Gap)]
    columns = used_columns(row_type, records)
    cells = [
        part for name, shape in columns.items() for part in _cells(name, shape, records, shown)
    ]
    yield from grid.lines(*grid.fitted(cells, width), places, console)


def used_columns(row_type: type[Row], records: Sequence[Any]) -> dict[str, Column]:
    """Columns for the console that hold anything at all."""
    columns = row_type.columns()
    if {"index", "name"} <= columns.keys() and all_numbered(records):
        del columns["index"]  # hidden3 is the third
    return {
        name: column
        for name, column in columns.items()
        if column.priority is not None
        and any(getattr(record, name) not in (None, (), {}) for record in records)
        and not (column.logarithm and any(_overflows(getattr(r, name)) for r in records))
        and not (column.varied and len({getattr(r, name) for r in records}) == 1)
    }


def _overflows(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _cells(
    name: str, shape: Column, records: Sequence[Any], shown: Sequence[int]
) -> Iterator[grid.Cells]:
    """Yield a column's cells, and the bars beside them where it has bars."""
    values = [getattr(record, name) for record in records]
    if name == "name":
        values = list(map(called, records))
    numeric = all(isinstance(v, int | float) or v is None for v in values)
    kind = "number" if numeric else "name" if shape.format == "name" else "words"
    if kind == "name" and all_numbered(records):
        values = [up_to_number(name) or name for name in values]
    texts = [cell(values[place], shape) for place in shown]
    yield grid.Cells(shape.label, texts, kind, shape.priority or 0)
    if shape.format == "bar":
        drawn = bars(values)
        yield grid.Cells("", [drawn[place] for place in shown], "bar", shape.priority or 0)


def _findings(findings: Iterable[Finding]) -> Iterator[RenderableType]:
    for finding in findings:
        mark, style = _SEVERITY[finding.severity]
        said = visible(finding.message, keep="\n")
        yield Text.assemble((f"{mark} {finding.code}: ", style), said)
        if finding.advice:
            yield Text(visible(f"  → {finding.advice}", keep="\n"))


def _way_on(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """Name the command that says more of the worst finding."""
    rank = list(_SEVERITY)
    if findings:
        worst = min(findings, key=lambda finding: rank.index(finding.severity))
        yield Text(f"gradflow explain {worst.code} says more", style="dim")
