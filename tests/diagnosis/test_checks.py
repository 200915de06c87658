"""The four networks that twenty tools were tried on, and what else fools an eye."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.checks.decades import decades, signal_decades
from gradflow.diagnosis.checks.layers import hidden_rows
from gradflow.findings.thresholds import DECADES
from gradflow.results.diagnosis import DiagnosisResult

#: Ten nn.Linear: nine hidden layers and the output.
BUILT_IN: dict[str, dict[str, Any]] = {
    "vanishing": {"act": "sigmoid"},
    "exploding": {"act": "relu", "init": "he-normal", "gain": 5},
    "dead": {"act": "relu", "bias_mean": -10},
    "healthy": {"act": "relu", "init": "he-normal"},
}


def sequential(kind: str) -> nn.Sequential:
    """The same networks as plain torch."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for index in range(10):
        linear = nn.Linear(64, 64 if index < 9 else 10)
        if kind in ("exploding", "healthy"):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        if kind == "exploding":
            linear.weight.data.mul_(5)
        if kind == "dead" and index < 9:
            nn.init.constant_(linear.bias, -10)
        layers += [linear, nn.Sigmoid() if kind == "vanishing" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def judged(result: DiagnosisResult) -> tuple[str, tuple[int, ...]]:
    errors = [f for f in result.findings if f.severity == "error"]
    return result.verdict, errors[0].layers if errors else ()


LAYERS = {"dead": tuple(range(1, 10)), "healthy": ()}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_built_in_network_gets_the_right_verdict_at_any_loss_scale(
    kind: str, scale: float
) -> None:
    config = NetworkConfig(device="cpu", depth=9, loss_scale=scale, **BUILT_IN[kind])
    verdict, layers = judged(diagnose(config))
    assert verdict == kind
    assert layers == LAYERS.get(kind, layers)
    if kind in ("vanishing", "exploding"):  # at fault: the layers far from the output
        assert layers == tuple(range(1, len(layers) + 1))
        assert 1 <= len(layers) < 9


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_plain_sequential_gets_it_too(kind: str, scale: float, reduction: str) -> None:
    model = sequential(kind)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 64, generator=generator)
    labels = torch.randint(10, (64,), generator=generator)

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return scale * F.cross_entropy(output, targets, reduction=reduction)

    verdict, layers = judged(diagnose(model, inputs, labels, loss=loss))
    assert verdict == kind
    assert layers == LAYERS.get(kind, layers)


def test_a_third_of_the_units_dead_is_normal_in_a_narrow_deep_relu_network() -> None:
    result = diagnose(NetworkConfig(device="cpu", depth=10, init="he-normal", seeds=8))
    assert max(row.dead_fraction for row in hidden_rows(result)) > 0.15
    assert result.verdict == "healthy"


def test_logits_are_not_units_that_can_die() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.fill_(-5)
    result = diagnose(model, torch.randn(16, 4), torch.zeros(16, dtype=torch.long))
    assert "dead" not in {finding.code for finding in result.findings}


def test_saturation_is_told_from_small_weights() -> None:
    saturated = diagnose(NetworkConfig(device="cpu", act="tanh", depth=10, bias_mean=4))
    small = diagnose(NetworkConfig(device="cpu", act="tanh", depth=10, gain=0.3))
    assert saturated.verdict == "saturated"
    assert small.verdict == "vanishing"
    assert "saturated" in saturated.findings[0].message
    assert "weights are small" in small.findings[0].message


def test_examples_mapped_to_one_point_are_found_though_gradients_flow() -> None:
    config = NetworkConfig(device="cpu", act="tanh", depth=20, width=256, init="lecun-normal")
    result = diagnose(dataclasses.replace(config, gain=1.4, bias_variance=4.0))
    assert signal_decades(result) > DECADES
    assert result.verdict in ("vanishing", "saturated")


def test_the_layer_that_made_a_nan_is_told_from_those_that_passed_it_on() -> None:
    model = sequential("healthy")
    with torch.no_grad():
        model[8].weight[0, 0] = torch.nan  # the fifth linear layer
    result = diagnose(model, torch.randn(64, 64), torch.randint(10, (64,)))
    assert result.verdict == "broken"
    assert "layer 5 (8) is the first" in result.findings[0].message
    assert result.findings[0].layers[-1] == 10


def test_selu_says_whether_it_normalises_itself() -> None:
    def said(init: str) -> str:
        result = diagnose(NetworkConfig(device="cpu", act="selu", width=512, init=init, depth=6))
        return next(f.message for f in result.findings if f.code == "self-normalising")

    assert "holds" in said("lecun-normal")
    assert "broken in hidden1.linear to hidden6.linear" in said("he-normal")


def test_one_seed_of_a_deep_narrow_network_is_called_noisy() -> None:
    options = NetworkConfig(device="cpu", depth=60, width=16, init="he-normal")
    one, many = diagnose(options), diagnose(dataclasses.replace(options, seeds=2))
    assert "one-seed" in {f.code for f in one.findings}
    assert "one-seed" not in {f.code for f in many.findings}


def test_the_fourth_moment_of_delta_is_hanin_and_nicas() -> None:
    """E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^d for He-Gaussian ReLU networks without biases."""
    from gradflow.datasets.batches import batch
    from gradflow.measurement.recorder import QUANTITIES, measure
    from gradflow.networks.architectures import build

    n, depth, seeds = 32, 8, 4000
    config = NetworkConfig(
        device="cpu", depth=depth, width=n, init="he-normal", seeds=seeds, batch_size=1
    )
    data = batch(config, torch.float32, torch.device("cpu"))
    model = build(config, n, 10, torch.float32, torch.device("cpu"))
    v = torch.randn(10, generator=torch.Generator().manual_seed(0))
    inputs = data.inputs.expand(seeds, -1, -1)

    def projections() -> Tensor:
        return (model(inputs) @ v).sum()

    measured = measure(model, projections, replicated=True)
    log = measured.values[0, QUANTITIES.index("delta_rms")].log2()
    square = 4.0 ** (log + measured.values[0, QUANTITIES.index("delta_exponent")])
    ratio = float((square**2).mean() / square.mean() ** 2)
    # Standard error of the ratio by jackknife is about 6 % at 4000 draws of so heavy a tail; 3.
    assert ratio == pytest.approx((1 + 5 / n) ** depth, rel=0.18)


def test_the_evidence_carries_the_interval_over_seeds() -> None:
    result = diagnose(NetworkConfig(device="cpu", act="sigmoid", seeds=5))
    assert f"95 % interval {result.rate_low:.3g} to {result.rate_high:.3g}" in (
        result.findings[0].message
    )


def test_decades_are_infinite_where_nothing_gets_through() -> None:
    dead = diagnose(NetworkConfig(device="cpu", bias_mean=-10))
    assert decades(dead) == math.inf
    assert decades(diagnose(NetworkConfig(device="cpu", depth=1))) < 1


def test_outputs_that_are_lost_are_not_called_the_same() -> None:
    torch.manual_seed(0)
    inputs, labels = torch.randn(64, 10), torch.arange(64) % 3
    inputs[17, 4] = float("nan")
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    result = diagnose(model, inputs, labels)
    assert result.verdict == "broken"
    assert "collapse" not in {found.code for found in result.findings}


@pytest.mark.parametrize(
    ("gains", "severity", "layers"),
    [((60, 60, 60, 60), "error", (1, 2, 3, 4)), ((1, 60, 1, 1), "warning", (2,))],
)
def test_saturation_is_an_error_where_no_unit_is_left(
    gains: tuple[float, ...], severity: str, layers: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    stack: list[nn.Module] = []
    for gain in gains:
        stack += [nn.Linear(64, 64), nn.Tanh()]
        nn.init.normal_(stack[-2].weight, std=gain / 8)
    inputs = torch.randn(128, 64)
    result = diagnose(nn.Sequential(*stack, nn.Linear(64, 10)), inputs, torch.arange(128) % 10)
    (found,) = [f for f in result.findings if f.code == "saturated"]
    assert (found.severity, found.layers) == (severity, layers)
