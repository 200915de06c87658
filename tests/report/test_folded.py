"""A page for a terminal's width: prose is folded, what is run or drawn is not."""

from __future__ import annotations

import pytest

from gradflow.findings.codes import CODES
from gradflow.findings.explain import explain
from gradflow.report.folded import folded

LONG = "word " * 30


def fenced(page: str) -> list[str]:
    return page.split("```")[1::2]


@pytest.mark.parametrize("code", CODES)
def test_prose_fits_and_programs_stay_as_they_are(code: str) -> None:
    page = explain(code).page
    shown = folded(page, 80)
    assert shown.split() == page.split()
    assert fenced(shown) == fenced(page)
    prose = "".join(shown.split("```")[::2])
    assert max(len(line) for line in prose.splitlines() if not line.startswith("|")) <= 80


def test_an_item_hangs_and_a_table_and_a_heading_stay() -> None:
    page = f"# {LONG}\n\n- {LONG}\n- short\n  goes on\n1. {LONG}\n\n| {LONG} |\n"
    lines = folded(page, 40).splitlines()
    assert lines[0] == f"# {LONG}"
    assert lines[2].startswith("- word")
    assert lines[3].startswith("  word")
    assert "- short goes on" in lines
    assert next(lines[i + 1] for i, line in enumerate(lines) if line[:3] == "1. ")[:4] == "   w"
    assert lines[-1] == f"| {LONG} |"


def test_what_a_fence_holds_is_no_prose() -> None:
    page = f"text\n```python\n- {LONG}\n# {LONG}\n```\n{LONG}\n"
    assert folded(page, 40).startswith(f"text\n```python\n- {LONG}\n# {LONG}\n```\nword")
