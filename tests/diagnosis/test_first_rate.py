"""The rate in use: named where it is far from what the first gradient suggests, and only there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.results.base import Finding

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def said(lr: float | None, optimizer: str | None = None) -> list[Finding]:
    result = gradflow.diagnose(network(), X, Y, lr=lr, optimizer=optimizer)
    return [f for f in result.findings if f.code == "step-size"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", None])
def test_a_rate_that_is_far_off_is_a_warning_and_one_that_suits_is_not(
    optimizer: str | None,
) -> None:
    right = gradflow.learning_rate(network(), X, Y, optimizer=optimizer or "adam").suggested
    assert right is not None
    for factor in (0.1, 1.0, 10.0):
        assert not said(right * factor, optimizer)
    for rate, way in ((right * 1e5, "above"), (right * 1e-5, "below")):
        (found,) = said(rate, optimizer)
        assert found.severity == "warning"
        assert way in found.message


def test_a_rate_that_nobody_named_is_not_judged() -> None:
    assert not said(None)


def test_the_rate_that_is_named_is_the_estimate_of_the_range_test() -> None:
    """Of the same gradient; in the rows of the diagnosis biases are left out."""
    estimate = gradflow.learning_rate(network(), X, Y, optimizer="adam").estimate
    (found,) = said(10.0, "adam")
    assert f"the {estimate:.2g} that the first gradient suggests for Adam" in found.message


def test_no_rate_mends_a_network_that_is_sick() -> None:
    model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(8, 8), nn.Sigmoid())])
    model.append(nn.Linear(8, 3))
    result = gradflow.diagnose(model, X, Y, lr=1e6, optimizer="sgd")
    assert result.verdict != "healthy"
    assert "step-size" not in {f.code for f in result.findings}


@pytest.mark.parametrize(("loss", "scale"), [("mean", 1.0), ("sum", 32.0)])
def test_a_summed_loss_is_judged_as_it_is_trained_on(loss: str, scale: float) -> None:
    criterion = nn.CrossEntropyLoss(reduction=loss)
    result = gradflow.diagnose(network(), X, Y, loss=criterion, lr=1e-9, optimizer="sgd")
    (found,) = [f for f in result.findings if f.code == "step-size"]
    named = float(found.message.split(" the ")[1].split()[0])
    plain = float(said(1e-9, "sgd")[0].message.split(" the ")[1].split()[0])
    assert math.isclose(named * scale, plain, rel_tol=0.1)


@pytest.mark.parametrize(("rate", "code"), [("1", 1), ("0.005", 0)])
def test_the_command_judges_the_rate_that_was_typed(rate: str, code: int) -> None:
    arguments = ["diagnose", "--depth", "3", "--width", "16", "--act", "relu", "--json"]
    arguments += ["--optimizer", "adam", "--lr", rate, "--fail-on", "step-size"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code
    assert json.loads(done.stdout)["verdict"] == "healthy"


PROGRAM = """
import sys, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
x = torch.randn(32, 8)
y = x[:, :3].argmax(1)
for step in range(2):  # too few for the updates themselves to be judged
    if len(sys.argv) > 2:
        optimizer.param_groups[0]["lr"] = float(sys.argv[1]) * 2**step
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("arguments", "far"), [(("1e-7",), True), (("0.1",), False), (("1e-7", "warm-up"), False)]
)
def test_a_watched_program_is_told_unless_its_rate_has_a_schedule(
    tmp_path: Path, arguments: tuple[str, ...], far: bool
) -> None:
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    result = gradflow.watch_script(program, arguments)
    found = [f.message for f in result.findings if "first gradient suggests" in f.message]
    assert bool(found) is far
