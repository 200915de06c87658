"""A learning rate: from copies alone, for the optimizer in use, of the right scale."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.configs.network import NetworkConfig
from gradflow.errors import GradflowError
from gradflow.findings.first_rate import LARGEST_STEP, SCALED
from gradflow.learning_rates import estimate, range_test
from gradflow.learning_rates.estimate import Estimate
from gradflow.learning_rates.range_test import RangeTest
from gradflow.learning_rates.rows import rate_fields, rate_rows
from gradflow.learning_rates.run import of_config
from gradflow.learning_rates.subjects import Start, made
from gradflow.results.base import Result, RunMeta
from gradflow.results.learning_rate import LearningRateResult

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))


def scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, labels: factor * nn.functional.cross_entropy(output, labels)


def found(optimizer: str, factor: float = 1.0) -> LearningRateResult:
    torch.manual_seed(2)
    return gradflow.learning_rate(network(), X, Y, loss=scaled(factor), optimizer=optimizer)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_a_scaled_loss_divides_the_estimate_of_gradient_descent(factor: float) -> None:
    for name in ("sgd", "asgd"):
        plain, other = found(name).estimate, found(name, factor).estimate
        assert plain is not None
        assert other == pytest.approx(plain / factor, rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adamw"])
def test_a_scaled_loss_leaves_that_of_adam_and_its_kin(name: str) -> None:
    assert found(name, 100.0).estimate == pytest.approx(found(name).estimate, rel=1e-3)


def test_the_first_update_of_adam_has_the_length_that_it_should_have() -> None:
    """Every entry moves by the rate: √n of them."""
    wide = nn.Sequential(nn.Linear(8, 3000), nn.Tanh(), nn.Linear(3000, 3))
    count = sum(p.numel() for p in wide.parameters())
    estimate = gradflow.learning_rate(wide, X, Y).estimate
    assert estimate == pytest.approx(SCALED / math.sqrt(count), rel=1e-3)
    assert found("adam").estimate == pytest.approx(LARGEST_STEP, rel=1e-3)


def test_looking_changes_nothing() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # which puts a step of its own on the optimizer
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    random = torch.get_rng_state()
    gradflow.learning_rate(model, X, Y, optimizer=optimizer)
    assert torch.equal(random, torch.get_rng_state())
    after = model.state_dict(), optimizer.state_dict()
    for old, new in zip(before[0].values(), after[0].values(), strict=True):
        assert torch.equal(old, new)
    assert after[1]["param_groups"] == before[1]["param_groups"]
    for index, state in before[1]["state"].items():
        assert all(torch.equal(v, after[1]["state"][index][k]) for k, v in state.items())
    assert all(
        torch.equal(g, p.grad)
        for g, p in zip(grads, model.parameters(), strict=True)
        if p.grad is not None
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "adagrad", "rmsprop", "adafactor", "rprop"])
def test_the_suggested_rate_trains(name: str) -> None:
    """100 steps at it end below half of the first loss, dropout's noise left out."""
    rate = found(name).suggested
    assert rate is not None
    model = network()
    optimizer = {
        cls.lower(): getattr(torch.optim, cls)
        for cls in ("SGD", "Adam", "Adagrad", "RMSprop", "Adafactor", "Rprop")
    }[name](model.parameters(), lr=rate)
    before = _without_dropout(model)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    assert _without_dropout(model) < 0.5 * before


def _without_dropout(model: nn.Module) -> float:
    model.eval()
    loss = nn.functional.cross_entropy(model(X), Y).item()
    model.train()
    return loss


def test_momentum_and_groups_are_the_optimizers_own() -> None:
    model = network()
    plain = torch.optim.SGD(model.parameters(), lr=1.0)
    heavy = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    one, other = (gradflow.learning_rate(model, X, Y, optimizer=o).estimate for o in (plain, heavy))
    assert one is not None
    assert other == pytest.approx(one / 10, rel=1e-3)


def test_a_seed_that_has_diverged_counts_as_infinite_in_the_median() -> None:
    tests = [
        RangeTest(Estimate(0.1), 2.0, (0.1, 0.2)[: len(losses)], losses)
        for losses in ((1.0, 9.0), (1.5, 9.5), (9.0,))
    ]
    first, second = rate_rows(tests)
    assert (first.loss, first.loss_low, first.loss_high, first.seeds) == (1.5, 1.0, 9.0, 3)
    assert (second.loss, second.loss_low, second.loss_high, second.seeds) == (9.5, 9.0, math.inf, 2)
    fields = rate_fields(tests)
    assert fields["largest_stable"] == pytest.approx(0.1)
    assert fields["suggested_low"] <= fields["suggested"] <= fields["suggested_high"]


def test_the_largest_stable_rate_lies_below_the_rise() -> None:
    result = found("sgd")
    assert result.largest_stable is not None
    assert result.start is not None
    for row in result.records:
        if row.rate <= result.largest_stable:
            assert row.loss <= 1.02 * result.start
    assert result.passes <= 15


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_every_tensor_of_the_test_is_on_the_networks_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's meta device a tensor left on the CPU raises; only numbers are read off it."""
    normed: set[str] = set()

    def norm(tensors: list[Tensor]) -> float:
        normed.update(t.device.type for t in tensors)
        return 1.0

    monkeypatch.setattr(estimate, "_norm", norm)
    monkeypatch.setattr(range_test, "_value", lambda loss: 1.0 if loss.is_meta else math.nan)
    model = network().to("meta")
    inputs, labels = X.to("meta"), Y.to("meta")
    start = Start(
        model,
        made(LearningRateConfig(optimizer=name), model),
        lambda: nn.functional.cross_entropy(model(inputs), labels),
    )
    test = range_test.range_test(start, 5, lambda: None)
    assert len(test.losses) == 5
    assert normed == {"meta"}
    assert {p.grad.device.type for p in model.parameters() if p.grad is not None} == {"meta"}


@pytest.mark.parametrize(("hidden", "code"), [(1, "step-size"), (8, "vanishing")])
def test_where_the_gradient_vanishes_no_rate_is_called_wrong(hidden: int, code: str) -> None:
    config = NetworkConfig(depth=hidden, width=32, batch_size=64, act="sigmoid")
    options = LearningRateConfig(optimizer="sgd", steps=5)
    (found,) = of_config(config, options, in_use=1e-6).findings
    assert (found.code, found.severity) == (code, "warning")


def test_what_cannot_be_trained_is_said_in_a_line() -> None:
    frozen = network().requires_grad_(False)
    with pytest.raises(GradflowError, match="no parameter of the model requires a gradient"):
        gradflow.learning_rate(frozen, X, Y)
    with pytest.raises(GradflowError, match="unknown optimizer 'adma'"):
        gradflow.learning_rate(network(), X, Y, optimizer="adma")
    with pytest.raises(GradflowError, match="gradient is exactly 0"):
        gradflow.learning_rate(network(), X, Y, loss=scaled(0.0))
    with pytest.raises(GradflowError, match="first loss is nan"):
        gradflow.learning_rate(network(), X, Y, loss=scaled(math.nan))
    other = torch.optim.SGD(network().parameters(), lr=1.0)
    with pytest.raises(GradflowError, match="none of the model's parameters"):
        gradflow.learning_rate(network(), X, Y, optimizer=other)
    model = network()
    with pytest.raises(GradflowError, match="LBFGS computes the loss anew"):
        gradflow.learning_rate(model, X, Y, optimizer=torch.optim.LBFGS(model.parameters()))


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["lr", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_document_of_the_command(tmp_path: Path) -> None:
    picture = tmp_path / "lr.png"
    arguments = ("--depth", "2", "--width", "16", "--seeds", "2", "--lr", "100", "--json")
    code, out, _ = run(*arguments, "-o", str(picture))
    document = json.loads(out)
    assert code == 0
    assert document["suggested_low"] <= document["suggested"] <= document["suggested_high"]
    assert document["in_use"] == 100
    assert document["findings"][0]["code"] == "step-size"
    assert set(document["rows"][0]) >= {"step", "rate", "loss", "loss_low", "loss_high"}
    assert Result.from_dict(document).to_dict() == document
    assert picture.stat().st_size > 1000
    assert run("--depth", "2", "--width", "16", "--lr", "100", "--fail-on", "step-size")[0] == 1


def test_a_model_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("from torch import nn\n\ndef build():\n    return nn.Linear(4, 2)\n")
    code, out, _ = run("--model", f"{file}:build", "--input-shape", "4", "--seeds", "2", "--json")
    assert code == 0
    assert json.loads(out)["meta"]["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--optimizer", "adma"), "unknown optimizer 'adma'"),
        (("--momentum", "0.9"), "Adam has no momentum"),
        (("--input-shape", "3"), "--input-shape goes with --model"),
        (("--steps", "2"), "--steps must be a whole number of at least 4"),
        (("--dtype", "float16"), "lr trains in float32 or float64"),
    ],
)
def test_bad_usage_is_a_line_and_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert err.count("\n") <= 2


def test_a_title_does_not_write_the_same_rate_twice() -> None:
    found = LearningRateResult(
        optimizer="adam", suggested=2e-3, suggested_low=1e-3, suggested_high=4e-3
    )
    found = replace(found, meta=RunMeta(seeds=(0, 1, 2)))
    assert found.title == "adam: a learning rate of 0.002 (0.001 to 0.004 over 3 seeds)"
    one = replace(found, suggested_low=2e-3, suggested_high=2e-3)
    assert one.title == "adam: a learning rate of 0.002 (the same over 3 seeds)"
