"""One entry adds an architecture, an activation, an initialiser or a loss; the rest follows."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from typer.testing import CliRunner

from gradflow.activations import ACTIVATIONS, Activation
from gradflow.cli.app import COMMANDS, app
from gradflow.cli.options import expand_configs
from gradflow.configs.architectures import ARCHITECTURES, Architecture
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import listed
from gradflow.networks.initialization import INITIALIZERS, Initializer
from gradflow.networks.layers import ReplicatedLinear
from gradflow.networks.losses import LOSSES, Loss

RunJson = Callable[..., dict[str, Any]]


def bottleneck(
    config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype
) -> nn.Sequential:
    """Two dense layers, the second narrower."""
    narrow = max(1, config.width // 2)
    sizes = [inputs, config.width, narrow, outputs]
    names = ("wide", "narrow", "output")
    layers = [ReplicatedLinear(config.seeds, i, o, dtype) for i, o in itertools.pairwise(sizes)]
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


BOTTLENECK = Architecture(
    "a bottleneck", f"{__name__}:bottleneck", depth="stages", act="elu", residual="none"
)


def offered(command: str, option: str, start: str) -> list[str]:
    """What the shell offers for an option of a command."""
    group: Any = typer.main.get_command(app)
    found = group.commands[command]
    context = found.make_context(command, [], resilient_parsing=True)
    parameter = next(p for p in found.params if p.name == option)
    return [item.value for item in parameter.shell_complete(context, start)]


@pytest.fixture
def with_bottleneck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    monkeypatch.setitem(ARCHITECTURES, "bottleneck", BOTTLENECK)


def _this() -> Any:
    """This file as a module: pytest's importlib mode need not have one of this name."""
    module = type(sys)(__name__)
    module.__dict__["bottleneck"] = bottleneck
    return module


@pytest.mark.usefixtures("with_bottleneck")
def test_a_new_architecture_is_measured_and_completed(run: Any, run_json: RunJson) -> None:
    assert "bottleneck" not in offered("diagnose", "arch", "m")
    assert offered("diagnose", "arch", "bo") == ["bottleneck"]
    options = ("diagnose", "--arch", "bottleneck", "--width", "8", "--no-remedies")
    assert [row["name"] for row in run_json(*options)["rows"]] == ["wide", "narrow", "output"]
    assert "narrow" in run(*options, width=120).stdout


@pytest.mark.usefixtures("with_bottleneck")
def test_a_new_architecture_refuses_what_its_entry_says(refused: Any) -> None:
    said = refused("diagnose", "--arch", "bottleneck", "--residual")
    assert "--residual does not apply to --arch bottleneck" in said


@pytest.mark.usefixtures("with_bottleneck")
def test_a_new_architecture_is_in_the_help() -> None:
    made_anew = typer.Typer()
    made_anew.command()(expand_configs(COMMANDS["diagnose"]))
    env = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    shown = CliRunner().invoke(made_anew, ["--help"], env=env).stdout
    words = " ".join(shown.replace("│", " ").split())
    assert "transformer or bottleneck." in words
    assert "stages of bottleneck" in words
    assert "elu in bottleneck" in words


def test_a_new_activation_is_completed_listed_and_drawn(
    run: Any, run_json: RunJson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def bell(x: np.ndarray) -> np.ndarray:
        return np.exp(-(np.minimum(np.abs(x), 40.0) ** 2))

    entry = Activation(
        "bell",
        "e^(−x²)",
        "−2x·e^(−x²)",
        bell,
        lambda x: -2 * np.clip(x, -40, 40) * bell(x),
        (0.0, 1.0),
        "Identity",
        brackets="(]",
        monotonic=False,
    )
    monkeypatch.setitem(ACTIVATIONS, "bell", entry)
    assert offered("diagnose", "act", "be") == ["bell"]
    rows = {row["name"]: row for row in run_json("activations")["rows"]}
    assert rows["bell"]["max_slope"] == pytest.approx(np.sqrt(2 / np.e))
    picture = tmp_path / "bell.svg"
    assert run("plot", "bell", "relu", "-o", str(picture)).exit_code == 0
    assert picture.stat().st_size > 0


def test_a_new_initialiser_is_completed_and_drawn_from(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INITIALIZERS, "tiny", Initializer(lambda fan_in, _: 1e-4 / fan_in))
    assert offered("diagnose", "init", "ti") == ["tiny"]
    small = run_json("diagnose", "--init", "tiny", "--depth", "3", "--no-remedies")
    usual = run_json("diagnose", "--init", "lecun-normal", "--depth", "3", "--no-remedies")
    variances = [document["rows"][0]["activation_variance"] for document in (small, usual)]
    assert variances[0] == pytest.approx(1e-4 * variances[1], rel=1e-3)


def test_a_new_loss_is_completed_and_measured(
    run_json: RunJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linear(logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.gather(2, labels.expand(len(logits), -1).unsqueeze(2)).squeeze(2)

    monkeypatch.setitem(LOSSES, "linear", Loss(linear, lambda _: 0.0))
    assert offered("diagnose", "loss", "li") == ["linear"]
    rows = run_json("diagnose", "--loss", "linear", "--depth", "2", "--no-remedies")["rows"]
    # δ at the output is −1 at the label and 0 elsewhere: an rms of √(1/10).
    assert rows[-1]["delta_log10_rms"] == pytest.approx(-0.5, abs=1e-6)
    assert rows[-1]["predicted_delta_log10_rms"] is None


def test_the_help_of_losses_names_them_all() -> None:
    """Their registry needs torch, which --help does not import: here it is compared."""
    losses = next(f for f in dataclasses.fields(NetworkConfig) if f.name == "loss")
    assert losses.metadata["option"].help == f"{listed(LOSSES)}."
