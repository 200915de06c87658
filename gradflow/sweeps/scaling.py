"""Networks of one shape and many variances, as replicas of one module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradflow.configs.network import NetworkConfig
from gradflow.sweeps.grid import Point, Task


def drawn(task: Task) -> NetworkConfig:
    """Return the networks from which those of all points are made: variances of 1, or of 0.

    Of a variance of 0 no random number is taken, so that those after it are others.
    """
    return replace(
        task.config.network(task.act, task.width, task.depth),
        weight_variance=float(task.points[0].weight_variance > 0),
        bias_variance=float(task.points[0].bias_variance > 0),
    )


def spread_out(model: nn.Module, points: Sequence[Point]) -> None:
    """Give every parameter the replicas of all points, from those drawn with variances of 1."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            variances = [p.bias_variance if name == "bias" else p.weight_variance for p in points]
            scale = torch.tensor([math.sqrt(v) for v in variances], dtype=torch.float64)
            setattr(module, name, nn.Parameter(_scaled(parameter.detach(), scale)))


def _scaled(parameter: Tensor, scale: Tensor) -> Tensor:
    """(seeds, …) to (points · seeds, …), the seeds of a point side by side."""
    each = scale.to(parameter).view(-1, *[1] * parameter.dim())
    return (each * parameter).flatten(0, 1)
