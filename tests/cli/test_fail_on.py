"""`--fail-on` takes every code that a check can give, and a new check is found everywhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradflow.cli.fail_on import complete_fail_on, parse_fail_on
from gradflow.diagnosis import checks
from gradflow.errors import GradflowError
from gradflow.findings.check import check, finding
from gradflow.findings.codes import CODES, Code
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult

Run = Callable[..., Any]
SMALL = ("diagnose", "--depth", "3", "--width", "8", "--device", "cpu")


@pytest.fixture
def new_check(monkeypatch: pytest.MonkeyPatch) -> str:
    """A code and a check that gives it, on every diagnosis."""
    monkeypatch.setitem(CODES, "novel", Code("novel", "warning", "It was not there before."))

    @check("novel")
    def novel(_: DiagnosisResult) -> Iterator[Finding]:
        yield finding("novel", "something new was seen", "look at it", layers=(2,))

    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, novel))
    return "novel"


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_accepted(code: str) -> None:
    assert parse_fail_on(f"{code}, dead,") == {code, "dead"}


@pytest.mark.parametrize(
    ("wrong", "near"), [("unreachd", "unreached"), ("overcliped", "overclipped"), ("Dead", "dead")]
)
def test_a_misspelt_code_is_refused_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(GradflowError) as refused:
        parse_fail_on(f"broken,{wrong}")
    assert refused.value.message == f"unknown finding '{wrong}'"
    assert near in (refused.value.hint or "")


def test_completion_offers_the_codes_that_are_left() -> None:
    assert complete_fail_on("") == list(CODES)
    assert complete_fail_on("unr") == ["unreached", "unregistered", "unrecorded"]
    assert complete_fail_on("dead,sat") == ["dead,saturated"]
    assert complete_fail_on("dead,dea") == []


def test_a_new_check_is_found_by_fail_on_and_its_completion(new_check: str, run: Run) -> None:
    assert complete_fail_on("nov") == [new_check]
    assert run(*SMALL, "--no-remedies", "--fail-on", new_check).exit_code == 1
    assert run(*SMALL, "--no-remedies", "--fail-on", "broken").exit_code == 0


def test_a_new_check_is_found_in_every_view(new_check: str, run: Run, run_json: Run) -> None:
    result = run(*SMALL, "-o", "it.md", width=120)
    assert "something new was seen" in result.output
    assert f"**{new_check}**: something new was seen" in Path("it.md").read_text(encoding="utf-8")
    said = {"code": new_check, "severity": "warning", "layers": [2]}
    said |= {"message": "something new was seen", "advice": "look at it"}
    assert said in run_json(*SMALL)["findings"]


@pytest.mark.parametrize("command", ["diagnose", "clip"])
def test_a_new_check_is_found_in_the_help(command: str) -> None:
    program = f"""
from gradflow.diagnosis import checks
from gradflow.findings.check import check
from gradflow.findings.codes import CODES, Code

CODES["novel"] = Code("novel", "info", "It was not there before.")
checks.CHECKS += (check("novel")(lambda result: ()),)
from gradflow.cli import main
import sys
sys.argv = ["gradflow", "{command}", "--help"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    shown = done.stdout.decode()
    assert "novel" in shown
    assert all(code in shown for code in CODES)


def test_clip_fails_on_a_finding_of_its_own(run: Run) -> None:
    tight = ("clip", "--depth", "2", "--width", "8", "--policy", "norm", "--threshold", "1e-6")
    arguments = (*tight, "--steps", "4", "--device", "cpu", "--json")
    assert run(*arguments, "--fail-on", "overclipped").exit_code == 1
    assert run(*arguments, "--fail-on", "idle").exit_code == 0


def test_diagnose_fails_on_layers_that_no_gradient_reaches(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cut.py"
    file.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Cut(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.last(self.first(x).detach())\n",
        encoding="utf-8",
    )
    arguments = ("diagnose", "--model", f"{file}:Cut", "--input-shape", "4", "--device", "cpu")
    assert run(*arguments, "--fail-on", "unreached").exit_code == 1
    assert run(*arguments, "--fail-on", "shared,lazy").exit_code == 0
