"""The workflow in docs fails on a vanishing model and passes on a healthy one: its own commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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


def run_all(model: str, folder: Path) -> list[int]:
    for file in EXAMPLES.glob("*.py"):
        shutil.copy(file, folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "MODEL": model, "PATH": path}
    return [
        subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=False,
        ).returncode
        for command in commands()
    ]


def test_the_workflow_has_both_checks() -> None:
    diagnose, test = commands()
    assert diagnose.startswith("gradflow diagnose --model")
    assert "--fail-on vanishing,exploding,dead,saturated,broken" in diagnose
    assert "pytest" in test


@pytest.mark.slow
@pytest.mark.parametrize(("model", "codes"), [("healthy", [0, 0]), ("vanishing", [1, 1])])
def test_it_passes_on_a_healthy_model_and_fails_on_a_vanishing_one(
    model: str, codes: list[int], tmp_path: Path
) -> None:
    assert run_all(model, tmp_path) == codes
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
