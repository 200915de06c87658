"""What papers publish, by closed forms that share no code with gradflow, and what it measures."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn

import gradflow
from gradflow import NetworkConfig
from gradflow.networks.architectures import build


def hidden(config: NetworkConfig, features: int) -> nn.Sequential:
    """Return the hidden layers of a network."""
    model = build(config, features, 10, torch.float64, torch.device("cpu"))
    return model[:-1]


def squared_singular_values(config: NetworkConfig, seed: int) -> torch.Tensor:
    """Return those of the Jacobian of a stack of square layers, at one random input."""
    body = hidden(dataclasses.replace(config, seed=seed), config.width)
    point = torch.randn(config.width, generator=torch.Generator().manual_seed(seed)).double()
    jacobian = torch.func.jacrev(lambda x: body(x[None, None])[0, 0])(point)
    return torch.linalg.svdvals(jacobian.detach()).square()


@pytest.mark.parametrize(
    ("act", "init", "gain", "per_layer"),
    [
        ("identity", "lecun-normal", 1.0, 1),
        ("relu", "he-normal", 1.0, 2),
        ("relu", "orthogonal", 2**0.5, 1),
        ("identity", "orthogonal", 1.0, 0),
    ],
)
@pytest.mark.parametrize("depth", [2, 5])
def test_the_spread_of_the_jacobians_singular_values(
    act: str, init: str, gain: float, per_layer: int, depth: int
) -> None:
    """Pennington et al. 2017, section 3: Var(λ)/E[λ]² of JJᵀ is L, 2L, L and 0.

    Of infinite width. At 200 units, over 12 networks, within 15 % (the standard error is 4 %).
    """
    config = NetworkConfig(depth=depth, width=200, act=act, init=init, gain=gain, bias_variance=0.0)
    values = torch.cat([squared_singular_values(config, seed) for seed in range(12)])
    spread = float(values.square().mean() / values.mean() ** 2 - 1)
    assert spread == pytest.approx(per_layer * depth, rel=0.15, abs=1e-9)


def born_dead(width: int, depth: int, networks: int) -> float:
    """Return the share of ReLU networks of one input that are constant on both sides of 0."""
    config = NetworkConfig(
        depth=depth - 1,
        width=width,
        act="relu",
        init="he-normal",
        bias_variance=0.0,
        seeds=networks,
    )
    body = hidden(config, 1)
    inputs = torch.tensor([[-1.0], [1.0]]).double().expand(networks, 2, 1)
    alive = (body(inputs) > 0).any(dim=-1).any(dim=-1)
    return 1 - float(alive.double().mean())


@pytest.mark.parametrize(
    ("width", "depth", "low", "high"), [(2, 10, 0.870, 0.925), (4, 20, 0.520, 0.707)]
)
def test_how_many_relu_networks_are_born_dead(
    width: int, depth: int, low: float, high: float
) -> None:
    """Lu et al. 2020, theorem 3.3: bounds on the probability, of one input and without biases.

    The bounds by their formula; 4,000 networks have a standard error below 0.008.
    """
    n = 2.0**-width
    upper = 1 - (1 - n) ** (depth - 1)
    a1, a2 = 1 - n, 1 - 2 * n - (width - 1) * n * n
    share = (1 - 2 * n) * (1 - n) / (1 + (width - 1) * n)
    lower = 1 - a1 ** (depth - 2) + share * (a2 ** (depth - 2) - a1 ** (depth - 2))
    assert (lower, upper) == pytest.approx((low, high), abs=6e-4)
    assert lower - 0.02 < born_dead(width, depth, 4000) < upper + 0.02


def test_small_weights_lose_the_gradient_of_vgg() -> None:
    """He et al. 2015, section 2.2: 1.7·10⁴ from conv10 to conv2 at a standard deviation of 0.01.

    Each layer back multiplies δ by √(½ k² d) · 0.01 for d filters of k × k: 5.9, 4.2², 2.9² and
    2.1⁴ are the inverses.
    """
    filters = [64, 128, 128, 256, 256, 512, 512, 512, 512]
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(filters):
        conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.normal_(conv.weight, std=0.01)
        layers += [conv, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512 * 16, 10))
    inputs = torch.randn(4, 64, 4, 4)
    rows = gradflow.diagnose(model, inputs, torch.arange(4)).records
    lost = rows[7].delta_log10_rms - rows[0].delta_log10_rms
    predicted = [0.5 * torch.log10(torch.tensor(9 * d / 2 * 1e-4)) for d in filters[2:]]
    assert lost == pytest.approx(-float(sum(predicted)), abs=0.1)
