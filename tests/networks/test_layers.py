"""The built-in networks are those of torch.nn, many at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import batch
from gradflow.errors import GradflowError
from gradflow.networks import recurrent
from gradflow.networks.architectures import Block, ReplicatedLinear, ReplicatedNorm, build
from gradflow.networks.layers import ReplicatedConv, kind

CPU = torch.device("cpu")


def built(**options: Any) -> nn.Sequential:
    config = NetworkConfig(**{"depth": 3, "width": 6, "act": "tanh", **options})
    return build(config, 5, 4, torch.float64, CPU)


def test_each_replica_is_a_plain_network_of_torch() -> None:
    model = built(seeds=3, init="lecun-normal", bias_variance=0.5)
    inputs = torch.randn(7, 5, dtype=torch.float64)
    outputs = model(inputs.expand(3, -1, -1))
    for replica in range(3):
        x = inputs
        for block in list(model)[:-1]:
            assert isinstance(block, Block)
            linear = block.linear
            x = torch.tanh(nn.functional.linear(x, linear.weight[replica], linear.bias[replica]))
        x = nn.functional.linear(x, model.output.weight[replica], model.output.bias[replica])
        torch.testing.assert_close(outputs[replica], x)


@pytest.mark.parametrize("kind", ["batch", "layer", "rms"])
def test_each_norm_is_torchs(kind: str) -> None:
    inputs = torch.randn(2, 9, 6, dtype=torch.float64) * 3 + 1
    ours = ReplicatedNorm(kind, 2, 6, torch.float64)(inputs)
    theirs = {
        "batch": nn.BatchNorm1d(6, dtype=torch.float64),
        "layer": nn.LayerNorm(6, dtype=torch.float64),
        "rms": nn.RMSNorm(6, eps=1e-5, dtype=torch.float64),
    }[kind]
    for replica in range(2):
        torch.testing.assert_close(ours[replica], theirs(inputs[replica]))


def test_residual_adds_the_input_from_the_second_layer_on() -> None:
    model = built(residual=True)
    assert [block.residual for block in list(model)[:-1]] == [False, True, True]
    x = torch.randn(1, 7, 6, dtype=torch.float64)
    block = list(model)[1]
    torch.testing.assert_close(block(x), x + torch.tanh(block.linear(x)))


def test_gaussian_inputs_are_not_the_networks_own_weights() -> None:
    config = NetworkConfig(width=100, batch_size=100, init="lecun-normal", depth=1)
    inputs = batch(config, torch.float32, CPU).inputs.flatten()
    model = build(config, 100, 10, torch.float32, CPU)
    weights = next(iter(model)).linear.weight.detach().flatten()
    correlation = torch.corrcoef(torch.stack([inputs, weights]))[0, 1]
    assert abs(float(correlation)) < 0.04  # four standard errors of 10,000 pairs


def test_the_output_layer_has_no_bias_mean() -> None:
    model = built(bias_mean=-10.0)
    assert float(model.output.bias.detach().abs().max()) < 1
    assert float(next(iter(model)).linear.bias.detach().max()) < -9


def test_the_layers_have_names() -> None:
    names = [n for n, m in built().named_modules() if isinstance(m, ReplicatedLinear)]
    assert names == ["hidden1.linear", "hidden2.linear", "hidden3.linear", "output"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(GradflowError, match="unknown architecture 'cnm'"):
        built(arch="cnm")
    with pytest.raises(GradflowError, match="unknown normalisation 'bach'"):
        built(norm="bach")
    with pytest.raises(GradflowError, match="no alpha"):
        built(alpha=0.1)


def test_it_is_built_on_any_device() -> None:
    config = NetworkConfig(depth=2, width=4, seeds=2)
    model = build(config, 4, 10, torch.float32, torch.device("meta"))
    assert model(torch.empty(2, 3, 4, device="meta")).shape == (2, 3, 10)


class Cell(nn.Module):
    """A user's own, of the name that a built-in one has."""


def test_files_name_a_built_in_layer_as_torch_does() -> None:
    names = {type(m).__name__: kind(m) for m in built().modules()}
    assert names["ReplicatedLinear"] == "Linear"
    assert kind(ReplicatedConv(1, 1, 1, torch.float32)) == "Conv2d"
    assert kind(recurrent.Cell(1, 2, 2, nn.Tanh(), torch.float32)) == "RNNCell"
    assert kind(recurrent.LSTMCell(1, 2, 2, nn.Tanh(), torch.float32)) == "LSTMCell"
    assert kind(Cell()) == "Cell"
