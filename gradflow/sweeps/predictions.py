"""What theory says of the points of a sweep: their gradients, the edge of chaos, depth scales."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from gradflow.activations import Activation, activation
from gradflow.arrays import Floats
from gradflow.configs.sweep import SweepConfig
from gradflow.results.sweep import EdgeOfChaosRow, ScaleRow
from gradflow.theories.correlation import correlation_depth_scales
from gradflow.theories.phases import critical_weight_variance
from gradflow.theories.propagation import gradient_ratios

#: σ_w² at which the depth scale is calculated, between the least and the largest of the sweep.
_CURVE = 61


def predicted(
    act: Activation, config: SweepConfig, bias_variance: float, mean_square: float
) -> dict[tuple[int, float], float | None]:
    """Return log₁₀ of δ's rms at the first hidden layer over the last one's.

    Parameters
    ----------
    mean_square
        Of the inputs' entries.

    Returns
    -------
    dict
        By depth and σ_w²; None where there is no such number.
    """
    weights = np.array(config.weight_variances)
    biases = np.full_like(weights, bias_variance)
    start = weights * mean_square + biases
    ratios = gradient_ratios(act, weights, biases, start, max(config.depths))
    return {
        (depth, weight): _known(float(ratios[depth - 1, place]))
        for depth in config.depths
        for place, weight in enumerate(config.weight_variances)
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def edges(config: SweepConfig) -> Iterator[EdgeOfChaosRow]:
    """Yield the edge of chaos of every activation and σ_b²; None where there is none."""
    for name, bias in itertools.product(config.act, config.bias_variances):
        act = activation(name, alpha=config.alpha)
        yield EdgeOfChaosRow(act.name, bias, critical_weight_variance(act, bias))


def scales(config: SweepConfig, mean_square: float) -> Iterator[ScaleRow]:
    """Yield the depth scale at every σ_w², and at others between them for a smooth curve."""
    own = np.array(config.weight_variances)
    between = np.linspace(own.min(), own.max(), _CURVE)
    weights: Floats = np.unique(np.concatenate([own, between]))
    for name, bias in itertools.product(config.act, config.bias_variances):
        act = activation(name, alpha=config.alpha)
        curve = correlation_depth_scales(act, weights, bias, mean_square)
        for weight, scale in zip(weights.tolist(), curve.tolist(), strict=True):
            yield ScaleRow(act.name, bias, weight, scale)
