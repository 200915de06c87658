"""Plain networks of ReLU and GELU (He 2015; Hanin & Rolnick 2018; Lu 2020; Roberts et al. 2022)."""

from __future__ import annotations

import functools
import itertools
import math

import torch
from published.claims import Claim
from published.networks import hidden, mean_square, random_inputs
from torch import nn

import gradflow
from gradflow import NetworkConfig
from gradflow.activations import activation
from gradflow.theories.phases import critical_point

#: Of VGG-B from conv2's inputs on, behind a convolution that stands for conv1.
FILTERS = [64, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
NETWORKS = 2000


def lost_by_small_weights() -> list[float]:
    """Return by how much the gradient is larger behind VGG-B's conv10 than before conv2."""
    lost = []
    for seed in range(3):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(FILTERS):
            conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="circular", bias=False)
            nn.init.normal_(conv.weight, std=0.01)
            layers += [conv, nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512 * 16, 10))
        rows = gradflow.diagnose(model, torch.randn(2, 64, 4, 4), torch.arange(2)).records
        lost.append(10 ** (rows[9].delta_log10_rms - rows[0].delta_log10_rms))
    return lost


def lengths(depth: int, width: int, variance: float) -> torch.Tensor:
    """Return the mean square of many ReLU networks' last activations over that of the input."""
    config = NetworkConfig(
        depth=depth,
        width=width,
        act="relu",
        weight_variance=variance,
        bias_variance=0.0,
        seeds=NETWORKS,
    )
    inputs = random_inputs(config, 1, width)
    last = torch.tensor(mean_square(hidden(config, width)(inputs)))
    return last / inputs[0].square().mean()


def mean_length(variance: float) -> list[float]:
    """Return E M_d / M_0 after four layers of 40 units, over groups of networks."""
    return [float(group.mean()) for group in lengths(4, 40, variance).chunk(5)]


def length_spread(width: int) -> list[float]:
    """Return E M_d² / (E M_d)² after four layers."""
    return [float(g.square().mean() / g.mean() ** 2) for g in lengths(4, width, 2.0).chunk(5)]


def born_dead(width: int, depth: int) -> list[float]:
    """Return the share of ReLU networks of one input that are constant on both sides of 0."""
    config = NetworkConfig(
        depth=depth - 1, width=width, act="relu", init="he-normal", bias_variance=0.0, seeds=4000
    )
    inputs = torch.tensor([[-1.0], [1.0]]).double().expand(4000, 2, 1)
    alive = (hidden(config, 1)(inputs) > 0).any(dim=-1).any(dim=-1)
    return [1 - float(group.double().mean()) for group in alive.chunk(8)]


def born_dead_bounds(width: int, depth: int) -> tuple[float, float]:
    """Return the bounds of theorem 3.3 by their formula."""
    n = 2.0**-width
    a1, a2 = 1 - n, 1 - 2 * n - (width - 1) * n * n
    share = (1 - 2 * n) * (1 - n) / (1 + (width - 1) * n)
    lower = 1 - a1 ** (depth - 2) + share * (a2 ** (depth - 2) - a1 ** (depth - 2))
    return lower, 1 - (1 - n) ** (depth - 1)


def critical(name: str, place: int) -> list[float]:
    """Return σ_b² (0) or σ_w² (1) of an activation's critical point."""
    found = critical_point(activation(name))
    return [] if found is None else [found[place]]


def _critical(name: str, place: int, published: float) -> Claim:
    return Claim(
        "Roberts, Yaida & Hanin 2022, section 5.3.4",
        f"{('σ_b²', 'σ_w²')[place]} of {name}'s half-stable critical point",
        f"{published:.8f}",
        published,
        1e-7,
        functools.partial(critical, name, place),
    )


def _dead(width: int, depth: int, published: str) -> Claim:
    return Claim(
        "Lu et al. 2020, theorem 3.3",
        f"share of networks born dead, width {width}, depth {depth}",
        published,
        born_dead_bounds(width, depth),
        0.02,  # 4,000 networks have a standard error below 0.008
        functools.partial(born_dead, width, depth),
    )


CLAIMS = [
    Claim(
        "He et al. 2015, section 2.2",
        "loss of gradient from conv10 to conv2 of VGG-B at a standard deviation of 0.01",
        "1.7·10⁴",
        math.prod((9 * d / 2 * 1e-4) ** -0.5 for d in FILTERS[2:]),
        0.25,  # three networks, of which each scatters by some 10 %
        lost_by_small_weights,
    ),
    Claim(
        "Hanin & Rolnick 2018, theorem 5",
        "mean length after four layers of weights of variance 3/n",
        "(3/2)^d",
        1.5**4,
        0.05,  # 2,000 networks, whose lengths have a standard deviation of 0.8: 1.7 %
        functools.partial(mean_length, 3.0),
    ),
    Claim(
        "Hanin & Rolnick 2018, theorem 5",
        "E M²/(E M)² after four layers of 20 units",
        "exp(O(Σ 1/n))",
        (1 + 5 / 20) ** 4,  # exact for Gaussian weights (Hanin & Nica 2020)
        0.15,  # the mean of a square with heavy tails
        functools.partial(length_spread, 20),
    ),
    Claim(
        "Hanin & Rolnick 2018, theorem 5",
        "E M²/(E M)² after four layers of 40 units",
        "exp(O(Σ 1/n))",
        (1 + 5 / 40) ** 4,
        0.08,
        functools.partial(length_spread, 40),
    ),
    _dead(2, 10, "0.870 to 0.925"),
    _dead(4, 20, "0.520 to 0.707"),
    _critical("gelu-erf", 0, 0.17292239),
    _critical("gelu-erf", 1, 1.98305826),
    _critical("silu", 0, 0.55514317),
    _critical("silu", 1, 1.98800468),
]
