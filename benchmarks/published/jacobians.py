"""Singular values of layers and of networks (Glorot & Bengio 2010; Pennington et al. 2017)."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from published.claims import Claim
from published.networks import hidden
from torch import Tensor

from gradflow import NetworkConfig

WIDTH = 200
#: Mean singular value of a large square matrix with entries of variance 1/n (quarter-circle law).
QUARTER_CIRCLE = 8 / (3 * math.pi)


def singular_values(config: NetworkConfig, seed: int) -> Tensor:
    """Return those of the Jacobian of a stack of square layers, at one random input."""
    body = hidden(dataclasses.replace(config, seed=seed), config.width)
    point = torch.randn(config.width, generator=torch.Generator().manual_seed(seed)).double()
    jacobian = torch.func.jacrev(lambda x: body(x[None, None])[0, 0])(point)
    return torch.linalg.svdvals(jacobian.detach())


def mean_of_a_layer(init: str) -> list[float]:
    """Return the mean singular value of single linear layers."""
    config = NetworkConfig(depth=1, width=WIDTH, act="identity", init=init)
    return [float(singular_values(config, seed).mean()) for seed in range(6)]


def relative_variance(act: str, init: str, gain: float, depth: int) -> list[float]:
    """Return Var(λ)/E[λ]² of the squared singular values λ, over 12 networks together."""
    config = NetworkConfig(
        depth=depth, width=WIDTH, act=act, init=init, gain=gain, bias_variance=0.0
    )
    values = torch.cat([singular_values(config, seed).square() for seed in range(12)])
    return [float(values.square().mean() / values.mean() ** 2 - 1)]


def _layer(name: str, init: str, published: str, expected: float) -> Claim:
    return Claim(
        "Glorot & Bengio 2010, section 4.2.2",
        f"mean singular value of a layer, {name} initialisation",
        published,
        expected,
        0.01,
        functools.partial(mean_of_a_layer, init),
    )


def _spread(act: str, init: str, gain: float, per_layer: int, depth: int) -> Claim:
    multiple = {0: "0", 1: "L", 2: "2L"}[per_layer]
    return Claim(
        "Pennington et al. 2017, section 3",
        f"Var(λ)/E[λ]² of JJᵀ, {act}, {init}, L = {depth}",
        multiple,
        per_layer * depth,
        0.15 if per_layer else 1e-9,  # the standard error of 12 networks of 200 units is 4 %
        functools.partial(relative_variance, act, init, gain, depth),
    )


CLAIMS = [
    _layer("normalised", "xavier-uniform", "around 0.8", QUARTER_CIRCLE),
    _layer("standard", "default", "0.5", QUARTER_CIRCLE / math.sqrt(3)),
    *(
        _spread(act, init, gain, per_layer, depth)
        for act, init, gain, per_layer in (
            ("identity", "lecun-normal", 1.0, 1),
            ("relu", "he-normal", 1.0, 2),
            ("relu", "orthogonal", 2**0.5, 1),
            ("identity", "orthogonal", 1.0, 0),
        )
        for depth in (2, 5)
    ),
]
