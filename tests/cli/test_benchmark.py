"""``gradflow benchmark`` on the command line: lists, plans, folders, what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("one_core")

Run = Callable[..., Any]


@pytest.fixture
def small(idx_folder: Path) -> tuple[str, ...]:
    return ("benchmark", "--data", str(idx_folder), "--train-size", "64", "--epochs", "1")


def test_lists_are_repeated_options_or_commas(run_json: Run, small: tuple[str, ...]) -> None:
    document = run_json(
        *small, "--act", "relu,elu", "--lr", "1e-3", "--lr", "0.01", "--batch-size", "32,64"
    )
    assert {(r["activation"], r["lr"], r["batch_size"]) for r in document["rows"]} == {
        (act, lr, size) for act in ("relu", "elu") for lr in (1e-3, 1e-2) for size in (32, 64)
    }


def test_a_grid_is_one_table_with_a_column_for_what_varies(
    run: Run, small: tuple[str, ...]
) -> None:
    table = run(*small, "--act", "relu", "--clip-value", "0,0.5", "--clip-norm", "1").stdout
    assert all(words in table for words in ("clip", "none", "value 0.5", "norm 1"))
    assert "optimizer" not in table
    assert all(len(line) <= 80 for line in table.splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lr", "fast"), "--lr must be numbers with commas between, got 'fast'"),
        (("--batch-size", "32,big"), "--batch-size must be whole numbers"),
        (("--lr", "0.1,-1"), "--lr must be a number above 0, got -1.0"),
        (("--arch", "resnet"), "unknown architecture 'resnet'"),
        (("--dropout", "2"), "--dropout must be one or two shares"),
        (("--target", "99"), "--target must be above 0 and at most 1, got 99.0"),
        (("--resume",), "--resume needs --output-dir"),
        (("somewhere",), "unexpected argument 'somewhere'"),
        (("--from", "nowhere"), "'nowhere' holds no run"),
        (("--validation-size", "300"), "--validation-size 300"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    refused: Run, small: tuple[str, ...], options: tuple[str, ...], message: str
) -> None:
    assert message in refused(*small, *options)


def test_a_plan_trains_nothing(run: Run, small: tuple[str, ...]) -> None:
    result = run(*small, "--act", "relu,elu", "--seeds", "2", "--plan", "--output-dir", "run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("4 runs on 1 worker: about ")
    assert "s/step" in result.stdout
    assert not Path("run").exists()


def test_a_folder_holds_figure_and_table_and_is_shown_again(
    run: Run, small: tuple[str, ...]
) -> None:
    first = run(*small, "--act", "relu,elu", "--output-dir", "run")
    assert first.exit_code == 0, first.stderr
    names = {path.name for path in Path("run").iterdir()}
    assert names == {
        ".lock",
        "checkpoints",
        "config.json",
        "environment.json",
        "figure.png",
        "flow.jsonl",
        "history.jsonl",
        "result.json",
        "run.json",
        "table.md",
    }
    assert run("benchmark", "--from", "run").stdout == first.stdout
    stored = json.loads(Path("run/result.json").read_text(encoding="utf-8"))
    assert len(stored["flow"]) == 8
    assert "holds a run already" in run(*small, "--output-dir", "run").stderr


def test_stored_runs_are_compared_in_one_table(run: Run, small: tuple[str, ...]) -> None:
    for folder, lr in (("a", "1e-3"), ("b", "1e-4")):
        run(*small, "--act", "relu", "--lr", lr, "--output-dir", folder)
    table = run("benchmark", "--from", "a", "b").stdout
    assert "run" in table.splitlines()[1] + table.splitlines()[2]
    assert "reference" in table


def test_a_stored_activation_can_be_left_out(run: Run) -> None:
    stored = Path(__file__).parents[2] / "docs" / "runs" / "mnist"
    table = run("benchmark", "--from", str(stored), "--skip", "Sigmoid").stdout
    assert "sigmoid" not in table
    assert "leaky-relu" in table


def test_progress_is_a_line_per_epoch_when_piped(run: Run, small: tuple[str, ...]) -> None:
    lines = run(*small, "--act", "relu", "--seeds", "2", "--lr", "0.01").stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("relu, lr 0.01, seed 0, epoch 1: test accuracy ")
    assert not any("\x1b" in line for line in lines)
