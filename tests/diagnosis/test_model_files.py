"""``diagnose --model``: a user's file, what is wrong with it, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.model_files import Given, built, objective_for

Run = Callable[..., Any]

SOURCE = """
import torch
from torch import nn
from helper_beside_it import WIDTH

def build():
    layers = [m for _ in range(3) for m in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTH * 64, 10))

def sigmoids():
    layers = [m for _ in range(10) for m in (nn.Linear(16, 16), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(16, 4))

class Language(nn.Module):
    def __init__(self, words=11):
        super().__init__()
        self.embed = nn.Embedding(words, 8)
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, words)

    def forward(self, tokens, labels=None):
        logits = self.head(self.hidden(self.embed(tokens)).tanh())
        return {"logits": logits}

def language():
    return Language(), {"tokens": torch.randint(11, (4, 6))}

def regression():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(7, 3)

def complete():
    model, inputs = regression()
    return model, inputs, torch.zeros(7, 1), nn.MSELoss()

instance = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        x = self.inner(self.first(x))
        raise KeyError("no such head")

def raising():
    raise ValueError("three layers are missing")

def needs(depth):
    return depth

text = "a string"
"""


@pytest.fixture
def model_file(run: Run) -> str:
    """The source in the current (temporary) folder."""
    Path("helper_beside_it.py").write_text("WIDTH = 3\n", encoding="utf-8")
    Path("mine.py").write_text(SOURCE, encoding="utf-8")
    return "mine.py"


def test_a_factory_with_an_input_shape(model_file: str, run_json: Run) -> None:
    arguments = ("diagnose", "--model", "mine.py:build", "--input-shape", "3,8,8")
    document = run_json(*arguments, "--batch-size", "4")
    assert [row["name"] for row in document["rows"]] == ["0", "2", "4", "7"]
    assert [row["kind"] for row in document["rows"]] == ["Conv2d"] * 3 + ["Linear"]
    assert document["meta"]["config"]["model"] == "mine.py:build"
    assert run_json(*arguments, "--batch-size", "4")["rows"] == document["rows"]


@pytest.mark.parametrize("name", ["language", "regression", "complete"])
def test_a_factory_with_inputs_of_its_own(name: str, model_file: str, run_json: Run) -> None:
    document = run_json("diagnose", "--model", f"{model_file}:{name}")
    assert document["verdict"] == "healthy"
    assert all(row["gradient_norm"] > 0 for row in document["rows"])


def test_random_tokens(model_file: str, run_json: Run) -> None:
    arguments = ("diagnose", "--model", "mine.py:Language", "--input-ids", "6", "--vocab", "11")
    document = run_json(*arguments, "--batch-size", "3")
    assert [row["name"] for row in document["rows"]] == ["hidden", "head", "embed"]
    assert all(row["gradient_norm"] > 0 for row in document["rows"])


def test_an_instance_and_a_dotted_module(model_file: str, run_json: Run, monkeypatch: Any) -> None:
    package = Path("pack")
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "nets.py").write_text(
        SOURCE.replace("from helper", "from pack.helper"), encoding="utf-8"
    )
    (package / "helper_beside_it.py").write_text("WIDTH = 3\n", encoding="utf-8")
    for name in ("mine.py:instance", "pack.nets:instance"):
        document = run_json("diagnose", "--model", name, "--input-shape", "3")
        assert [row["name"] for row in document["rows"]] == ["0", "2"]


def test_the_numbers_are_those_of_diagnose(model_file: str, run_json: Run) -> None:
    found = built(f"{model_file}:complete", seed=3)
    expected = diagnose(found.model, found.inputs, found.targets, loss=found.loss)
    document = run_json("diagnose", "--model", f"{model_file}:complete", "--seed", "3")
    assert [row["gradient_norm"] for row in document["rows"]] == [
        row.gradient_norm for row in expected.records
    ]


def test_several_seeds_build_several_models(model_file: str, run_json: Run) -> None:
    options = ("--input-shape", "16", "--no-remedies")
    arguments = ("diagnose", "--model", "mine.py:sigmoids", *options)
    document = run_json(*arguments, "--seeds", "4")
    assert document["verdict"] == "vanishing"
    assert document["rate_low"] < document["rate"] < document["rate_high"]
    config = NetworkConfig(device="cpu")
    models = [built("mine.py:sigmoids", seed) for seed in range(4)]
    objective = objective_for(models[0], config, Given("16"))  # the same inputs for all
    inputs, loss = objective.inputs, objective.loss
    alone = [diagnose(found.model, inputs, loss=loss).records[0] for found in models]
    logs = sorted(row.delta_log10_rms for row in alone)
    assert document["rows"][0]["delta_log10_rms"] == pytest.approx((logs[1] + logs[2]) / 2)


def test_fail_on_works_with_a_model(model_file: str, run: Run) -> None:
    options = ("--input-shape", "16", "--no-remedies")
    arguments = ("diagnose", "--model", "mine.py:sigmoids", *options)
    assert run(*arguments, "--fail-on", "vanishing").exit_code == 1
    assert run(*arguments, "--fail-on", "exploding").exit_code == 0


def test_the_global_random_state_seeds_nothing_twice(model_file: str) -> None:
    one, two = (built(f"{model_file}:sigmoids", seed=5).model for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


BAD = {
    "no such file": (["--model", "nowhere.py:build"], "there is no file 'nowhere.py'"),
    "no such module": (["--model", "no.where:build"], "there is no module 'no.where'"),
    "no name": (["--model", "mine.py"], "does not name an object"),
    "no name of a file": (["--model", "mine.py"], ": --model mine.py:"),
    "no name, no file": (["--model", "nowhere.py"], "there is no file 'nowhere.py'"),
    "what is not installed": (["--model", "no.where:build"], "is no installed"),
    "a misspelt name": (["--model", "mine.py:biuld"], "did you mean build"),
    "not a module": (["--model", "mine.py:text"], "gives a str, not a torch.nn.Module"),
    "a factory that raises": (["--model", "mine.py:raising"], "three layers are missing (mine.py"),
    "a factory with arguments": (["--model", "mine.py:needs"], "needs arguments (depth)"),
    "no inputs": (["--model", "mine.py:build"], "--model needs inputs"),
    "a bad shape": (["--model", "mine.py:build", "--input-shape", "3,x"], "got '3,x'"),
    "a shape of nothing": (["--model", "mine.py:build", "--input-shape", "3,0"], "got '3,0'"),
    "the wrong shape": (
        ["--model", "mine.py:build", "--input-shape", "4,8,8"],
        "in layer '0' (Conv2d)",
    ),
    "another wrong shape": (
        ["--model", "mine.py:build", "--input-shape", "3,9,9"],
        "in layer '7' (Linear)",
    ),
    "a forward that raises": (
        ["--model", "mine.py:Fails", "--input-shape", "3"],
        "KeyError: 'no such head' (mine.py, l",
    ),
    "a length without a vocabulary": (
        ["--model", "mine.py:Language", "--input-ids", "6"],
        "--input-ids and --vocab go together",
    ),
    "a shape and a length": (
        ["--model", "mine.py:Language", "--input-ids", "6", "--vocab", "11", "--input-shape", "3"],
        "--input-shape and --input-ids describe different inputs",
    ),
    "a length without a model": (["--input-ids", "3"], "--input-ids and --vocab go with --model"),
    "a shape without a model": (["--input-shape", "3"], "--input-shape goes with --model"),
    "options of another network": (
        ["--model", "mine.py:build", "--depth", "5"],
        "--depth describes a built-in network",
    ),
    "an unknown loss": (
        ["--model", "mine.py:instance", "--input-shape", "3", "--loss", "mes"],
        "did you mean mse",
    ),
    "seeds of an instance": (
        ["--model", "mine.py:instance", "--input-shape", "3", "--seeds", "2"],
        "is one model",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_and_exit_2(case: str, model_file: str, refused: Run) -> None:
    arguments, says = BAD[case]
    assert says in refused("diagnose", *arguments)


def test_a_syntax_error_in_the_file_is_one_line(refused: Run) -> None:
    Path("broken.py").write_text("def build(:\n", encoding="utf-8")
    assert "SyntaxError" in refused("diagnose", "--model", "broken.py:build")


def test_a_missing_import_of_the_file_names_what_is_missing(refused: Run) -> None:
    Path("lacks.py").write_text("import no_such_package\n", encoding="utf-8")
    assert "no_such_package" in refused("diagnose", "--model", "lacks.py:build")


def test_outputs_are_written(model_file: str, run: Run) -> None:
    result = run(
        "diagnose",
        "--model",
        "mine.py:build",
        "--input-shape",
        "3,8,8",
        "-o",
        "a.json",
        "-o",
        "a.png",
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["command"] == "diagnose"
    assert Path("a.png").stat().st_size > 10_000
