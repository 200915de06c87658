"""Charts in a terminal: asked for, left out, piped, and where the terminal knows few signs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradflow.cli.charted import ChartedOutput
from gradflow.cli.streams import _written

pytest.importorskip("plotille")

AXIS = "-----------|-|---------|"


def test_a_pipe_gets_one_where_it_is_asked_for(run: Any) -> None:
    assert AXIS not in run("theory", "tanh").stdout
    drawn = run("theory", "tanh", "--chart").stdout
    assert AXIS in drawn
    assert "\x1b" not in drawn
    assert max(map(len, drawn.splitlines())) <= 80


@pytest.mark.parametrize(
    ("given", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"chart": False}, True, False),
        ({"chart": True}, False, True),
        ({"json": True}, True, False),
        ({"output": ("a.png",)}, True, False),
        ({"output": ("a.png",), "chart": True}, True, True),
    ],
)
def test_when_there_is_one(
    given: dict[str, Any], terminal: bool, wanted: bool, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    assert ChartedOutput(**given).wanted is wanted


def test_plots_own_file_takes_no_chart_away(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert ChartedOutput().to(Path("gelu.png")).wanted
    assert not ChartedOutput(chart=False).to(Path("gelu.png")).wanted


def test_plot_writes_its_file_beside_the_chart(run: Any) -> None:
    result = run("plot", "gelu", "--chart")
    assert AXIS in result.stdout
    assert Path("gelu.png").is_file()
    assert AXIS not in run("plot", "gelu").stdout


def test_a_chart_beside_json_is_refused(refused: Any) -> None:
    assert "--chart" in refused("theory", "tanh", "--json", "--chart")


def test_diagnose_draws_once_though_it_prints_twice(run: Any) -> None:
    small = ("--depth", "3", "--width", "8", "--batch-size", "8", "--init", "zeros")
    assert run("diagnose", *small, "--no-train", "--chart").stdout.count(AXIS) <= 1
    healthy = ("diagnose", "--depth", "3", "--width", "8", "--act", "relu", "--chart")
    assert run(*healthy).stdout.count(AXIS) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_that_the_terminal_has(encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradflow", "plot", "gelu", "--chart", "-o", "a.csv"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    drawn = done.stdout.decode(encoding)
    assert AXIS in drawn
    assert "?" not in drawn
    assert ":" in drawn


def test_dots_are_written_where_they_are() -> None:
    assert [_written(sign) for sign in "\u2800⠁⡀⠤⠉⣀⡇"] == [" ", "'", ".", ".", "'", ".", ":"]


def test_lr_of_a_program_takes_every_option_of_output(run: Any, refused: Any) -> None:
    Path("loop.py").write_text("", encoding="utf-8")
    assert "with a program" in refused("lr", "--depth", "3", "loop.py")
    assert "with a program" not in run("lr", "--chart", "--github", "loop.py").stderr
