"""Help is printed as it is written: rich takes [words] for markup and :100: for an emoji."""

from __future__ import annotations

import inspect
import shlex
from typing import Any

import pytest
import typer
from rich.text import Text

from gradflow.activations import ACTIVATIONS
from gradflow.cli.app import app
from gradflow.cli.examples import EXAMPLES, FIRST
from gradflow.configs.choices import ACTIVATION_NAMES, INITIALIZER_NAMES, OPTIMIZER_NAMES
from gradflow.networks.initialization import INITIALIZERS
from gradflow.training.optimizers import OPTIMIZERS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_the_help_is_markup(name: str) -> None:
    command = COMMANDS[name]
    helps = [getattr(parameter, "help", None) or "" for parameter in command.params]
    for written in (inspect.cleandoc(command.help), *helps):
        assert Text.from_markup(written).plain == written


def test_help_names_what_there_is() -> None:
    assert list(ACTIVATIONS) == list(ACTIVATION_NAMES)
    assert list(INITIALIZERS) == list(INITIALIZER_NAMES)
    assert set(OPTIMIZERS) >= set(OPTIMIZER_NAMES) - {"adafactor"}  # torch 2.5 has it


@pytest.mark.parametrize(
    ("command", "option", "last"),
    [
        ("diagnose", "act", "or logsigmoid; relu unless given, tanh in rnn."),
        ("diagnose", "init", "or orthogonal."),
        ("diagnose", "optimizer", "rprop or adafactor. Unless"),
        ("clip", "optimizer", "rprop or adafactor."),
        ("lr", "optimizer", "rprop or adafactor."),
        ("benchmark", "act", "or logsigmoid. Default"),
        ("eval", "act", "or logsigmoid."),
        ("plot", "acts", "or logsigmoid."),
    ],
)
def test_an_option_names_its_values(command: str, option: str, last: str) -> None:
    (parameter,) = [p for p in COMMANDS[command].params if p.name == option]
    assert last in parameter.help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_two_examples(name: str, run: Any) -> None:
    shown = run(name, "--help").stdout.rstrip().splitlines()
    (title,) = [number for number, line in enumerate(shown) if line == " Examples"]
    typed = [line.strip() for line in shown[title + 1 :] if line.startswith("   gradflow ")]
    assert typed == [f"gradflow {example}" for example in EXAMPLES[name]]
    assert len(typed) == 2
    assert all(line == line.rstrip() for line in shown[title:])


@pytest.mark.parametrize("typed", [*(e for own in EXAMPLES.values() for e in own), *FIRST])
def test_an_example_is_what_its_command_takes(typed: str) -> None:
    name, *arguments = shlex.split(typed)
    COMMANDS[name].make_context(name, arguments)


CHEAP = [e for name in ("eval", "chain", "theory", "explain", "plot") for e in EXAMPLES[name]]


@pytest.mark.parametrize("typed", CHEAP)
def test_an_example_runs(typed: str, run: Any) -> None:
    result = run(*shlex.split(typed))
    assert result.exit_code == 0, result.output


def test_alone_it_says_what_to_try_first(run: Any) -> None:
    shown = run().stdout
    assert shown.index("Commands") < shown.index("Try first")
    assert all(f"gradflow {typed}" in shown for typed in FIRST)
