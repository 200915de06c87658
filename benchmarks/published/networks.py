"""Parts of gradflow's own networks at initialisation, and the passes through them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradflow import NetworkConfig
from gradflow.networks.architectures import build

CPU = torch.device("cpu")


def hidden(config: NetworkConfig, features: int) -> nn.Sequential:
    """Return all layers but the output's, in float64."""
    return build(config, features, 10, torch.float64, CPU)[:-1]


def random_inputs(config: NetworkConfig, *shape: int) -> Tensor:
    """Return the same Gaussian examples for every network: (replicas, *shape)."""
    generator = torch.Generator().manual_seed(config.seed)
    inputs = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return inputs.expand(config.seeds, *shape)


def mean_square(values: Tensor) -> list[float]:
    """Return that of every replica."""
    return values.square().flatten(1).mean(1).tolist()
