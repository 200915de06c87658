"""What the command line does can be done from Python, with the same numbers."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gradflow
from gradflow.cli.app import COMMANDS
from gradflow.report import jsonfile
from gradflow.results.base import Result

#: The public function of every command.
FUNCTIONS = {
    "activations": "catalogue",
    "eval": "evaluate",
    "plot": "curves",
    "lr": "learning_rate",
    "watch": "watch_script",
}

SMALL = {"depth": 3, "width": 8, "batch_size": 8}
FLAGS = ["--depth", "3", "--width", "8", "--batch-size", "8"]

CALLS: dict[str, tuple[list[str], Callable[[], Result]]] = {
    "activations": (["activations"], gradflow.catalogue),
    "eval": (
        ["eval", "elu", "--at", "-1", "--at", "2", "--alpha", "0.5"],
        lambda: gradflow.evaluate("elu", [-1, 2], alpha=0.5),
    ),
    "plot": (["plot", "gelu", "--range", "-2:2"], lambda: gradflow.curves("gelu", -2, 2)),
    "chain": (
        ["chain", "--weights", "100", "--slopes", "0.25,0.5", "--bias", "1.5"],
        lambda: gradflow.chain([100], [0.25, 0.5], bias=1.5),
    ),
    "theory": (
        ["theory", "tanh", "--weight-variance", "2", "--depth", "5"],
        lambda: gradflow.theory(gradflow.TheoryConfig("tanh", weight_variance=2, depth=5)),
    ),
    "diagnose": (
        ["diagnose", *FLAGS, "--no-remedies"],
        lambda: gradflow.diagnose(gradflow.NetworkConfig(**SMALL)),
    ),
    "clip": (
        ["clip", *FLAGS, "--steps", "3"],
        lambda: gradflow.clip(gradflow.NetworkConfig(**SMALL), gradflow.ClipConfig(steps=3)),
    ),
    "clip, a task's own network": (
        ["clip", "--steps", "3"],
        lambda: gradflow.clip(config=gradflow.ClipConfig(steps=3)),
    ),
    "sweep": (
        ["sweep", "--depths", "2,3", "--widths", "8", "--weight-variances", "1"],
        lambda: gradflow.sweep(
            gradflow.SweepConfig(depths=(2, 3), widths=(8,), weight_variances=(1.0,))
        ),
    ),
    "explain": (["explain", "dead"], lambda: gradflow.explain("dead")),
}


def same_document(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a command alone notes: how it was asked, not what came of it."""
    meta = {k: v for k, v in document["meta"].items() if k not in ("config", "command")}
    return {**document, "meta": meta}


@pytest.mark.parametrize("name", CALLS)
def test_a_function_gives_what_its_command_prints(name: str, run_json: Any) -> None:
    arguments, call = CALLS[name]
    printed = run_json(*arguments)
    returned = json.loads(jsonfile.dumps(call()))
    assert same_document(returned) == same_document(printed)


def test_the_benchmark_from_python(run_json: Any, idx_folder: Path, one_core: None) -> None:
    options = ["--data", str(idx_folder), "--train-size", "64", "--validation-size", "32"]
    printed = run_json("benchmark", *options, "--epochs", "1", "--act", "relu")
    config = gradflow.BenchmarkConfig(
        act=("relu",), data=str(idx_folder), train_size=64, validation_size=32, epochs=1
    )
    result = gradflow.benchmark(config)
    (row,), (returned,) = printed["rows"], result.rows()
    timed = ("seconds", "images_per_second")
    assert {k: v for k, v in row.items() if not k.startswith(timed)} == {
        k: v for k, v in returned.items() if not k.startswith(timed)
    }
    plan = gradflow.benchmark_plan(config)
    assert [row.steps for row in plan.records] == [1]


def test_every_command_has_a_public_function() -> None:
    for command in COMMANDS:
        assert FUNCTIONS.get(command, command) in gradflow.__all__


def test_no_room_has_the_name_of_a_function() -> None:
    """Once it is imported, it would take the function's place in the package."""
    rooms = {module.name for module in pkgutil.iter_modules(gradflow.__path__)}
    assert "theories" in rooms
    assert rooms & set(gradflow.__all__) == set()


PUBLIC = [name for name in gradflow.__all__ if inspect.isfunction(getattr(gradflow, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_says_what_it_takes_and_gives(name: str) -> None:
    function = inspect.unwrap(getattr(gradflow, name))
    said = inspect.getdoc(function)
    assert said
    assert function.__name__ == name
    named = [p for p in inspect.signature(function).parameters if not p.startswith("_")]
    assert all(parameter in said for parameter in named), named


@pytest.mark.parametrize("name", ["catalogue", "chain", "clip", "curves", "evaluate", "theory"])
def test_examples_in_docstrings(name: str) -> None:
    function = getattr(gradflow, name)
    examples = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    module = importlib.import_module(function.__module__)
    assert examples, module
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0
