"""What is foreign stays text, wherever it goes."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.figure_results import diagnosed

from gradflow import report
from gradflow.report import escape, tabular
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult

FOREIGN = "=1+1|<script>`\x1b[31m\u202eevil\nnext"


@given(st.text())
def test_what_is_visible_is_printable_and_stays_what_it_is(text: str) -> None:
    seen = escape.visible(text)
    assert not any(sign in seen for sign in "\x1b\n\r\x00\u202e\ud800")
    assert escape.visible(seen) == seen


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S")), max_size=20))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert escape.visible(text) == text


def renamed() -> DiagnosisResult:
    """A result whose layer and finding are named by somebody who means no good."""
    result = diagnosed(-1.0, 0.0)
    first = dataclasses.replace(result.records[0], name=FOREIGN)
    finding = Finding("vanishing", "error", (), FOREIGN, FOREIGN)
    return dataclasses.replace(result, records=(first, *result.records[1:]), findings=(finding,))


def test_a_terminal_gets_no_orders() -> None:
    shown = io.StringIO()
    Console(file=shown, width=300).print(report.renderable(renamed()))
    assert "\x1b" not in shown.getvalue()
    assert "\u202e" not in shown.getvalue()


def test_markdown_keeps_its_table() -> None:
    lines = tabular.markdown(renamed()).splitlines()
    rows = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert "<script>" not in "".join(lines)


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    report.save(renamed(), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["name"] == f"'{FOREIGN}"
    assert all(float(row["gradient_norm"]) >= 0 for row in rows if row["gradient_norm"])
