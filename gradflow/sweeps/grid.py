"""What a sweep goes over, cut into tasks: networks of one shape, as many as memory bears."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from gradflow.configs.memory import NUMBER
from gradflow.configs.sweep import SweepConfig

#: Bytes that the networks of one task may take: with fewer, each layer's calls are for too little.
_TASK = 256e6


@dataclass(frozen=True)
class Point:
    """The variances of one point: σ_w² and σ_b²."""

    weight_variance: float
    bias_variance: float


@dataclass(frozen=True)
class Task:
    """Points of one activation, width and depth, measured in one pass."""

    config: SweepConfig
    act: str
    width: int
    depth: int
    points: tuple[Point, ...]


def tasks(config: SweepConfig) -> Iterator[Task]:
    """Yield what is to be measured, shape by shape; deep ones first: no worker ends late."""
    variances = [
        Point(weight, bias)
        for bias, weight in itertools.product(config.bias_variances, config.weight_variances)
    ]
    alike = itertools.groupby(sorted(variances, key=_drawn), key=_drawn)
    groups = [list(points) for _, points in alike]
    deepest = sorted(config.depths, reverse=True)
    for act, width, depth in itertools.product(config.act, config.widths, deepest):
        size = _together(config, width, depth)
        for points in groups:
            for first in range(0, len(points), size):
                yield Task(config, act, width, depth, tuple(points[first : first + size]))


def _drawn(point: Point) -> tuple[bool, bool]:
    """Whether weights and biases are drawn at all: of a variance of 0 no random number is taken."""
    return point.weight_variance > 0, point.bias_variance > 0


def _together(config: SweepConfig, width: int, depth: int) -> int:
    """How many points fit into one task; at least one."""
    layer = width**2 + config.batch_size * width
    networks = config.seeds if config.train is None else max(config.seeds, 3)  # a rate each
    point = 2 * NUMBER * networks * depth * layer  # with their gradients
    return max(1, int(_TASK / point))
