"""The programs of `benchmarks/faults`: index and files hold together, and the score counts."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradflow.findings.codes import CODES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "faults"

PROGRAM = """
import sys

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
x = torch.randn(64, 4)
y = x[:, :1]
for step in range(120):
    opt.zero_grad()
    out = net(x)
    if sys.argv[1:] == ["broken"]:
        out = out * float("nan")
    nn.functional.mse_loss(out, y).backward()
    opt.step()
value = nn.functional.mse_loss(out, y).item() / y.var().item()
print(f"metric nmse {value:.4f} baseline 1.0000")
"""


@pytest.fixture(scope="module")
def faults() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "faults.py"))


@pytest.fixture
def two_programs(tmp_path: Path) -> Path:
    """A folder with one faulty and one clean program."""
    for name in ("cases/01_nan_output", "clean/01_plain"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir()
        path.write_text(PROGRAM, encoding="utf-8")
    entry = {
        "id": "01_nan_output",
        "fault": "numerical",
        "truth": "The output is NaN.",
        "fix": "Leave it.",
        "accepted": ["broken"],
    }
    (tmp_path / "index.json").write_text(json.dumps([entry]), encoding="utf-8")
    return tmp_path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "benchmarks" / "faults.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


def test_index_and_files_hold_together(faults: dict[str, Any]) -> None:
    cases = faults["cases"](FOLDER)
    assert [case.id for case in cases] == sorted(p.stem for p in (FOLDER / "cases").glob("*.py"))
    assert len(cases) >= 40
    assert len(list((FOLDER / "clean").glob("*.py"))) >= 15
    for case in cases:
        assert all((case.fault, case.truth, case.fix, case.accepted)), case.id
        assert set(case.accepted) <= set(CODES), case.id


def test_each_half_has_its_share(faults: dict[str, Any]) -> None:
    cases = faults["cases"](FOLDER)
    halves = [len(faults["cases"](FOLDER, half=half)) for half in "AB"]
    assert sum(halves) == len(cases)
    assert abs(halves[0] - halves[1]) <= 4


@pytest.mark.parametrize("folder", ["cases", "clean"])
def test_every_program_prints_a_metric_and_reads_its_seed(folder: str) -> None:
    for path in (FOLDER / folder).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert 'os.environ.get("SEED"' in text, path.name
        assert 'print(f"metric ' in text, path.name
        assert ("sys.argv[1]" in text) == (folder == "cases"), path.name


@pytest.mark.parametrize(
    ("broken", "fixed", "mark"),
    [
        ({("error", "dead")}, set(), "named"),
        ({("warning", "dead")}, {("info", "dead")}, "named"),
        ({("error", "broken")}, set(), "detected"),
        ({("error", "dead")}, {("warning", "dead")}, "missed"),
        ({("info", "dead")}, set(), "missed"),
        ({("error", "dead")}, {("error", "broken")}, "alarm"),
    ],
)
def test_what_counts(
    faults: dict[str, Any],
    broken: set[tuple[str, str]],
    fixed: set[tuple[str, str]],
    mark: str,
) -> None:
    assert faults["judged"](broken, fixed, ["dead"]) == mark


@pytest.mark.slow
def test_two_programs_are_scored(two_programs: Path) -> None:
    output = two_programs / "rows.jsonl"
    done = command("score", "--folder", str(two_programs), "-o", str(output))
    assert done.returncode == 0, done.stderr
    faulty, clean = [json.loads(line) for line in output.read_text().splitlines()]
    assert (faulty["id"], faulty["mark"]) == ("01_nan_output", "named")
    assert "broken!" in faulty["said"]["broken"]
    assert clean["mark"] == "clean"
    assert "alarms on fixed and clean programs: 0 of 2" in done.stdout


@pytest.mark.slow
def test_two_programs_are_checked(two_programs: Path) -> None:
    done = command("check", "--seeds", "1", "--folder", str(two_programs))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("good") == 2
