"""`width`: the coordinate check, its verdict, and the multipliers that repair it."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.configs.width import WidthConfig, WidthNetwork
from gradflow.errors import GradflowError
from gradflow.results.base import Result
from gradflow.results.width import WidthResult, WidthRow
from gradflow.widths.campaign import Task, train_task
from gradflow.widths.coordinates import Moved
from gradflow.widths.parameters import growths, held_by, snapped
from gradflow.widths.repair import apply, lines, parameter_rows
from gradflow.widths.rows import slope
from gradflow.widths.run import of_config
from gradflow.widths.subjects import BuiltIn

INPUTS, LABELS = torch.randn(32, 16, generator=torch.Generator().manual_seed(0)), torch.arange(32)
MODEL = """
import torch
from torch import nn

def build(width):
    layers = nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(width, 10))

def same(width):
    return nn.Linear(16, 8)

def deeper(width):
    hidden = [nn.Linear(width, width)] * (width > 20)
    return nn.Sequential(nn.Linear(16, width), *hidden, nn.Linear(width, 10))

def unlucky(width):
    if width == 32:
        raise ValueError("32 heads do not divide it")
    return build(width)

def own(width):
    model = build(width)
    return model, torch.optim.AdamW(model.parameters(), lr=3e-3)

module = nn.Linear(16, 10)

def plain():
    return module
"""


def mlp(width: int, bias: bool = True) -> nn.Module:
    layers = nn.Linear(16, width, bias), nn.ReLU(), nn.Linear(width, width, bias), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(width, 10, bias))


def checked(build: Any, **options: Any) -> WidthResult:
    options = {"widths": (16, 64, 256), "seeds": 3, "steps": 2} | options
    return gradflow.width(build, INPUTS, LABELS % 10, **options)


def row(result: WidthResult, name: str) -> WidthRow:
    return next(row for row in result.records if row.name == name)


def powers(result: WidthResult) -> dict[str, tuple[float, float]]:
    return {p.name: (p.initial_power, p.rate_power) for p in result.parameters}


@pytest.fixture(scope="module")
def published() -> WidthResult:
    """The setting of Yang et al. (2022): Adam, and torch's own parametrisation."""
    return of_config(
        WidthNetwork(depth=2, seeds=4), WidthConfig(widths=(64, 128, 256, 512, 1024), steps=2)
    )


def test_adam_moves_hidden_layers_and_logits_as_published(published: WidthResult) -> None:
    hidden, output = row(published, "hidden2.linear"), row(published, "output")
    assert hidden.slope == pytest.approx(0.85, abs=0.07)  # published: 0.8 to 0.9
    assert output.slope == pytest.approx(1.1, abs=0.17)  # 0.9 to 1.2
    assert abs(row(published, "hidden1.linear").slope or 1) < 0.1
    assert [r.judged for r in published.records] == ["pass", "fail", "fail"]
    assert published.verdict == "width"


def test_the_repaired_network_passes(published: WidthResult) -> None:
    for layer in published.records:
        assert layer.repaired_slope == pytest.approx(0.0, abs=0.1)
        assert layer.repaired_judged == "pass"
    assert published.repaired()
    assert "repaired, all pass" in published.title


def test_the_multipliers_are_those_of_table_3(published: WidthResult) -> None:
    found = powers(published)
    assert found["hidden1.linear.weight"] == (0, 0)
    assert found["hidden2.linear.weight"] == (0, -1)
    assert found["output.weight"] == (-0.5, -1)
    assert published.parameters[-2].rate == pytest.approx(1 / 16)


def test_a_layer_that_does_not_grow_with_width_is_not_changed_at_the_base(
    published: WidthResult,
) -> None:
    before, after = (
        [p.change for p in published.coordinates if p.width == 64 and p.repaired is repaired]
        for repaired in (False, True)
    )
    assert before == after


def test_gradient_descent_has_other_rates() -> None:
    result = checked(mlp, optimizer="sgd", lr=0.1, widths=(32, 128, 512), seeds=3)
    assert (row(result, "0").slope or 0) < -0.3
    found = powers(result)
    assert found["0.weight"] == (0, 1)
    assert found["2.weight"] == (0, 0)
    assert found["4.weight"] == (-0.5, -1)
    assert all(abs(r.repaired_slope or 1) < 0.15 for r in result.records)


def test_the_printed_lines_run_and_are_what_was_tried() -> None:
    result = checked(mlp)

    def repaired(width: int) -> Any:
        model = mlp(width)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        names: dict[str, Any] = {}
        exec(result.torch, names)
        names["repair"](model, optimizer, width)
        return model, optimizer

    again = checked(repaired)
    assert [r.slope for r in again.records] == [r.repaired_slope for r in result.records]
    assert again.torch == ""


def test_a_task_gives_the_same_numbers_wherever_it_is_unpacked() -> None:
    task = Task(BuiltIn(WidthNetwork(depth=2)), WidthConfig(widths=(8, 16), steps=1), 8, 3)
    assert train_task(pickle.loads(pickle.dumps(task))) == train_task(task)


def test_a_result_can_be_read_again(published: WidthResult, tmp_path: Path) -> None:
    path = tmp_path / "width.json"
    published.save(path)
    assert Result.from_dict(json.loads(path.read_text())) == published


def run(tmp_path: Path, name: str, *options: str) -> Any:
    file = tmp_path / "networks.py"
    file.write_text(MODEL)
    arguments = ["width", "--model", f"{file}:{name}", "--input-shape", "16", "--seeds", "3"]
    return CliRunner().invoke(
        app, [*arguments, "--widths", "16,32,128", "--steps", "1", "--batch-size", "8", *options]
    )


def test_a_factory_in_a_file(tmp_path: Path) -> None:
    target = tmp_path / "repair.py"
    found = run(tmp_path, "build", "--json", "--fail-on", "width", "--apply", str(target))
    assert found.exit_code == 1
    document = json.loads(found.stdout)
    assert document["verdict"] == "width"
    assert [r["role"] for r in document["rows"]] == ["input", "hidden", "output"]
    names: dict[str, Any] = {}
    exec(target.read_text(), names)
    assert callable(names["repair"])


def test_an_optimizer_that_a_factory_returns_is_trained_with(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "own", "--json").stdout)
    assert (document["optimizer"], document["lr"]) == ("adamw", 3e-3)
    assert '"weight_decay"' in document["torch"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("same", "the width is not used"),
        ("module", "is no function of the width"),
        ("plain", "cannot be called with a width alone"),
        ("nothing", "unknown name"),
    ],
)
def test_what_is_no_factory_of_widths_is_refused(tmp_path: Path, name: str, said: str) -> None:
    found = run(tmp_path, name)
    assert found.exit_code == 2
    assert said in found.stderr


def test_layers_at_some_widths_alone_are_named(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "deeper", "--json").stdout)
    (finding,) = (f for f in document["findings"] if f["code"] == "uncovered")
    assert "2" in finding["message"]


def test_a_width_at_which_nothing_can_be_built_is_named_once(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "unlucky", "--json").stdout)
    failed = [f["message"] for f in document["findings"] if f["code"] == "unjudged"]
    assert len(failed) == 2  # and once of the repaired
    assert "width 32, seed 0, 1, 2: not trained" in failed[0]
    assert "32 heads" in failed[0]
    assert document["widths"] == [16, 128]


def test_names_that_no_two_widths_share_leave_nothing_to_judge() -> None:
    def build(width: int) -> nn.Module:
        model = nn.Sequential()
        model.add_module(f"of {width}", nn.Linear(16, width))
        return model.append(nn.Linear(width, 10))

    result = checked(build, seeds=1)
    assert row(result, "of 16").judged is None


def test_seeds_that_do_not_agree_are_no_pass() -> None:
    result = checked(mlp, widths=(16, 32), seeds=2)
    assert result.verdict == "unjudged"
    assert "do not agree" in " ".join(f.message for f in result.findings)


def test_an_unknown_optimizer_has_no_multipliers() -> None:
    class Signs(torch.optim.Optimizer):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, {"lr": 1e-3})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for p in self.param_groups[0]["params"]:
                p.sub_(1e-3 * p.grad.sign())

    def build(width: int) -> Any:
        model = mlp(width)
        return model, Signs(model.parameters())

    result = checked(build)
    assert result.verdict == "width"
    assert result.torch == ""
    assert "signs" in result.findings[0].advice


def test_ctrl_c_keeps_what_was_trained() -> None:
    made = []

    def build(width: int) -> nn.Module:
        made.append(width)
        if len(made) == 5:
            raise KeyboardInterrupt
        return mlp(width)

    result = checked(build)
    assert {"interrupted"} <= {f.code for f in result.findings}
    assert len(result.records) == 3
    assert result.torch == ""


def test_a_tied_readout_is_divided() -> None:
    class Tied(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table = nn.Embedding(20, width)
            self.head = nn.Linear(width, 20, bias=False)
            self.head.weight = self.table.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(tokens))

    (growth,) = growths([(w, held_by(Tied(w))) for w in (16, 64)])
    assert (growth.role, growth.readouts) == ("input", ("head",))
    model = Tied(64)
    tokens = torch.arange(20)
    rows = parameter_rows([growth], "adam", 4)
    before = model(tokens)
    optimizer = torch.optim.Adam(model.parameters())
    apply(lines(rows, growth.readouts, 16, "adam"), model, optimizer, 64)
    assert torch.allclose(model(tokens), before / 4)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 1e-3), ("sgd", 0.1)])
def test_a_tied_readout_moves_alike_once_divided(optimizer: str, lr: float) -> None:
    class Tied(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(32, width), nn.LayerNorm(width)
            self.hidden, self.head = nn.Linear(width, width), nn.Linear(width, 32, bias=False)
            nn.init.normal_(self.table.weight, std=0.02)  # GPT-2's
            self.head.weight = self.table.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            state = self.table(tokens)
            outputs: torch.Tensor = self.head(self.norm(state + self.hidden(state).relu()))
            return outputs.flatten(0, 1)

    draw = torch.Generator().manual_seed(0)
    tokens, targets = (torch.randint(32, (4, 8), generator=draw) for _ in range(2))
    result = gradflow.width(
        Tied,
        tokens,
        targets.flatten(),
        loss=nn.functional.cross_entropy,
        widths=(64, 128, 256),
        optimizer=optimizer,
        lr=lr,
    )
    rows = {row.name: row for row in result.records}
    assert rows["head"].judged == "fail"
    assert rows["head"].slope is not None
    assert rows["head"].slope > 0.5
    assert {row.repaired_judged for row in result.records} == {"pass"}
    assert rows["head"].repaired_slope == pytest.approx(0.0, abs=0.1)


def test_weights_drawn_without_their_fan_in_are_brought_to_it() -> None:
    def fixed(width: int) -> nn.Module:
        model = mlp(width, bias=False)
        for p in model.parameters():
            nn.init.normal_(p, std=0.1)
        return model

    found = growths([(w, held_by(fixed(w))) for w in (64, 256)])
    rows = {r.name: r for r in parameter_rows(found, "adam", 4)}
    assert rows["2.weight"].initial_power == -0.5
    assert rows["4.weight"].initial_power == -1
    assert (rows["0.weight"].initial_power, rows["0.weight"].rate_power) == (0, 0)


def test_convolutions_and_their_transposes_know_their_inputs() -> None:
    def build(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.BatchNorm2d(width),
            nn.ConvTranspose2d(width, 5, 3),
            nn.Conv2d(width, width, 3, groups=width),
        )

    found = {g.name: g.role for g in growths([(w, held_by(build(w))) for w in (8, 32)])}
    assert found["0.weight"] == "input"
    assert found["1.weight"] == "input"
    assert found["2.weight"] == "output"
    assert found["3.weight"] == "input"  # a channel has 9 inputs at every width


def test_a_slope_is_exact_on_a_power_law() -> None:
    layers = {
        (w, s): Moved("l", "Linear", "", (1.0,), ((1 + s) * w**0.5,))
        for w in (8, 16)
        for s in (0, 1)
    }
    found = slope(layers, lambda layer: layer.changes[0])
    assert found is not None
    assert found == pytest.approx((0.5, 0.5, 0.5))
    layers[8, 0] = Moved("l", "Linear", "", (1.0,), (0.0,))
    layers[8, 1] = Moved("l", "Linear", "", (1.0,), (math.inf,))
    assert slope(layers, lambda layer: layer.changes[0]) is None


def test_powers_are_halves_where_they_are_near_one() -> None:
    assert [snapped(p) for p in (0.97, -0.55, 0.04, 0.3)] == [1.0, -0.5, 0.0, 0.3]


@pytest.mark.parametrize("widths", [(64,), (64, 64), (64, 100)])
def test_widths_that_say_nothing_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(GradflowError, match="--widths needs"):
        WidthConfig(widths=widths)
