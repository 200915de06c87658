"""The article's convolutional network, laid out for speed.

Conv 32 3×3 · act · Conv 64 3×3 · act · max-pool 2 · dropout ¼ · dense 128 · act · dropout ½ ·
dense, as in Keras' MNIST example; SELU with LeCun-normal weights and alpha dropout, the others
with Keras' defaults (Glorot-uniform weights, zero biases).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from gradflow.activations import Activation
from gradflow.benchmarking.networks.fast_layers import (
    AlphaDropout,
    ChannelsLastFlatten,
    Dropout,
    TanhGELU,
)
from gradflow.errors import GradflowError

_SMALLEST = 6  # pixels: two valid 3×3 convolutions and a 2×2 pool leave one

_TRUNCATED_STD = 0.87962566103423978  # of N(0, 1) cut off at ±2


def article_network(
    activation: Activation,
    input_shape: tuple[int, int] = (28, 28),
    classes: int = 10,
    dropout: tuple[float, float] = (0.25, 0.5),
) -> nn.Sequential:
    """Return the network in channels-last layout: images (N, 1, H, W) to logits (N, classes).

    Weights are drawn from torch's default generator. With a monotone activation the pool comes
    before it: max f(x) = f(max x), on a quarter of the values.

    Raises
    ------
    GradflowError
        If the images are smaller than 6×6.
    """
    check_size(input_shape)
    selu = activation.name == "selu"
    drop = AlphaDropout if selu else Dropout
    second: list[nn.Module] = [_act(activation), nn.MaxPool2d(2)]
    if activation.monotonic:
        second.reverse()
    features = 64 * math.prod((pixels - 4) // 2 for pixels in input_shape)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        _act(activation),
        nn.Conv2d(32, 64, 3),
        *second,
        ChannelsLastFlatten(),
        drop(dropout[0]),
        nn.Linear(features, 128),
        _act(activation),
        drop(dropout[1]),
        nn.Linear(128, classes),
    )
    layers = [m for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        keras_initialize(layer, lecun=selu and layer is not layers[-1])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def check_size(input_shape: tuple[int, int]) -> None:
    """Refuse images that are too small for the network."""
    if min(input_shape) < _SMALLEST:
        raise GradflowError(
            f"images of {input_shape[0]}×{input_shape[1]} are too small for the network",
            f"it needs {_SMALLEST}×{_SMALLEST} or more",
        )


def _act(activation: Activation) -> nn.Module:
    if activation.name == "gelu":
        return TanhGELU()
    # In place where the backward pass needs the result alone, which only monotone ones allow.
    return activation.module(inplace=activation.monotonic)


def keras_initialize(layer: nn.Conv2d | nn.Linear, lecun: bool) -> None:
    """Draw the weights as Keras does by default, or LeCun-normal ones; biases are 0."""
    if lecun:  # Keras' lecun_normal: variance 1/fan-in after truncation at two deviations
        std = math.sqrt(1 / layer.weight[0].numel()) / _TRUNCATED_STD
        nn.init.trunc_normal_(layer.weight, 0.0, std, -2 * std, 2 * std)
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
