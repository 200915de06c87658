"""Networks of one shape and many variances, as replicas of one module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradflow.networks.architectures import build
from gradflow.networks.initialization import Initializer
from gradflow.sweeps.grid import Point, Task


def drawn(task: Task, inputs: int, outputs: int, dtype: torch.dtype, seeds: int) -> nn.Sequential:
    """Return the networks of a task's points, on the CPU, a replica for every point and seed.

    Weights and biases are drawn with a standard deviation of 1 and multiplied by each point's, as
    drawing them for that point alone would: to the bit.

    Parameters
    ----------
    seeds
        Networks of each point.
    """
    config = replace(task.config.network(task.act, task.width, task.depth), seeds=seeds)
    weights, biases = (float(v > 0) for v in vars(task.points[0]).values())  # of 0 none is drawn
    rule = Initializer(lambda *_: weights, bias_variance=lambda _: biases)
    model = build(config, inputs, outputs, dtype, torch.device("cpu"), rule)
    spread_out(model, task.points)
    return model


def spread_out(model: nn.Module, points: Sequence[Point]) -> None:
    """Give every parameter the replicas of all points, from those of standard deviation 1."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            fan_in = 1 if name == "bias" else parameter.shape[-1]
            of = "bias_variance" if name == "bias" else "weight_variance"
            deviations = [math.sqrt(getattr(point, of) / fan_in) for point in points]
            scale = torch.tensor(deviations, dtype=torch.float64)
            setattr(module, name, nn.Parameter(_scaled(parameter.detach(), scale)))


def _scaled(parameter: Tensor, scale: Tensor) -> Tensor:
    """(seeds, …) to (points · seeds, …), the seeds of a point side by side."""
    each = scale.to(parameter).view(-1, *[1] * parameter.dim())
    return (each * parameter).flatten(0, 1)
