"""`gradflow explain`, and the way to it from a table of findings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import gradflow
from gradflow.findings.codes import CODES
from gradflow.report.console import ResultView
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.watching import WatchedModel, WatchResult

Run = Callable[..., Any]


def on_a_terminal(view: ResultView) -> str:
    file = io.StringIO()
    Console(file=file, force_terminal=True, no_color=True, width=80, highlight=False).print(view)
    return file.getvalue()


def test_a_page_is_printed_as_markdown_where_no_terminal_is(run: Run) -> None:
    result = run("explain", "dead")
    assert result.exit_code == 0
    assert result.stdout.split() == gradflow.explain("dead").page.split()
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "```python" in result.stdout


def test_on_a_terminal_it_is_set() -> None:
    shown = on_a_terminal(ResultView(gradflow.explain("dead")))
    assert "What it means" in shown
    assert "```" not in shown
    assert "## " not in shown


def test_the_list_has_every_code(run: Run, run_json: Run) -> None:
    document = run_json("explain", "--list")
    assert [row["code"] for row in document["rows"]] == list(CODES)
    assert {row["severity"] for row in document["rows"]} == {"error", "warning", "info"}
    assert all(code in run("explain", "--list").stdout for code in CODES)


@pytest.mark.parametrize("arguments", [[], ["dead", "--list"]])
def test_it_takes_a_code_or_the_list(refused: Run, arguments: list[str]) -> None:
    assert "one CODE, or --list" in refused("explain", *arguments)


def test_a_misspelt_code_is_one_line_with_the_nearest(refused: Run) -> None:
    said = refused("explain", "unreachd")
    assert "unknown finding 'unreachd'" in said
    assert "unreached" in said


def test_a_page_goes_to_files(run: Run) -> None:
    assert run("explain", "dead", "-o", "dead.md", "-o", "dead.json").exit_code == 0
    assert Path("dead.md").read_text(encoding="utf-8") == gradflow.explain("dead").page
    assert json.loads(Path("dead.json").read_text(encoding="utf-8"))["code"] == "dead"


def test_a_page_has_no_figure(run: Run) -> None:
    result = run("explain", "dead", "-o", "dead.png")
    assert result.exit_code == 2
    assert "there is no figure of 'explain'" in result.stderr
    assert not Path("dead.png").exists()


def result_with(*severities: tuple[str, str]) -> DiagnosisResult:
    found = (Finding(code, severity, (), "it was seen", "") for code, severity in severities)
    return DiagnosisResult(findings=tuple(found))


def test_findings_on_a_terminal_lead_to_the_page_of_the_worst() -> None:
    shown = on_a_terminal(ResultView(result_with(("lazy", "info"), ("dead", "error"))))
    assert "gradflow explain dead says more" in shown
    assert "explain" not in on_a_terminal(ResultView(result_with()))


def test_of_a_program_of_several_models_it_is_named_once() -> None:
    found = (Finding("dead", "error", (), "it was seen", ""),)
    same: dict[str, Any] = {
        "verdict": "dead",
        "optimizer": "Adam",
        "title": "Dead",
        "seen": 3,
        "findings": found,
    }
    models = tuple(WatchedModel(name=name, **same) for name in ("one", "two"))
    shown = on_a_terminal(ResultView(WatchResult(models=models, findings=2 * found)))
    assert shown.count("gradflow explain dead says more") == 1


def test_findings_in_a_pipe_are_not_followed_by_it() -> None:
    assert "explain" not in str(result_with(("dead", "error")))
