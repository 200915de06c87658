"""A result's rows as CSV and as Markdown."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from gradflow.report import escape
from gradflow.report.console import used_columns
from gradflow.report.formatting import cell
from gradflow.results.base import Column, Finding, Result, plain
from gradflow.results.explain import Explanation

#: Of a Markdown table: what a page shows side by side. Every column is in .csv and .json.
_MOST_COLUMNS = 12


def write_csv(result: Result, path: Path) -> None:
    """Write the rows at full precision; the header is the JSON field names."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(result.row_type.columns()))
        writer.writeheader()
        writer.writerows({k: _flat(v) for k, v in row.items()} for row in result.rows())


def write_markdown(result: Result, path: Path) -> None:
    """Write title, table and findings as Markdown; a finding's page as it is."""
    text = result.page if isinstance(result, Explanation) else markdown(result)
    path.write_text(text, encoding="utf-8")


def markdown(result: Result) -> str:
    """Return title, table and findings as Markdown: what a page has room for of the table."""
    columns = _page_columns(result)
    lines = [f"**{escape.markdown(result.title)}**", ""]
    lines.append("| " + " | ".join(escape.markdown(c.label) for c in columns.values()) + " |")
    lines.append("|" + " --- |" * len(columns))
    for record in result.records:
        cells = (escape.markdown(cell(getattr(record, name), c)) for name, c in columns.items())
        lines.append("| " + " | ".join(cells) + " |")
    if note := getattr(result, "note", None):
        lines += ["", escape.markdown(note)]
    if result.findings:
        lines += ["", *map(_finding, result.findings)]
    return "\n".join(lines) + "\n"


def _page_columns(result: Result) -> dict[str, Column]:
    """Return the columns that hold anything, the least important left out where they are many."""
    columns = used_columns(result.row_type, result.records)
    while len(columns) > _MOST_COLUMNS:
        least = max(reversed(columns), key=lambda name: columns[name].priority or 0)
        del columns[least]
    return columns


def _finding(finding: Finding) -> str:
    said = escape.markdown(f"{finding.message}. {finding.advice}.")
    return f"- **{finding.code}**: {said}"


def _flat(value: Any) -> Any:
    """A list or mapping as one CSV cell; None as an empty one."""
    value = plain(value)
    if isinstance(value, dict):
        value = " ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return escape.spreadsheet(value) if isinstance(value, str) else value
