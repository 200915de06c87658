"""What is added in its one place shows in help, completion, views and behaviour."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn

from gradflow.activations import ACTIVATIONS, activation
from gradflow.benchmarking import grid
from gradflow.benchmarking.networks import classifiers
from gradflow.cli.app import COMMANDS
from gradflow.cli.options import expand_configs
from gradflow.cli.output import Output
from gradflow.clipping import policies, tasks
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.chain import ChainConfig
from gradflow.configs.classifiers import CLASSIFIERS, Classifier
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.fields import option, several
from gradflow.configs.network import NetworkConfig
from gradflow.configs.policies import POLICIES, Policy
from gradflow.configs.tasks import TASKS, Task
from gradflow.configs.theory import TheoryConfig
from gradflow.networks.architectures import build
from gradflow.networks.initialization import initializer
from gradflow.networks.losses import loss_function
from gradflow.report.figures.clip import policy_tints
from gradflow.report.writers import WRITERS
from gradflow.results.base import Result, column
from gradflow.results.benchmark import Setting, labels
from gradflow.training import devices, optimizers, trainer

Run = Callable[..., Any]
CPU = torch.device("cpu")


def parameters(command: Callable[..., None]) -> dict[str, Any]:
    """Return the options of a command by name, made anew from its configs."""
    app = typer.Typer()
    app.command()(expand_configs(command))
    return {parameter.name: parameter for parameter in typer.main.get_command(app).params}


def offered(parameter: Any, incomplete: str = "") -> list[str]:
    """Return what a shell would offer for an option."""
    command = typer.main.get_command(typer.Typer(callback=lambda: None))
    context = command.make_context("gradflow", [], resilient_parsing=True)
    return [item.value for item in parameter.shell_complete(context, incomplete)]


# Completion offers what the code takes, and all of it


def _classifier(name: str) -> nn.Module:
    return classifiers.classifier(name, activation("relu"), (28, 28), 10, dropout="0", init="keras")


def _initialised(name: str) -> nn.Module:
    return classifiers.classifier("mlp", activation("relu"), (2, 2), 2, dropout="0", init=name)


def _network(**options: Any) -> nn.Module:
    return build(NetworkConfig(depth=1, width=4, **options), 4, 2, torch.float32, CPU)


#: (command, option) -> what looks its name up.
TAKERS: dict[tuple[str, str], Callable[[str], object]] = {
    ("chain", "act"): activation,
    ("diagnose", "act"): activation,
    ("benchmark", "act"): activation,
    ("eval", "act"): activation,
    ("plot", "acts"): activation,
    ("diagnose", "arch"): lambda name: _network(arch=name),
    ("diagnose", "init"): initializer,
    ("diagnose", "norm"): lambda name: _network(norm=name),
    ("diagnose", "norm_position"): lambda name: _network(norm_position=name),
    ("diagnose", "loss"): loss_function,
    ("diagnose", "dtype"): devices.dtype,
    ("clip", "policy"): lambda name: policies.clipping(name, 1.0),
    ("clip", "task"): tasks.task,
    ("clip", "optimizer"): optimizers.find,
    ("clip", "nonfinite"): lambda name: policies.clip_gradients(lambda _: None, [], name),
    ("benchmark", "arch"): _classifier,
    ("benchmark", "init"): _initialised,
    ("benchmark", "optimizer"): optimizers.find,
    ("benchmark", "precision"): lambda name: trainer.check_precision(name, torch.device("cuda")),
}
#: What names are looked up in, where that is a table.
TABLES: dict[tuple[str, str], Any] = {
    ("plot", "acts"): ACTIVATIONS,
    ("clip", "policy"): POLICIES,
    ("clip", "task"): TASKS,
    ("clip", "optimizer"): optimizers.OPTIMIZERS,
    ("benchmark", "arch"): CLASSIFIERS,
}


@pytest.mark.parametrize(("command", "name"), TAKERS)
def test_completion_offers_names_that_the_code_takes(command: str, name: str) -> None:
    take = TAKERS[command, name]
    names = offered(parameters(COMMANDS[command])[name])
    assert len(names) > 1
    for known in names:
        take(known)
    with pytest.raises(Exception, match="nonsense"):
        take("nonsense")


@pytest.mark.parametrize(("command", "name"), TABLES)
def test_completion_offers_every_name_that_there_is(command: str, name: str) -> None:
    assert offered(parameters(COMMANDS[command])[name]) == list(TABLES[command, name])


def test_completion_goes_by_the_first_letters() -> None:
    assert offered(parameters(COMMANDS["eval"])["act"], "ge") == ["gelu", "gelu-erf"]
    assert offered(parameters(COMMANDS["diagnose"])["device"], "cu") == ["cuda"]


@pytest.mark.parametrize(
    "config", [BenchmarkConfig, ChainConfig, ClipConfig, NetworkConfig, TheoryConfig, Output]
)
def test_defaults_are_among_the_names_and_help_has_no_gap(config: Any) -> None:
    def command(config: Any) -> None:
        """Do nothing."""

    command.__annotations__["config"] = config
    for parameter in parameters(command).values():
        assert "{" not in (parameter.help or "")
        names = offered(parameter) if parameter._custom_shell_complete else []
        given = [value for value in several(parameter.default) if value]
        assert not names or set(given) <= set(names), parameter.name


# One entry is enough


def test_a_policy_is_one_entry(run_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def halve(_: float) -> Any:
        def clip(layers: Any) -> None:
            for parameter in (p for layer in layers for p in layer):
                parameter.grad.mul_(0.5)

        return clip

    monkeypatch.setattr(policies, "halve", halve, raising=False)
    entry = Policy("gradflow.clipping.policies:halve", "every entry by two", 1.0)
    monkeypatch.setitem(POLICIES, "halve", entry)
    policy = parameters(COMMANDS["clip"])["policy"]
    assert " or halve;" in policy.help
    assert offered(policy, "ha") == ["halve"]
    small = ("--depth", "2", "--width", "8", "--steps", "0", "--device", "cpu")
    (row,) = run_json("clip", *small, "--policy", "halve")["rows"]
    assert row["norm_after"] == pytest.approx(row["norm_before"] / 2, rel=1e-6)
    tints = policy_tints(list(POLICIES))
    assert len(set(tints.values())) == len(POLICIES)


def test_a_task_is_one_entry(run_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Task("gradflow.clipping.tasks:described", "hardly a network", {"depth": 1, "width": 3})
    monkeypatch.setitem(TASKS, "tiny", entry)
    task = parameters(COMMANDS["clip"])["task"]
    assert "or tiny (hardly a network)" in task.help
    assert offered(task, "ti") == ["tiny"]
    document = run_json("clip", "--task", "tiny", "--steps", "0", "--policy", "none")
    assert len({layer["index"] for layer in document["layers"]}) == 2


def test_an_optimizer_is_one_entry(
    run_json: Run, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Halted(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            """Change nothing."""

    monkeypatch.setitem(optimizers.OPTIMIZERS, "halted", Halted)
    for command in ("clip", "benchmark"):
        assert offered(parameters(COMMANDS[command])["optimizer"], "ha") == ["halted"]
    small = ("--depth", "2", "--width", "8", "--steps", "3", "--device", "cpu")
    document = run_json("clip", *small, "--policy", "none", "--optimizer", "halted")
    assert len({row["loss"] for row in document["history"]}) == 1


def test_a_classifier_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def single(_: Any, shape: tuple[int, int], classes: int, __: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], classes))

    monkeypatch.setattr(classifiers, "single", single, raising=False)
    entry = Classifier("gradflow.benchmarking.networks.classifiers:single", (0, 0), "one layer")
    monkeypatch.setitem(CLASSIFIERS, "single", entry)
    arch = parameters(COMMANDS["benchmark"])["arch"]
    assert "or single (one layer)" in arch.help
    assert offered(arch, "si") == ["single"]
    assert len(_classifier("single")) == 2
    (setting,) = grid.settings(BenchmarkConfig(act="relu", arch="single"))
    assert (setting.arch, setting.dropout) == ("single", "0/0")


def test_an_activation_has_the_colour_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradflow.report.style import DASHES, MORE, PALETTE, colour, dashes

    mine = dataclasses.replace(ACTIVATIONS["tanh"], name="mine")
    monkeypatch.setitem(ACTIVATIONS, "mine", mine)
    place = len(ACTIVATIONS) - 1
    tints = PALETTE + MORE
    assert colour("mine") == tints[place % len(tints)]
    assert dashes("mine") == DASHES[place // len(PALETTE) % len(DASHES)]
    assert offered(parameters(COMMANDS["plot"])["acts"], "mi") == ["mish", "mine"]


def test_an_output_format_is_one_entry(
    run: Run, refused: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(result: Result, path: Path) -> None:
        path.write_text(result.title)

    monkeypatch.setitem(WRITERS, ".txt", write)
    for command in COMMANDS.values():
        assert ".md or .txt." in parameters(command)["output"].help
    done = run("eval", "relu", "--at", "1", "-o", "out.txt")
    assert done.exit_code == 0, done.stderr
    assert Path("out.txt").read_text() == done.stdout.splitlines()[0].rstrip()
    assert ".md .txt" in refused("eval", "relu", "--at", "1", "-o", "out.doc")


@dataclass(frozen=True, kw_only=True)
class LaterSetting(Setting):
    """A setting with one more axis."""

    momentum: float = column("momentum", varied=True, default=0.9)


@dataclass(frozen=True)
class LaterConfig(BenchmarkConfig):
    """A config with an option for it."""

    momentum: tuple[float, ...] | float = option((0.9,), "Momenta.", several=float)


def test_an_axis_of_the_grid_is_one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "Setting", LaterSetting)
    monkeypatch.setattr("gradflow.results.benchmark.Setting", LaterSetting)
    found: Any = grid.settings(LaterConfig(act=("relu", "elu"), momentum=(0.5, 0.9)))
    assert [(s.momentum, s.activation) for s in found] == [
        (0.5, "relu"),
        (0.5, "elu"),
        (0.9, "relu"),
        (0.9, "elu"),
    ]
    assert list(labels(found).values()) == [
        f"{act}, momentum {momentum}" for momentum in (0.5, 0.9) for act in ("relu", "elu")
    ]
