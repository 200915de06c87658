"""Every architecture is that of torch.nn, many at a time; the rows of a recurrent one are steps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.configs.architectures import ARCHITECTURES
from gradflow.datasets.batches import Batch, batch, gaussian_features
from gradflow.diagnosis.builtin import measure_replicas
from gradflow.errors import GradflowError
from gradflow.measurement.records import QUANTITIES
from gradflow.networks.architectures import build
from gradflow.networks.layers import (
    Attention,
    ReplicatedConv,
    ReplicatedLinear,
    ReplicatedNorm,
    image_shape,
)
from gradflow.networks.recurrent import largest_singular_values, spectral_radii

CPU = torch.device("cpu")
RECURRENT = ["rnn", "lstm", "gru"]


def config(**options: Any) -> NetworkConfig:
    return NetworkConfig(**{"device": "cpu", "width": 8, "batch_size": 6, "depth": 3, **options})


def built(options: NetworkConfig, dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor, Tensor]:
    data = batch(options, dtype, CPU)
    model = build(options, data.inputs.shape[1], data.classes, dtype, CPU)
    return model, data.inputs, data.labels


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_replica_is_the_network_of_its_own_seed(arch: str) -> None:
    together, inputs, _ = built(config(arch=arch, seeds=3))
    alone, _, _ = built(config(arch=arch, seed=2))
    outputs = together(inputs.expand(3, -1, -1))
    assert outputs.shape == (3, 6, 10)
    torch.testing.assert_close(outputs[2], alone(inputs.unsqueeze(0))[0])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_is_built_and_run_on_any_device(arch: str) -> None:
    options = config(arch=arch, seeds=2)
    model = build(options, gaussian_features(options), 10, torch.float32, torch.device("meta"))
    inputs = torch.empty(2, 5, gaussian_features(options), device="meta")
    assert model(inputs).shape == (2, 5, 10)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_takes_mnist(arch: str) -> None:
    result = diagnose(config(arch=arch, data="mnist"))
    assert result.records[-1].name == "output"
    assert all(math.isfinite(row.delta_log10_rms) for row in result.records)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_rows_delta_and_gradient_is_plain_autograds(arch: str) -> None:
    options = config(arch=arch, act="tanh", norm="layer" if arch in ("cnn", "resmlp") else "")
    result = diagnose(dataclasses.replace(options, dtype="float64"))
    if arch in RECURRENT:
        pytest.skip("their rows are steps, tested below")
    model, inputs, labels = built(options)
    zs: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, ReplicatedLinear | ReplicatedConv):
            module.register_forward_hook(
                lambda m, i, z, name=name: (z.retain_grad(), zs.update({name: z}))[:0] or None
            )
    F.cross_entropy(model(inputs.unsqueeze(0))[0], labels).backward()
    modules = dict(model.named_modules())
    assert [row.name for row in result.records] == list(zs)
    for row in result.records:
        delta = zs[row.name].grad * len(labels)
        assert 10**row.delta_log10_rms == pytest.approx(float(delta.square().mean().sqrt()))
        norm = float(modules[row.name].weight.grad.norm())
        assert row.gradient_norm == pytest.approx(norm)


THEIRS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def as_torchs(model: Any, arch: str, features: int) -> tuple[nn.Module, nn.Linear]:
    theirs = THEIRS[arch](features, 8, batch_first=True, dtype=torch.float64)
    cell, output = model.recurrent.cell, nn.Linear(8, 10, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(cell.input_weight[0])
        theirs.weight_hh_l0.copy_(cell.weight[0])
        theirs.bias_ih_l0.copy_(cell.input_bias[0])
        theirs.bias_hh_l0.copy_(cell.bias[0])
        output.weight.copy_(model.output.weight[0])
        output.bias.copy_(model.output.bias[0])
    return theirs, output


@pytest.mark.parametrize("arch", RECURRENT)
def test_each_recurrent_network_is_torchs(arch: str) -> None:
    model, inputs, _ = built(config(arch=arch, depth=5))
    theirs, output = as_torchs(model, arch, 8)
    hidden = theirs(inputs.unflatten(1, (5, 8)))[0][:, -1]
    torch.testing.assert_close(model(inputs.unsqueeze(0))[0], output(hidden))


@pytest.mark.parametrize("arch", RECURRENT)
def test_the_rows_are_the_gradients_of_the_last_loss_at_every_hidden_state(arch: str) -> None:
    options = config(arch=arch, depth=7, seeds=2, dtype="float64")
    result = diagnose(dataclasses.replace(options, seeds=1))
    model, inputs, labels = built(dataclasses.replace(options, seeds=1))
    theirs, output = as_torchs(model, arch, 8)
    steps = inputs.unflatten(1, (7, 8))
    h = torch.zeros(1, 6, 8, dtype=torch.float64)
    state: Any = (h, h.clone()) if arch == "lstm" else h
    hidden = []
    for t in range(7):  # step by step through torch's own layer
        _, state = theirs(steps[:, t : t + 1], state)
        h = state[0] if arch == "lstm" else state
        h.retain_grad()
        hidden.append(h)
    F.cross_entropy(output(h[0]), labels).backward()
    assert [row.name for row in result.records] == [*(f"step {t}" for t in range(1, 8)), "output"]
    for row, h in zip(result.records, hidden, strict=False):
        own = (h.grad * 6).square().mean().sqrt()
        assert 10**row.delta_log10_rms == pytest.approx(float(own), rel=1e-9)
        assert row.activation_mean == pytest.approx(float(h.detach().mean()), rel=1e-9)
    norm = float(output.weight.grad.norm())
    assert result.records[-1].gradient_norm == pytest.approx(norm, rel=1e-9)


def test_a_steps_gradient_is_its_own_term_of_the_recurrent_matrixs() -> None:
    """The same matrix, but a copy of it at every step."""
    options = config(arch="rnn", depth=4, dtype="float64")
    model, inputs, labels = built(options)
    cell = model.recurrent.cell
    copies = [cell.weight[0].detach().clone().requires_grad_() for _ in range(4)]
    h = torch.zeros(6, 8, dtype=torch.float64)
    for t, x in enumerate(inputs.unflatten(1, (4, 8)).unbind(1)):
        driven = x @ cell.input_weight[0].T + cell.input_bias[0]
        h = torch.tanh(driven + h @ copies[t].T + cell.bias[0])
    F.cross_entropy(h @ model.output.weight[0].T + model.output.bias[0], labels).backward()
    for row, copy in zip(diagnose(options).records, copies, strict=False):
        assert row.gradient_norm == pytest.approx(float(copy.grad.norm()), abs=1e-15)


def test_two_hundred_steps_are_measured_beyond_float32() -> None:
    options = config(arch="rnn", depth=200, width=32, spectral_radius=0.3)
    model, inputs, labels = built(options, torch.float32)
    logs = [
        step_logs(model.to(dtype), Batch(inputs.to(dtype), labels, 10), options)
        for dtype in (torch.float32, torch.float64)
    ]
    assert logs[0][0] < -100
    np.testing.assert_allclose(logs[0], logs[1], atol=1e-3)


def step_logs(model: nn.Sequential, data: Batch, options: NetworkConfig) -> list[float]:
    measured = measure_replicas(model, data, options)
    q = {name: measured.values[:, QUANTITIES.index(name), 0] for name in QUANTITIES}
    log: Tensor = q["delta_rms"].log10() + q["delta_exponent"] * math.log10(2)
    return log.tolist()


@pytest.mark.parametrize("arch", RECURRENT)
@pytest.mark.parametrize("radius", [0.5, 1.5])
def test_the_spectral_radius_is_what_was_asked_for(arch: str, radius: float) -> None:
    model, _, _ = built(config(arch=arch, seeds=3, spectral_radius=radius))
    cell = model.recurrent.cell
    for replica in range(3):
        for block in cell.weight[replica].detach().chunk(cell.gates):
            assert np.abs(np.linalg.eigvals(block.numpy())).max() == pytest.approx(radius)
    assert diagnose(config(arch=arch, spectral_radius=radius)).spectral_radius == pytest.approx(
        radius, rel=1e-5
    )


def test_no_tanh_network_exceeds_pascanus_bound() -> None:
    for radius in (0.5, 1.0, 1.5):
        for init in ("orthogonal", "lecun-normal"):
            result = diagnose(
                config(arch="rnn", depth=60, width=32, spectral_radius=radius, init=init)
            )
            assert result.rate < result.rate_bound
            bound = next(f for f in result.findings if f.code == "bound")
            assert f"{result.rate_bound:.3g}" in bound.message


def test_the_bound_is_reached_by_a_linear_orthogonal_network() -> None:
    result = diagnose(
        config(arch="rnn", act="identity", init="orthogonal", spectral_radius=1.1, depth=30)
    )
    assert result.rate_bound == pytest.approx(1.1, rel=1e-6)
    assert result.rate == pytest.approx(1.1, rel=1e-4)
    wide, _, _ = built(config(arch="rnn", init="lecun-normal"))
    weight = wide.recurrent.cell.weight
    assert float(largest_singular_values(weight)) == pytest.approx(
        float(np.linalg.norm(weight[0].detach().numpy(), 2))
    )
    assert float(spectral_radii(weight)) <= float(largest_singular_values(weight))


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_mean_field_theory_holds_for_wide_tanh_networks(radius: float) -> None:
    options = config(
        arch="rnn",
        depth=40,
        width=400,
        batch_size=16,
        spectral_radius=radius,
        init="lecun-normal",
        seeds=2,
    )
    result = diagnose(options)
    # Steps share one matrix of 400 units: corrections of a few per cent per rate.
    assert result.rate == pytest.approx(result.predicted_rate, rel=0.04)
    last = result.records[39]
    assert last.delta_log10_rms == pytest.approx(last.predicted_delta_log10_rms, abs=0.05)


def test_a_wide_input_quietens_chaos_and_theory_knows_it() -> None:
    """σ_w = 1.5 alone is chaotic (rate above 1); a strong input takes tanh to its plateaus."""
    base = config(arch="rnn", depth=60, width=128, seeds=4, spectral_radius=1.5)
    alone = diagnose(dataclasses.replace(base, init="lecun-normal", bias_variance=0.0))
    driven = diagnose(dataclasses.replace(base, init="lecun-normal", bias_variance=1.0))
    assert driven.predicted_rate < alone.predicted_rate
    assert driven.rate < alone.rate


@pytest.mark.parametrize("kind", ["batch", "layer", "rms"])
@pytest.mark.parametrize("dims", [3, 4, 5])
def test_norms_of_sequences_and_images_are_torchs(kind: str, dims: int) -> None:
    shape = {3: (2, 9, 6), 4: (2, 9, 5, 6), 5: (2, 9, 6, 4, 4)}[dims]
    inputs = torch.randn(shape, dtype=torch.float64) * 3 + 1
    ours = ReplicatedNorm(kind, 2, 6, torch.float64, dims)(inputs)
    for replica, x in enumerate(inputs):
        if kind == "batch":
            flat = x if dims == 5 else x.reshape(-1, 6)
            theirs = F.batch_norm(flat, None, None, training=True).reshape(x.shape)
        elif kind == "layer":
            theirs = F.layer_norm(x, x.shape[1:] if dims == 5 else (6,))
        else:
            theirs = F.rms_norm(x, x.shape[1:] if dims == 5 else (6,), eps=1e-5)
        torch.testing.assert_close(ours[replica], theirs)


def test_convolutions_are_torchs() -> None:
    conv = ReplicatedConv(2, 3, 4, torch.float64, stride=2)
    nn.init.normal_(conv.weight)
    nn.init.normal_(conv.bias)
    inputs = torch.randn(2, 5, 3, 8, 8, dtype=torch.float64)
    for replica, outputs in enumerate(conv(inputs)):
        weight, bias = conv.weight[replica], conv.bias[replica]
        torch.testing.assert_close(outputs, F.conv2d(inputs[replica], weight, bias, 2, 1))


def test_attention_is_torchs() -> None:
    ours = Attention(2, 8, 4, torch.float64)
    for p in ours.parameters():
        nn.init.normal_(p)
    inputs = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    theirs = nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64)
    for replica, outputs in enumerate(ours(inputs)):
        parts = (ours.query, ours.key, ours.value)
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat([p.weight[replica] for p in parts]))
            theirs.in_proj_bias.copy_(torch.cat([p.bias[replica] for p in parts]))
            theirs.out_proj.weight.copy_(ours.output.weight[replica])
            theirs.out_proj.bias.copy_(ours.output.bias[replica])
        x = inputs[replica]
        torch.testing.assert_close(outputs, theirs(x, x, x, need_weights=False)[0])


def test_pre_and_post_norm_are_what_they_are_called() -> None:
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    pre, _, _ = built(config(arch="resmlp", norm="layer"))
    post, _, _ = built(config(arch="resmlp", norm="layer", norm_position="post"))
    one, other = pre.block1, post.block1
    torch.testing.assert_close(one(x), x + one.body(F.layer_norm(x, (8,))))
    torch.testing.assert_close(other(x), F.layer_norm(x + other.body(x), (8,)))
    hidden, _, _ = built(config(arch="mlp", act="tanh", norm="layer", norm_position="post"))
    block = hidden.hidden1
    torch.testing.assert_close(block(x), F.layer_norm(torch.tanh(block.linear(x)), (8,)))


def test_post_norm_vanishes_where_pre_norm_does_not() -> None:
    """Xiong et al. 2020: at initialisation post-norm gradients decay with depth."""
    deep = config(arch="transformer", depth=24, width=32, batch_size=4, init="xavier-normal")
    pre = diagnose(deep)
    post = diagnose(dataclasses.replace(deep, norm_position="post"))
    first = [r for r in pre.records if r.name.endswith("dense.body.down")]
    other = [r for r in post.records if r.name.endswith("dense.body.down")]
    fall = [rows[-1].delta_log10_rms - rows[0].delta_log10_rms for rows in (first, other)]
    assert fall[1] > fall[0] + 0.5


def test_the_usual_activation_and_normalisation_follow_the_architecture() -> None:
    assert NetworkConfig().act == "relu"
    assert NetworkConfig(arch="rnn").act == "tanh"
    assert NetworkConfig(arch="rnn", act="relu").act == "relu"
    assert NetworkConfig().norm == "none"
    assert NetworkConfig(arch="transformer").norm == "layer"
    assert NetworkConfig(arch="transformer", norm="none").norm == "none"


def test_depth_1000_of_residual_blocks_and_steps_does_not_overflow() -> None:
    rnn = diagnose(config(arch="rnn", act="identity", depth=1000, spectral_radius=1.05))
    assert all(math.isfinite(row.delta_log10_rms) for row in rnn.records)
    res = diagnose(config(arch="resmlp", act="tanh", init="lecun-normal", depth=120))
    assert all(math.isfinite(row.delta_log10_rms) for row in res.records)


@pytest.mark.parametrize("arch", RECURRENT)
def test_remedies_of_recurrent_networks_are_their_own(arch: str) -> None:
    result = diagnose(
        config(arch=arch, depth=60, spectral_radius=0.2, init="default"),
        remedies=True,
        trial_steps=0,
    )
    assert result.verdict == "vanishing"
    assert "time steps" in result.findings[0].message
    names = {row.remedy for row in result.remedies}
    assert "spectral radius 1" in names
    assert ("LSTM" in names) == (arch == "rnn")
    assert not names & {"LayerNorm", "residual"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"arch": "rnn", "residual": True}, "--residual does not apply to --arch rnn"),
        ({"arch": "gru", "norm": "layer"}, "--norm does not apply to --arch gru"),
        ({"spectral_radius": 1.0}, "--arch mlp has none"),
        ({"norm": "layer", "norm_position": "mid"}, "unknown position of the normalisation 'mid'"),
        ({"arch": "rnnn"}, "unknown architecture 'rnnn'"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        diagnose(config(**options))


def test_images_have_to_be_square() -> None:
    assert image_shape(784) == (1, 28)
    assert image_shape(3 * 32 * 32) == (3, 32)
    with pytest.raises(GradflowError, match="square images"):
        image_shape(10)
