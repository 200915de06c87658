"""The workflow in docs fails on a vanishing model and passes on a healthy one: its own commands."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gradflow
from gradflow import NetworkConfig

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WORKFLOW = (EXAMPLES / "gradient-flow.yml").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The `run:` commands, on one line or folded over several, but for what installs packages."""
    found = []
    pattern = r"^( +)run: (?:([>|])-?\n((?:\1  .*\n)+)|(.*)\n)"
    for _, style, block, line in re.findall(pattern, WORKFLOW, flags=re.MULTILINE):
        lines = [part.strip() for part in block.splitlines()]
        found.append((" " if style == ">" else "\n").join(lines) if block else line)
    return [command for command in found if not command.startswith("pip install")]


@pytest.fixture
def user(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., list[int]]]:
    """A user's folder with the example's files, in which the workflow's commands are run."""
    for file in EXAMPLES.glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does

    def exit_codes(model: str) -> list[int]:
        monkeypatch.setenv("MODEL", model)
        diagnose, test = (shlex.split(os.path.expandvars(command)) for command in commands())
        return [run(*diagnose[1:]).exit_code, outcome(tmp_path / test[-1])]

    yield exit_codes
    sys.modules.pop("networks", None)


def outcome(file: Path) -> int:
    """Call a file's tests as pytest does, without starting another one: its exit code."""
    tests = [f for name, f in runpy.run_path(str(file)).items() if name.startswith("test_")]
    assert tests
    try:
        for test in tests:
            test()
    except AssertionError:
        return 1
    return 0


def test_the_workflow_has_both_checks() -> None:
    diagnose, test = commands()
    assert diagnose.startswith("gradflow diagnose --model")
    assert test == "python -m pytest -q test_gradients.py"
    assert "--fail-on vanishing,exploding,dead,saturated,broken" in diagnose


@pytest.mark.parametrize(("model", "codes"), [("healthy", [0, 0]), ("vanishing", [1, 1])])
def test_it_passes_on_a_healthy_model_and_fails_on_a_vanishing_one(
    model: str, codes: list[int], user: Callable[..., list[int]], tmp_path: Path
) -> None:
    assert user(model) == codes
    assert (tmp_path / "gradient-flow.png").stat().st_size > 10_000
    assert (tmp_path / "gradient-flow.json").exists()


def test_assert_healthy_lists_what_was_found() -> None:
    sick = gradflow.diagnose(NetworkConfig(act="sigmoid", device="cpu"))
    with pytest.raises(AssertionError) as raised:
        sick.assert_healthy()
    assert str(raised.value).startswith("Vanishing: each layer back keeps")
    assert "→ weights at" in str(raised.value)
    sick.assert_healthy("exploding", "broken")
    gradflow.diagnose(NetworkConfig(depth=2, device="cpu")).assert_healthy()
