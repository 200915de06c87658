"""For which optimizer a network is sick, and what else stops it than the flow over depth."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.diagnosis.checks.decades import together
from gradflow.errors import GradflowError
from gradflow.findings.thresholds import (
    ADAPTIVE,
    DISAGREEING_LOSS,
    HOPELESS_LOSS,
    PLAIN,
    of_a_run,
    tolerances,
)
from gradflow.findings.words import graded
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.training.optimizers import OPTIMIZERS


def batch(width: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, width, generator=generator), torch.arange(64) % 10


def stack(hidden: int, gain: float) -> nn.Sequential:
    """Tanh layers through which δ shrinks by about `gain` a layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(hidden):
        layers += [nn.Linear(32, 32), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, 0, gain * 32**-0.5)
    return nn.Sequential(*layers, nn.Linear(32, 10))


def severities(result: DiagnosisResult, code: str) -> list[str]:
    return [f.severity for f in result.findings if f.code == code]


#: Shrinks by 3 decades over its six layers: too much for SGD (3.0), not for Adam (4.0).
FADED = (6, 0.31)


@pytest.mark.parametrize(
    ("optimizer", "verdict", "severity"),
    [(None, "healthy", ["warning"]), ("sgd", "vanishing", ["error"]), ("adam", "healthy", [])],
)
def test_what_adam_copes_with_is_sick_for_sgd_alone(
    optimizer: str | None, verdict: str, severity: list[str]
) -> None:
    result = gradflow.diagnose(stack(*FADED), *batch(), optimizer=optimizer)
    assert result.verdict == verdict
    assert severities(result, "vanishing") == severity
    assert result.facts.optimizer == optimizer


def test_what_neither_trains_is_an_error_for_all() -> None:
    verdicts = {
        gradflow.diagnose(stack(12, 0.2), *batch(), optimizer=o).verdict
        for o in (None, "sgd", "adam", "rmsprop")
    }
    assert verdicts == {"vanishing"}


def test_a_warning_says_for_whom_and_how_near_it_is() -> None:
    result = gradflow.diagnose(stack(*FADED), *batch())
    (found,) = [f for f in result.findings if f.code == "vanishing"]
    assert found.message.endswith("SGD hardly trains this, Adam copes")
    assert "near the threshold of 3.0" in found.message
    assert result.title.endswith("of the gradient; SGD hardly trains this")
    with_adam = gradflow.diagnose(stack(*FADED), *batch(), optimizer="adam")
    assert with_adam.title.endswith("of the gradient")
    far = gradflow.diagnose(stack(12, 0.2), *batch())
    assert "near" not in far.findings[0].message


def test_a_built_in_network_is_judged_for_sgd_unless_another_is_named() -> None:
    config = gradflow.NetworkConfig(depth=7, act="sigmoid", init="he-normal", batch_size=32)
    default, adam = gradflow.diagnose(config), gradflow.diagnose(config, optimizer="adam")
    assert default.verdict == gradflow.diagnose(config, optimizer="sgd").verdict == "vanishing"
    assert adam.verdict == "healthy"
    assert default.meta.config == adam.meta.config


def test_remedies_are_judged_for_the_optimizer_that_is_named() -> None:
    config = gradflow.NetworkConfig(depth=12, act="sigmoid", width=32, batch_size=32)
    rows = gradflow.diagnose(config, remedies=True, optimizer="adam").remedies
    assert any(row.verdict == "healthy" for row in rows)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(GradflowError, match="adm"):
        gradflow.diagnose(stack(2, 1.0), *batch(), optimizer="adm")


def test_the_command_takes_an_optimizer() -> None:
    command = ["diagnose", "--depth", "7", "--act", "sigmoid", "--init", "he-normal"]
    options = ["--no-remedies", "--fail-on", "vanishing", "--json"]
    assert CliRunner().invoke(app, [*command, *options]).exit_code == 1
    assert CliRunner().invoke(app, [*command, *options, "--optimizer", "adam"]).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--optimizer", "adm"]).exit_code == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_is_of_one_kind(name: str) -> None:
    assert tolerances(name) in ((PLAIN, PLAIN), (ADAPTIVE, ADAPTIVE))


def test_a_watched_run_with_sgd_is_judged_as_one_of_unknown_length() -> None:
    assert of_a_run("SGD") is None
    assert of_a_run(None) is None
    assert of_a_run("AdamW") == "AdamW"


@pytest.mark.parametrize(
    ("value", "optimizer", "severity"),
    [
        (2.0, None, None),
        (2.5, None, "warning"),
        (2.5, "sgd", "error"),
        (2.5, "adam", None),
        (4.0, None, "error"),
        (4.0, "adam", "error"),
    ],
)
def test_grades(value: float, optimizer: str | None, severity: str | None) -> None:
    found = graded(value, lambda tolerance: tolerance.bearable_decades(13), optimizer)
    assert (None if found is None else found.severity) == severity


class Remembers(nn.Module):
    """An LSTM that answers from its last state, many blank steps behind what it read."""

    def __init__(self, forget: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)
        with torch.no_grad():
            self.cell.bias_ih_l0[16:32] = forget

    def forward(self, x: Tensor) -> Tensor:
        blank = torch.zeros(len(x), 40, 8)
        return self.head(self.cell(torch.cat([x.view(len(x), 4, 8), blank], 1))[0][:, -1])


def test_outputs_that_are_the_same_for_every_example_are_a_collapse() -> None:
    forgets = gradflow.diagnose(Remembers(-2.0), *batch())
    keeps = gradflow.diagnose(Remembers(5.0), *batch())
    assert severities(forgets, "collapse") == ["error"]
    assert severities(keeps, "collapse") == []


def test_a_head_that_starts_at_0_is_no_collapse() -> None:
    model = stack(2, 1.0)
    nn.init.zeros_(model[-1].weight)
    result = gradflow.diagnose(model, *batch())
    assert (result.verdict, severities(result, "collapse")) == ("healthy", [])


class Across(nn.Module):
    """A deep path through which next to nothing comes, with or without a way across it."""

    def __init__(self, across: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.across = nn.Sequential(nn.Linear(32, 32), nn.Tanh()), across
        self.deep = nn.Sequential(*list(stack(8, 0.15))[:-1])
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.head(torch.cat([self.deep(h), h if self.across else 0 * h], 1))


def test_a_gradient_that_goes_around_the_deep_path_is_a_warning() -> None:
    around, through = (gradflow.diagnose(Across(across), *batch()) for across in (True, False))
    assert severities(around, "vanishing") == ["warning"]
    assert "by another way" in next(f.message for f in around.findings if f.code == "vanishing")
    assert severities(through, "vanishing") == ["error"]


def loud(scale: float, outputs: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs))
    with torch.no_grad():
        model[-1].weight.mul_(scale)
    return model


@pytest.mark.parametrize(("scale", "severity"), [(1.0, []), (50.0, ["warning"]), (1e5, ["error"])])
def test_a_first_loss_far_above_a_constants_is_an_error(scale: float, severity: list[str]) -> None:
    result = gradflow.diagnose(loud(scale), *batch())
    assert severities(result, "initial-loss") == severity
    above = [c.first_loss / c.constant_loss >= HOPELESS_LOSS for c in result.facts.batch.criteria]
    assert above == [severity == ["error"]]


@pytest.mark.parametrize(
    ("model", "targets", "code"),
    [
        (lambda: loud(300.0, 1), lambda y: y, "initial-loss"),
        (lambda: loud(1.0, 1), lambda y: 1000 * y, "targets"),
        (lambda: loud(1.0, 1), lambda y: y + 100.0, None),
        (lambda: loud(1.0, 1), lambda y: y, None),
    ],
)
def test_outputs_and_targets_of_other_sizes(
    model: Callable[[], nn.Module], targets: Callable[[Tensor], Tensor], code: str | None
) -> None:
    wanted: Any = targets(torch.randn(64, 1, generator=torch.Generator().manual_seed(2)))
    result = gradflow.diagnose(model(), batch()[0], wanted, loss=F.mse_loss)
    errors = [f.code for f in result.findings if f.severity == "error"]
    assert errors == ([] if code is None else [code])


def test_what_delta_and_the_difference_between_examples_lose_counts_together() -> None:
    both = gradflow.diagnose(stack(5, 0.4), *batch(), optimizer="sgd")
    assert [f.code for f in both.findings if f.severity == "error"] == ["vanishing"]
    message = next(f.message for f in both.findings if f.code == "vanishing")
    assert re.search(r"shrinks by 2.0 decades .* 10\^1.6: together 3.6", message)
    assert gradflow.diagnose(stack(5, 0.4), *batch(), optimizer="adam").verdict == "healthy"
    assert gradflow.diagnose(stack(5, 0.6), *batch(), optimizer="sgd").verdict == "healthy"


def test_delta_that_shrinks_is_bearable_for_adam_where_scores_differ() -> None:
    layers = stack(9, 0.35)
    assert gradflow.diagnose(layers, *batch(), optimizer="adam").verdict == "healthy"
    numbers = torch.randn(64, 10, generator=torch.Generator().manual_seed(2))
    of_numbers = gradflow.diagnose(layers, batch()[0], numbers, loss=F.mse_loss, optimizer="adam")
    assert of_numbers.verdict == "vanishing"


def test_a_large_first_loss_is_worse_where_examples_do_not_agree_on_it() -> None:
    wanted = torch.randn(64, 1, generator=torch.Generator().manual_seed(2))
    apart = gradflow.diagnose(loud(100.0, 1), batch()[0], wanted, loss=F.mse_loss)
    model = loud(1.0, 1)
    for parameter in model.parameters():
        parameter.data.abs_()  # what comes out is far too large in every example
    alike = gradflow.diagnose(model, 3 + 0.3 * batch()[0], wanted, loss=F.mse_loss)
    assert severities(apart, "initial-loss") == ["error"]
    assert severities(alike, "initial-loss") == []
    assert "do not agree" in next(f.message for f in apart.findings if f.code == "initial-loss")
    for result in (apart, alike):
        (criterion,) = result.facts.batch.criteria
        assert DISAGREEING_LOSS < criterion.first_loss / criterion.constant_loss < HOPELESS_LOSS


def test_a_loss_without_end_is_an_error_though_no_constant_is_known() -> None:
    def divergence(output: Tensor, _: Tensor) -> Tensor:
        return (output.exp() - output).sum(1).mean()

    result = gradflow.diagnose(loud(70.0), *batch(), loss=divergence)
    assert (result.verdict, severities(result, "initial-loss")) == ("initial-loss", ["error"])
    assert severities(gradflow.diagnose(loud(1.0), *batch(), loss=divergence), "initial-loss") == []


def faint(units: int) -> nn.Sequential:
    """Return a network whose scores are nearly its last biases, and differ through few units."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, units), nn.Tanh(), nn.Linear(units, 10))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[2].bias.copy_(torch.linspace(-1, 1, 10))
    return model


def test_scores_that_differ_along_one_line_are_a_collapse_for_any_optimizer() -> None:
    line, plane = (gradflow.diagnose(faint(n), *batch(), optimizer="adam") for n in (1, 8))
    assert (line.verdict, plane.verdict) == ("collapse", "healthy")
    assert "one line" in next(f.message for f in line.findings if f.code == "collapse")
    assert line.facts.batch.criteria[0].output.directions == pytest.approx(1.0)
    assert plane.facts.batch.criteria[0].output.directions > 2


class Uneven(nn.Module):
    """A residual block one of whose layers acts far less on the loss than another."""

    def __init__(self) -> None:
        super().__init__()
        self.weak, self.weaker, self.strong = (nn.Linear(32, 32) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.strong(x + 1e-5 * self.weak(x).relu() + 1e-7 * self.weaker(x).relu())


def test_layers_that_differ_within_a_block_are_no_loss_over_depth() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(*(Uneven() for _ in range(4)), nn.Linear(32, 10))
    result = gradflow.diagnose(blocks, *batch())
    assert severities(result, "vanishing") == []


def shrunk(make: Callable[[int], nn.Module], shape: tuple[int, ...], gain: float) -> nn.Sequential:
    """Eight linear-like layers without biases: δ shrinks, and examples stay as different."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [layer for _ in range(8) for layer in (make(0), nn.LeakyReLU(0.5))]
    model = nn.Sequential(*layers, make(0))
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel()
            parameter.normal_(0, gain * fan_in**-0.5)
    assert model(torch.zeros(shape)).shape == shape
    return model


def test_a_gradient_that_is_only_small_is_no_trouble_for_adam() -> None:
    model = shrunk(lambda _: nn.Linear(32, 32, bias=False), (64, 32), 0.25)
    inputs, _ = batch()
    said = {
        optimizer: gradflow.diagnose(
            model, inputs, torch.tanh(inputs), loss=F.mse_loss, optimizer=optimizer
        ).verdict
        for optimizer in ("sgd", "adam")
    }
    assert said == {"sgd": "vanishing", "adam": "healthy"}


class Noisy(nn.Module):
    """Adds noise to what its layers give, as a drawn code does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y + torch.randn_like(y)


def test_what_a_model_draws_is_no_difference_between_examples() -> None:
    inner = shrunk(lambda _: nn.Linear(32, 32, bias=False), (64, 32), 0.25)
    inputs, _ = batch()
    for model, draws in ((inner, False), (Noisy(inner), True)):
        result = gradflow.diagnose(model, inputs, torch.tanh(inputs), loss=F.mse_loss)
        assert result.facts.batch.draws is draws
        assert (result.verdict == "vanishing") is draws


def test_convolutions_bear_more_up_to_an_output_of_numbers() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 1, 8, 8)
    healthy = []
    for kind in (lambda: nn.Conv2d(1, 1, 3, padding=1), lambda: nn.Linear(8, 8)):
        layers: list[nn.Module] = [layer for _ in range(7) for layer in (kind(), nn.Tanh())]
        model = nn.Sequential(*layers, kind())
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.38 * parameter[0].numel() ** -0.5)
                else:
                    parameter.fill_(0.2)
        result = gradflow.diagnose(model, inputs, inputs, loss=F.mse_loss, optimizer="adam")
        lost = together(result)
        assert lost is not None
        assert ADAPTIVE.value_together < lost < ADAPTIVE.score_together
        healthy.append(result.verdict == "healthy")
    assert healthy == [True, False]


def test_a_network_on_its_plateaus_everywhere_is_sick_though_its_gradient_flows() -> None:
    torch.manual_seed(0)
    for gain, severity in ((30.0, "error"), (1.0, None)):
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(32, 32), nn.Tanh()]
            nn.init.normal_(layers[-2].weight, 0, gain)
        result = gradflow.diagnose(nn.Sequential(*layers, nn.Linear(32, 10)), *batch())
        found = severities(result, "saturated")
        assert found == ([severity] if severity else found)
        assert (result.verdict == "saturated") is (severity == "error")


def test_one_number_is_met_where_many_are_not() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 16)
    said = {}
    for outputs in (1, 16):
        layers = [layer for _ in range(7) for layer in (nn.Linear(16, 16), nn.Tanh())]
        model = nn.Sequential(*layers, nn.Linear(16, outputs))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.38 / 4)
                else:
                    parameter.fill_(0.2)
        targets = torch.randn(64, outputs)
        for optimizer in ("adam", "sgd"):
            result = gradflow.diagnose(model, inputs, targets, loss=F.mse_loss, optimizer=optimizer)
            lost = together(result)
            assert lost is not None
            assert ADAPTIVE.value_together < lost < ADAPTIVE.number_together
            said[outputs, optimizer] = result.verdict == "healthy"
    assert said == {(1, "adam"): True, (1, "sgd"): False, (16, "adam"): False, (16, "sgd"): False}
