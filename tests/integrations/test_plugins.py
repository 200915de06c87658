"""What another package adds by entry points: one that is built, installed and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradflow import plugins

ROOT = Path(__file__).parents[2]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "gradflow-others"
version = "1.0"

[project.entry-points."gradflow.activations"]
square-relu = "others.formulas:SQUARE_RELU"
taken = "others.formulas:TAKEN"
number = "others.formulas:NUMBER"
gone = "others.formulas:GONE"

[project.entry-points."gradflow.checks"]
wide = "others.checks:CHECKS"
broken = "others.broken"
crashing = "others.checks:crashing"

[project.entry-points."gradflow.policies"]
halve = "others.policies:halve"
useless = "others.policies:gone"

[tool.hatch.build.targets.wheel]
packages = ["others"]
"""
FILES = {
    "__init__.py": "",
    "broken.py": "raise SystemExit('first line\\n::second line')",
    "formulas.py": """
import numpy as np
from torch import nn
from gradflow.activations import Activation

class SquareReLU(nn.Module):
    def forward(self, x):
        return x.clamp(min=0) ** 2

def _value(x):
    return np.maximum(x, 0) ** 2

def _slope(x):
    return np.minimum(2 * np.maximum(x, 0), 100.0)

SQUARE_RELU = Activation("square-relu", "max(0, x)²", "2 max(0, x)", _value, _slope,
                         (0.0, float("inf")), "others.formulas:SquareReLU", "[)")
TAKEN = Activation("relu", "x", "1", _value, _slope, (0.0, 1.0), "ReLU")
NUMBER = 3
""",
    "checks.py": """
from gradflow.findings.check import check, finding
from gradflow.findings.codes import Code, register
from gradflow.results.diagnosis import DiagnosisResult

register(Code("too-wide", "error", "A network of more layers than we allow."))

@check("too-wide")
def wide(result):
    if isinstance(result, DiagnosisResult) and len(result.records) > 4:
        yield finding("too-wide", f"{len(result.records)} layers")

@check("dead")
def crashing(result):
    raise RuntimeError("no \\x1b[31m colour")

CHECKS = [wide]
""",
    "policies.py": """
def halve(limit):
    def clip(layers):
        for layer in layers:
            for parameter in layer:
                parameter.grad.mul_(0.5)
    return clip
""",
}
PROGRAM = """
import json, sys
from typer.testing import CliRunner
from gradflow.cli.app import app

def run(*arguments):
    done = CliRunner().invoke(app, arguments)
    return {"code": done.exit_code, "out": done.stdout, "err": done.stderr}

small = ("--depth", "4", "--width", "8", "--batch-size", "8", "--no-remedies")
print(json.dumps({
    "eval": run("eval", "square-relu", "--at", "3", "--json"),
    "activations": run("activations", "--json"),
    "fails": run("diagnose", *small, "--act", "square-relu", "--fail-on", "too-wide", "--json"),
    "explain": run("explain", "too-wide"),
    "halve": run("clip", "--policy", "halve", "--steps", "0", "--depth", "2", "--width", "4",
                 "--json"),
    "useless": run("clip", "--policy", "useless", "--steps", "0"),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a package with good and broken entry points is installed."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "others").mkdir()
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    for name, text in FILES.items():
        (folder / "others" / name).write_text(text, encoding="utf-8")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--target", folder / "site"]
    ran(sys.executable, "-m", "pip", "install", *options, wheel)
    return folder / "site"


def ran(*command: Any, **options: Any) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command line gives where the package is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    where = tmp_path_factory.mktemp("run")
    printed = ran(sys.executable, "-c", PROGRAM, env=environment, cwd=where)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_an_activation_is_one_like_any_other(said: dict[str, Any]) -> None:
    (row,) = json.loads(said["eval"]["out"])["rows"]
    assert (row["value"], row["derivative"]) == (9.0, 6.0)
    names = [row["name"] for row in json.loads(said["activations"]["out"])["rows"]]
    assert names[-1] == "square-relu"
    assert names.count("relu") == 1
    document = json.loads(said["fails"]["out"])
    assert document["meta"]["config"]["act"] == "square-relu"


def test_a_check_has_its_finding_its_code_and_its_page(said: dict[str, Any]) -> None:
    document = json.loads(said["fails"]["out"])
    assert {"too-wide": "5 layers"}.items() <= {
        f["code"]: f["message"] for f in document["findings"]
    }.items()
    assert said["fails"]["code"] == 1
    assert said["explain"]["code"] == 0
    assert "more layers than we allow" in said["explain"]["out"]


def test_a_policy_clips(said: dict[str, Any]) -> None:
    (row,) = json.loads(said["halve"]["out"])["rows"]
    assert row["norm_after"] == pytest.approx(row["norm_before"] / 2)


def test_what_is_broken_is_one_line_each_and_never_a_crash(said: dict[str, Any]) -> None:
    warnings = "".join(one["err"] for one in said.values()).splitlines()
    assert {line for line in warnings if "gradflow.activations" in line} == {
        "warning: 'taken' of gradflow.activations is left out: ValueError: the name 'relu' is "
        "taken",
        "warning: 'number' of gradflow.activations is left out: TypeError: a int is no "
        "gradflow.activations.Activation",
        "warning: 'gone' of gradflow.activations is left out: AttributeError: module "
        "'others.formulas' has no attribute 'GONE'",
    }
    of_checks = {line for line in warnings if "gradflow.checks" in line}
    assert (
        "warning: 'broken' of gradflow.checks is left out: SystemExit: first line ::second line"
        in of_checks
    )
    assert (
        "warning: 'crashing' of gradflow.checks is left out: RuntimeError: no ?[31m colour"
        in of_checks
    )
    assert all(one["code"] in (0, 1, 2) for one in said.values())


def test_a_broken_policy_is_refused_where_it_is_asked_for(said: dict[str, Any]) -> None:
    assert said["useless"]["code"] == 2
    assert said["useless"]["err"].startswith("error: policy 'useless' of another package cannot")


def test_nothing_is_looked_for_where_nothing_is_asked_for() -> None:
    code = (
        "import sys, gradflow.cli.app, gradflow.configs.policies, gradflow.plugins as p;"
        "print(p.points.cache_info().currsize, 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split()[0] == "0"


def test_without_other_packages_there_is_nothing() -> None:
    assert plugins.points("activations") == {}
    assert list(plugins.added("checks")) == []
