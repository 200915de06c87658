"""The pytest plugin, in a pytest of its own; and that it costs nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HEAD = """
import pytest, torch
from torch import nn

def network(activation, depth):
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(8, 8), activation())]
    return nn.Sequential(*layers, nn.Linear(8, 2))

inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
targets = (inputs[:, 0] > 0).long()

def train(model, steps=3):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
"""

TESTS = """
def test_good(gradflow):
    result = gradflow.assert_trainable(network(nn.ReLU, 2), inputs, targets)
    assert result.verdict == "healthy"

def test_vanishing(gradflow):
    gradflow.assert_trainable(network(nn.Sigmoid, 10), inputs, targets)

@pytest.mark.gradflow("exploding", "dead")
def test_other_codes(gradflow):
    gradflow.assert_trainable(network(nn.Sigmoid, 10), inputs, targets)

@pytest.mark.gradflow("vanishing")
def test_this_code(gradflow):
    gradflow.assert_trainable(network(nn.Sigmoid, 10), inputs, targets)

@pytest.mark.gradflow("vanish")
def test_no_such_code(gradflow):
    gradflow.assert_trainable(network(nn.ReLU, 2), inputs, targets)

def test_good_training(gradflow):
    model = network(nn.ReLU, 2)
    with gradflow.assert_training(model) as watched:
        train(model)
    assert watched.result().seen == 3

def test_vanishing_training(gradflow):
    model = network(nn.Sigmoid, 10)
    with gradflow.assert_training(model):
        train(model)

def test_its_own_error_comes_first(gradflow):
    model = network(nn.Sigmoid, 10)
    with pytest.raises(ValueError, match="mine"), gradflow.assert_training(model):
        train(model)
        raise ValueError("mine")
"""


def test_a_pytest_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With strict markers; loaded by name, as an old installation has no entry point of it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(HEAD + TESTS)
    result = pytester.runpytest_subprocess("-p", "pytest_gradflow", "--strict-markers", "-rA")
    result.assert_outcomes(passed=4, failed=4)
    said = result.stdout.str()
    failed = ("vanishing", "this_code", "no_such_code", "vanishing_training")
    result.stdout.fnmatch_lines([f"FAILED *::test_{name} - *" for name in failed])
    assert "unknown finding 'vanish'" in said
    assert "Captured gradflow diagnose call" in said
    assert "Captured gradflow watch call" in said
    assert "raise_for" not in said  # the test's own line is what is shown


def test_loading_it_imports_nothing_of_gradflow() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_gradflow;"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "['pytest_gradflow']"
