"""Verdicts, rates and rows of diagnose(), on networks whose answer is known."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.datasets.batches import batch
from gradflow.errors import GradflowError
from gradflow.measurement.rates import fit_rates, interval
from gradflow.measurement.recorder import QUANTITIES
from gradflow.networks.architectures import build
from gradflow.networks.losses import loss_function
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.training.devices import dtype as dtype_of

CPU = torch.device("cpu")


def config(**options: Any) -> NetworkConfig:
    return NetworkConfig(**{"device": "cpu", **options})


def test_ten_sigmoid_layers_vanish_at_0_14_per_layer() -> None:
    result = diagnose(config(depth=10, act="sigmoid"))
    assert result.verdict == "vanishing"
    # χ = σ_w² E[φ′²] with σ_w² = 1/3: √(1/3)·0.2443 = 0.141; one network of width 64 scatters.
    assert result.rate == pytest.approx(0.141, rel=0.05)
    assert "keeps 1" in result.title


def test_he_initialised_relu_of_width_512_is_healthy() -> None:
    result = diagnose(config(act="relu", init="he-normal", width=512))
    assert result.verdict == "healthy"
    assert result.rate == pytest.approx(1, abs=0.02)
    assert [f.severity for f in result.findings if f.severity == "error"] == []


def test_too_large_weights_explode_though_the_weight_gradients_are_flat() -> None:
    result = diagnose(config(act="relu", init="he-normal", gain=5))
    assert result.verdict == "exploding"
    assert result.rate == pytest.approx(5, rel=0.05)  # He times 5: each layer back times 5
    norms = [row.gradient_log10_norm for row in result.records[: result.hidden]]
    assert max(norms) - min(norms) < 1  # seven decades of δ, not one of the weight gradients
    assert "look flat" in result.findings[0].message


def test_biases_at_minus_ten_are_dead() -> None:
    result = diagnose(config(act="relu", bias_mean=-10))
    assert result.verdict == "dead"
    assert result.findings[0].layers == tuple(range(1, 11))
    assert result.records[0].gradient_log10_norm == -math.inf


def test_sigmoids_driven_to_their_plateau_are_saturated_not_merely_vanishing() -> None:
    result = diagnose(config(act="sigmoid", bias_mean=10))
    assert result.verdict == "saturated"
    assert result.findings[0].layers == tuple(range(1, 11))


def test_overflow_is_broken_and_names_the_first_layer() -> None:
    result = diagnose(config(act="relu", init="he-normal", gain=1e10, depth=10))
    assert result.verdict == "broken"
    first = next(row.index for row in result.records if row.forward_nonfinite)
    assert f"hidden{first}.linear is the first" in result.findings[0].message
    assert 3 <= first <= 5  # 10¹⁰ per layer passes float32's 3.4e38 after three or four


@pytest.mark.parametrize(
    "options",
    [
        {"act": "sigmoid"},
        {"act": "relu", "init": "he-normal", "gain": 5},
        {"act": "relu", "init": "he-normal", "width": 512},
        {"act": "relu", "bias_mean": -10},
    ],
    ids=["sigmoid", "exploding", "healthy", "dead"],
)
@pytest.mark.parametrize("loss_scale", [1e-6, 1e6])
def test_the_verdict_does_not_depend_on_the_scale_of_the_loss(
    options: dict[str, Any], loss_scale: float
) -> None:
    plain = diagnose(config(**options))
    scaled = diagnose(config(**options, loss_scale=loss_scale))
    assert scaled.verdict == plain.verdict
    assert [f.layers for f in scaled.findings] == [f.layers for f in plain.findings]
    if plain.rate is not None:
        assert scaled.rate == pytest.approx(plain.rate, rel=1e-4)


def test_depth_1000_prints_logarithms_and_not_zero() -> None:
    result = diagnose(config(depth=1000, width=16, batch_size=8, act="sigmoid"))
    logs = [row.delta_log10_rms for row in result.records]
    assert all(math.isfinite(log) for log in logs)
    assert logs[0] < -700


def plain_rows(options: NetworkConfig) -> list[dict[str, float]]:
    """The contract's definitions by plain autograd, in float64, on the same weights."""
    dtype = dtype_of(options.dtype)
    data = batch(options, dtype, CPU)
    model = build(options, data.inputs.shape[-1], data.classes, dtype, CPU)
    linears = [m for m in model.modules() if hasattr(m, "weight")]
    layers: list[nn.Module] = []
    for linear in linears:
        dense = nn.Linear(linear.weight.shape[2], linear.weight.shape[1]).double()
        dense.weight.data = linear.weight.data[0].double()
        dense.bias.data = linear.bias.data[0].double()
        layers += [dense, nn.Tanh()]
    x, zs, activations = data.inputs.double(), [], []
    for module in layers[:-1]:
        x = module(x)
        if isinstance(module, nn.Linear):
            x.retain_grad()
            zs.append(x)
        else:
            activations.append(x.detach())
    F.cross_entropy(x, data.labels, reduction="mean").backward()
    return [
        {
            "gradient_norm": float(m.weight.grad.norm()),
            "gradient_rms": float(m.weight.grad.square().mean().sqrt()),
            "gradient_mean_abs": float(m.weight.grad.abs().mean()),
            "gradient_max_abs": float(m.weight.grad.abs().max()),
            "bias_gradient_norm": float((z.grad.sum(0)).norm()),  # the mean of each example's own δ
            "delta_log10_rms": math.log10(float((z.grad * len(z)).square().mean().sqrt())),
            "update_ratio": options.lr * float(m.weight.grad.norm() / m.weight.detach().norm()),
        }
        | (
            {
                "activation_mean": float(activations[i].mean()),
                "activation_variance": float(activations[i].var(correction=0)),
            }
            if i < len(activations)
            else {}
        )
        for i, (m, z) in enumerate(zip(layers[::2], zs, strict=True))
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-6)])
def test_every_row_is_what_plain_autograd_gives_for_the_contracts_definitions(
    dtype: str, tolerance: float
) -> None:
    options = config(act="tanh", depth=6, width=24, batch_size=17, init="lecun-normal", dtype=dtype)
    result = diagnose(options)
    for row, expected in zip(result.rows(), plain_rows(options), strict=True):
        for name, value in expected.items():
            # Against float64 through seven layers; means near 0 get an absolute tolerance.
            assert row[name] == pytest.approx(value, rel=tolerance, abs=tolerance / 100), name


def test_several_seeds_give_a_median_a_band_and_an_interval() -> None:
    together = diagnose(config(act="tanh", depth=4, width=12, seeds=5, seed=3))
    assert together.meta.seeds == (3, 4, 5, 6, 7)
    assert together.rate_low < together.rate < together.rate_high
    row = together.records[0]
    assert row.delta_log10_rms_low < row.delta_log10_rms < row.delta_log10_rms_high


def test_the_band_is_of_the_single_networks() -> None:
    options = config(
        act="tanh", depth=4, width=12, seeds=5, data="mnist"
    )  # the same inputs for all
    alone = [diagnose(dataclasses.replace(options, seed=s, seeds=1)) for s in range(5)]
    row = diagnose(options).records[0]
    own = [single.records[0].delta_log10_rms for single in alone]
    assert row.delta_log10_rms == pytest.approx(float(np.median(own)), abs=1e-5)
    assert row.delta_log10_rms_high == pytest.approx(float(np.quantile(own, 0.95)), abs=1e-5)


def test_replicas_are_the_networks_of_their_own_seeds() -> None:
    options = config(act="tanh", depth=3, width=12, seeds=4, seed=10)
    data = batch(options, torch.float32, CPU)
    together = build(options, 12, 10, torch.float32, CPU)
    alone = build(dataclasses.replace(options, seed=12, seeds=1), 12, 10, torch.float32, CPU)
    outputs = together(data.inputs.expand(4, -1, -1))
    torch.testing.assert_close(outputs[2], alone(data.inputs.unsqueeze(0))[0])


def test_one_hidden_layer_has_no_rate_and_is_not_judged_by_one() -> None:
    result = diagnose(config(depth=1, act="sigmoid"))
    assert result.rate is None
    assert result.verdict == "healthy"


@pytest.mark.parametrize("true_rate", [0.14, 1.0, 5.0])
def test_the_fit_finds_the_factor_of_an_exact_progression(true_rate: float) -> None:
    last = np.array([0.3, -2.0])
    deltas = [last + (9 - layer) * math.log10(true_rate) for layer in range(10)]
    rates = fit_rates(deltas)
    assert rates is not None
    np.testing.assert_allclose(rates, true_rate, rtol=1e-12)


def test_the_interval_is_students() -> None:
    logs = np.array([0.1, 0.2, 0.4, 0.3])
    rate, low, high = interval(10**logs)
    # t(0.975, 3) = 3.182446305 (tables); mean 0.25, s = 0.129099, s/√4 = 0.0645497
    assert rate == pytest.approx(10**0.25)
    assert low == pytest.approx(10 ** (0.25 - 3.182446305 * 0.0645497224))
    assert high == pytest.approx(10 ** (0.25 + 3.182446305 * 0.0645497224))


NIELSEN = {  # chapter 5 of "Neural Networks and Deep Learning", speeds at the start of training
    2: [0.06574134, 0.30921849],
    3: [0.01183821, 0.05996519, 0.28314239],
    4: [0.00297527, 0.01707667, 0.06953924, 0.28513894],
}


@pytest.mark.parametrize("depth", NIELSEN)
def test_nielsens_speeds_of_learning_lie_in_the_bands(depth: int) -> None:
    result = diagnose(
        config(
            depth=depth,
            width=30,
            act="sigmoid",
            init="lecun-normal",
            bias_variance=1,
            loss="bce",
            data="mnist",
            batch_size=1000,
            seeds=200,
        )
    )
    for row, published in zip(result.records, NIELSEN[depth], strict=False):
        assert row.bias_gradient_norm_low <= published <= row.bias_gradient_norm_high


def sequential(depth: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [m for _ in range(depth - 1) for m in (nn.Linear(64, 64), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def test_a_users_model_gets_the_same_verdict_under_mean_and_sum() -> None:
    model, inputs = sequential(), torch.randn(64, 64)
    labels = torch.randint(10, (64,))
    mean = diagnose(model, inputs, labels)
    total = diagnose(model, inputs, labels, loss=nn.CrossEntropyLoss(reduction="sum"))
    assert mean.verdict == total.verdict == "vanishing"
    deltas = [
        (a.delta_log10_rms, b.delta_log10_rms)
        for a, b in zip(mean.records, total.records, strict=True)
    ]
    for a, b in deltas:
        assert a == pytest.approx(b, abs=1e-4)  # each example's own δ, whatever the reduction


def test_a_users_model_is_left_as_it_was() -> None:
    model = nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
    )
    before = copy.deepcopy(model.state_dict())
    diagnose(model, torch.randn(16, 8), torch.zeros(16, dtype=torch.long))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_the_random_state_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    inputs, labels = torch.randn(16, 8), torch.zeros(16, dtype=torch.long)
    state = torch.random.get_rng_state()
    diagnose(model, inputs, labels)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_model_without_targets_or_loss_is_refused() -> None:
    with pytest.raises(GradflowError, match="targets or a loss"):
        diagnose(sequential(), torch.randn(4, 64))


@pytest.mark.parametrize("name", ["cross-entropy", "bce", "mse"])
def test_every_loss_is_the_textbooks(name: str) -> None:
    logits, labels = torch.randn(2, 5, 10, dtype=torch.float64), torch.randint(10, (5,))
    got = loss_function(name)(logits, labels).view(2, 5)
    p, y = torch.sigmoid(logits), F.one_hot(labels, 10).double()
    truth = {
        "cross-entropy": -torch.log_softmax(logits, -1)
        .gather(-1, labels.expand(2, 5).unsqueeze(-1))
        .squeeze(-1),
        "bce": -(y * p.log() + (1 - y) * (1 - p).log()).sum(-1),
        "mse": 0.5 * ((logits - y) ** 2).sum(-1),
    }[name]
    torch.testing.assert_close(got, truth, rtol=1e-10, atol=0)


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (diagnose(config(act="gelu", seeds=3)) for _ in range(2))
    assert one.to_dict()["rows"] == two.to_dict()["rows"]


def test_a_result_survives_its_document() -> None:
    result = diagnose(config(act="relu", bias_mean=-10, depth=3, seeds=2))
    assert DiagnosisResult.from_dict(result.to_dict()) == result


class Unboundaried(nn.Module):
    """The layers of a Sequential, called by hand: no child through which every path passes."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_module_without_boundaries_is_measured_again_in_float64_and_says_so() -> None:
    model = sequential(60)
    inputs, labels = torch.randn(8, 64), torch.randint(10, (8,))
    reference = diagnose(model, inputs, labels)
    result = diagnose(Unboundaried(model), inputs, labels)
    assert next(p.dtype for p in model.parameters()) == torch.float32
    (note,) = [f for f in result.findings if f.code == "precision"]
    assert note.layers[0] == 1
    assert len(note.layers) < 30  # only those beyond float32's 1e-38
    for row, expected in zip(result.records, reference.records, strict=True):
        assert row.delta_log10_rms == pytest.approx(expected.delta_log10_rms, abs=1e-3)
    assert "precision" not in {f.code for f in reference.findings}


def test_a_dead_module_is_dead_and_not_imprecise() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    result = diagnose(Unboundaried(model), torch.randn(4, 8), torch.zeros(4, dtype=torch.long))
    assert result.verdict == "dead"
    assert "precision" not in {f.code for f in result.findings}


def exploding(depth: int, act: nn.Module, sigma: float = 10.0) -> nn.Sequential:
    torch.manual_seed(2)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(16, 16)
        nn.init.normal_(linear.weight, 0, sigma / 4)  # half of σ_w or more per layer
        layers += [linear, copy.deepcopy(act)]
    return nn.Sequential(*layers, nn.Linear(16, 10))


@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.01), nn.ELU()], ids=str)
def test_a_users_sequential_does_not_overflow_at_any_depth(act: nn.Module) -> None:
    inputs, labels = torch.randn(8, 16), torch.randint(10, (8,))
    deep = diagnose(exploding(150, act, sigma=1000.0), inputs, labels)
    assert deep.verdict == "broken"  # in its own dtype
    assert all(math.isfinite(row.delta_log10_rms) for row in deep.records)
    assert all(math.isfinite(row.gradient_log10_norm) for row in deep.records)
    assert deep.records[0].delta_log10_rms > 308  # beyond float64


def test_the_converted_sequential_has_float64s_magnitudes() -> None:
    from gradflow.diagnosis.objective import Objective
    from gradflow.diagnosis.user_module import scaled_pass
    from gradflow.networks.conversion import converted

    model = exploding(40, nn.LeakyReLU(0.01))
    inputs, labels = torch.randn(8, 16), torch.randint(10, (8,))
    assert converted(model) is not None
    assert converted(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout())) is None
    scaled = scaled_pass(model, Objective(inputs, labels))
    assert scaled is not None
    plain = diagnose(model.double(), inputs.double(), labels)
    at = {name: scaled.values[:, QUANTITIES.index(name), 0] for name in QUANTITIES}
    log = at["delta_rms"].log10() + math.log10(2) * at["delta_exponent"] + math.log10(8)
    for got, row in zip(log.tolist(), plain.records, strict=True):
        assert got == pytest.approx(row.delta_log10_rms, abs=5e-5)  # float32 through 41 layers
