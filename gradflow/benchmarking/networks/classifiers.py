"""The image classifiers that ``benchmark`` trains, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from gradflow.activations import Activation
from gradflow.benchmarking.networks.convnet import keras_initialize
from gradflow.benchmarking.networks.fast_layers import AlphaDropout, Dropout
from gradflow.configs.classifiers import CLASSIFIERS, Classifier
from gradflow.configs.registries import loaded
from gradflow.errors import GradflowError, named
from gradflow.networks.initialization import INITIALIZERS, initialize_layer, initializer

#: The article's initialisation: Keras' defaults, and LeCun-normal weights for SELU.
KERAS = "keras"

Rates = tuple[float, float]


def mlp(
    activation: Activation, input_shape: tuple[int, int], classes: int, dropout: Rates
) -> nn.Sequential:
    """Return two hidden layers of 512 units."""
    return _dense((512, 512), activation, input_shape, classes, dropout)


def deep_mlp(
    activation: Activation, input_shape: tuple[int, int], classes: int, dropout: Rates
) -> nn.Sequential:
    """Return ten hidden layers of 128 units."""
    return _dense((128,) * 10, activation, input_shape, classes, dropout)


def _dense(
    hidden: Sequence[int],
    activation: Activation,
    input_shape: tuple[int, int],
    classes: int,
    dropout: Rates,
) -> nn.Sequential:
    drop = AlphaDropout if activation.name == "selu" else Dropout
    sizes = [math.prod(input_shape), *hidden]
    modules: list[nn.Module] = [nn.Flatten()]
    for number, (fan_in, fan_out) in enumerate(zip(sizes, hidden, strict=False), start=1):
        modules += [nn.Linear(fan_in, fan_out), activation.module()]
        rate = dropout[1] if number == len(hidden) else dropout[0]
        if rate and number >= len(hidden) - 1:
            modules.append(drop(rate))
    network = nn.Sequential(*modules, nn.Linear(sizes[-1], classes))
    _keras(network, activation)
    return network


def recipe(name: str) -> Classifier:
    """Return how the named classifier is built.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("architecture", name, CLASSIFIERS)


def check_images(name: str, input_shape: tuple[int, int]) -> None:
    """Raise `GradflowError` if images of this shape are too small for the named classifier."""
    check = recipe(name).check
    if check is not None:
        loaded(check)(input_shape)


def initializer_names() -> list[str]:
    """Return the names that `build` takes as `init`."""
    return [KERAS, *INITIALIZERS]


def classifier(
    arch: str,
    activation: Activation,
    input_shape: tuple[int, int],
    classes: int,
    *,
    dropout: str,
    init: str,
) -> nn.Sequential:
    """Return the named classifier, its weights drawn from torch's default generator.

    Parameters
    ----------
    dropout
        ``P/Q``; see `rates`.
    init
        `KERAS` or a key of `gradflow.networks.initialization.INITIALIZERS`.
    """
    make = loaded(recipe(arch).build)
    network: nn.Sequential = make(activation, input_shape, classes, rates(dropout))
    if init != KERAS:
        how = initializer(init)
        for layer in layers(network):
            with torch.no_grad():
                initialize_layer(layer.weight, layer.bias, how)
    return network


def layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the layers with weights, in their order."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def rates(text: str) -> Rates:
    """Return the two rates of ``P/Q``, or of ``P`` for both.

    Raises
    ------
    GradflowError
        If they are not numbers from 0 to below 1.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= rate < 1 for rate in numbers):
        raise GradflowError(
            f"--dropout must be one or two shares from 0 to below 1, got '{text}'",
            "like --dropout 0.5 or --dropout 0.25/0.5",
        )
    return numbers[0], numbers[-1]


def _keras(network: nn.Module, activation: Activation) -> None:
    found = layers(network)
    for layer in found:
        lecun = activation.name == "selu" and layer is not found[-1]
        keras_initialize(layer, lecun)
