"""The forward pass that cannot overflow, against float64 where float64 can follow."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.activations import ACTIVATIONS, activation
from gradflow.datasets.batches import batch
from gradflow.measurement.recorder import QUANTITIES, Measurement, measure
from gradflow.measurement.scaled_pass import activated, ldexp, measure_scaled
from gradflow.networks.architectures import build, network_activation
from gradflow.networks.losses import loss_function

CPU = torch.device("cpu")
LOG2 = math.log10(2)


def logs(measured: Measurement) -> dict[str, torch.Tensor]:
    """log₁₀ of the true magnitudes, (layers,)."""
    q = {name: measured.values[:, i, 0].nan_to_num(0) for i, name in enumerate(QUANTITIES)}
    square = q["activation_variance"] + q["activation_mean"].square()
    return {
        "delta": q["delta_rms"].log10() + LOG2 * q["delta_exponent"],
        "weight": q["gradient_norm"].log10() + LOG2 * (q["weight_exponent"] + q["input_exponent"]),
        "bias": q["bias_gradient_norm"].log10() + LOG2 * q["weight_exponent"],
        "activation": (0.5 * square.log10() + LOG2 * q["activation_exponent"])[:-1],
    }


def both(dtype: torch.dtype = torch.float32, **options: Any) -> tuple[Any, Any]:
    """The scaled pass in `dtype`, and the plain one in float64, on the same weights."""
    config = NetworkConfig(**{"device": "cpu", "width": 16, "batch_size": 8, **options})
    data = batch(config, torch.float64, CPU)
    model = build(config, 16, 10, torch.float64, CPU)
    loss = loss_function(config.loss)
    inputs = data.inputs.unsqueeze(0)
    plain = measure(model, lambda: loss(model(inputs), data.labels).sum(), replicated=True)
    model = model.to(dtype)
    phi = network_activation(config)
    scaled = measure_scaled(model, inputs.to(dtype), data.labels, phi, config.loss, 1.0)
    return logs(scaled), logs(plain)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce", "mse"])
@pytest.mark.parametrize("act", ["relu", "elu", "gelu", "softplus", "tanh", "sigmoid"])
@pytest.mark.parametrize("gain", [1e-12, 1.0, 1e12])
def test_scaled_magnitudes_are_float64s(loss: str, act: str, gain: float) -> None:
    if act == "elu" and gain < 1 and not F.elu(torch.tensor(-1e-30)):
        pytest.skip("torch 2.6 takes ELU by eˣ − 1, which is 0 for small x, and so is its truth")
    scaled, plain = both(act=act, depth=8, init="he-normal", gain=gain, loss=loss)
    for name in scaled:
        # Relative 1e-4 in a magnitude is 4.3e-5 in its logarithm: float32 through nine layers.
        torch.testing.assert_close(scaled[name], plain[name], rtol=0, atol=5e-5, msg=name)


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_residual_sums_too(act: str) -> None:
    scaled, plain = both(act=act, depth=12, init="he-normal", gain=1e8, residual=True)
    for name in scaled:
        torch.testing.assert_close(scaled[name], plain[name], rtol=0, atol=5e-5, msg=name)


def test_float64_is_scaled_as_well() -> None:
    scaled, plain = both(torch.float64, act="relu", depth=12, init="he-normal", gain=1e8)
    for name in scaled:
        torch.testing.assert_close(scaled[name], plain[name], rtol=0, atol=1e-10, msg=name)


def test_depth_500_at_gain_10_prints_no_inf() -> None:
    result = diagnose(NetworkConfig(device="cpu", gain=10, depth=500, width=32))
    assert result.verdict == "broken"  # in float32 it is
    assert result.rate == pytest.approx(10 / math.sqrt(6), rel=0.03)  # σ_w² = 100/3, χ = σ_w²/2
    for row in result.records:
        assert math.isfinite(row.delta_log10_rms)
        assert math.isfinite(row.gradient_log10_norm)
    assert all(math.isfinite(row.activation_log10_rms) for row in result.records[:-1])
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(result)
    text = console.export_text()
    assert "inf" not in text.replace("info", "")
    assert "∞" not in text


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("exponent", [-80.0, 0.0, 80.0])
def test_stored_activations_are_the_true_ones(name: str, exponent: float) -> None:
    phi = activation(name)
    z = torch.tensor([[[-1.7, -0.3, 0.0, 0.4, 2.0]]], dtype=torch.float64)
    power = torch.tensor([[[exponent]]], dtype=torch.float64)
    true = torch.from_numpy(phi((z * 2**exponent).numpy()))
    shown, out = activated(phi, z, power, torch.from_numpy(phi((z * 2**exponent).numpy())))
    # 2⁻⁴⁰ of the largest: what an asymptote leaves out (ELU's −α beside 2⁸⁰).
    torch.testing.assert_close(
        shown * 2**out, true, rtol=1e-11, atol=1e-11 * float(true.abs().max())
    )


def test_ldexp_reaches_beyond_what_one_power_holds() -> None:
    x = torch.tensor([1.5 * 2.0**-100])
    assert float(ldexp(x, torch.tensor([200.0]))) == 1.5 * 2.0**100
    assert float(ldexp(x, torch.tensor([-5000.0]))) == 0
