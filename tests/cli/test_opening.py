"""The first line: there at once, true, and never before what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.expected import expected_flow

DIAGNOSE = ("diagnose", "--depth", "6", "--no-remedies")


def first(*arguments: str) -> str:
    """The first line that a command prints."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.parametrize("arch", ["mlp", "rnn"])
@pytest.mark.parametrize("act", ["sigmoid", "relu"])
def test_theory_without_a_batch_says_what_it_says_with_one(arch: str, act: str) -> None:
    config = NetworkConfig(arch=arch, act=act, depth=6, init="he-normal", seeds=2)
    expected = expected_flow(config)
    assert expected is not None
    measured = gradflow.diagnose(config, remedies=False)
    assert expected.rate == pytest.approx(measured.predicted_rate, rel=0.03)


@pytest.mark.parametrize(
    "options", [{"norm": "batch"}, {"residual": True}, {"arch": "gru"}, {"depth": 1}]
)
def test_no_number_where_no_theory_of_a_chain_holds(options: dict[str, object]) -> None:
    assert expected_flow(NetworkConfig(**options)) is None  # type: ignore[arg-type]


def test_the_first_line_is_theory_or_what_is_measured() -> None:
    rate = expected_flow(NetworkConfig(depth=6))
    assert rate is not None
    assert first(*DIAGNOSE) == rate.title
    assert (
        first(*DIAGNOSE, "--norm", "batch") == "… measuring mlp: 6 hidden layers of 64 units, relu"
    )


def test_a_rate_of_one_has_no_decades() -> None:
    flow = expected_flow(NetworkConfig(depth=4, act="relu", init="he-normal", width=32))
    assert flow is not None
    assert flow.title == "Theory: every layer passes the gradient on unchanged"


def test_json_stays_one_document() -> None:
    done = CliRunner().invoke(app, [*DIAGNOSE, "--json"])
    assert json.loads(done.stdout)["command"] == "diagnose"


@pytest.mark.parametrize(
    "arguments",
    [
        [*DIAGNOSE, "--act", "rleu"],
        [*DIAGNOSE, "--device", "abacus"],
        [*DIAGNOSE, "--data", "no-such-folder"],
        [*DIAGNOSE, "--optimizer", "adm"],
        ["diagnose", "--model", "nowhere.py:build"],
        ["lr", "--momentum", "0.9", "--optimizer", "adam"],
        ["sweep", "--act", "rleu"],
        ["clip", "--task", "copy", "--depth", "5"],
        ["width", "--optimizer", "adm"],
    ],
    ids=" ".join,
)
def test_what_is_refused_prints_nothing(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_the_first_line_needs_no_torch() -> None:
    code = """
import sys
from gradflow.cli import opening
from gradflow.cli.output import Output
from gradflow.configs.network import NetworkConfig
from gradflow.configs.sweep import SweepConfig
opening.measuring(Output(), NetworkConfig(), None)
opening.sweeping(Output(), SweepConfig())
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["Theory", "Theory"]
