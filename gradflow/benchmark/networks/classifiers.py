"""The image classifiers that ``benchmark`` trains, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gradflow.activations import Activation
from gradflow.benchmark.networks.convnet import article_network, check_size, keras_initialize
from gradflow.benchmark.networks.fast_layers import AlphaDropout, Dropout
from gradflow.errors import GradflowError, named
from gradflow.networks.initialization import initialize_layer, initializer

#: The article's initialisation: Keras' defaults, and LeCun-normal weights for SELU.
KERAS = "keras"

Rates = tuple[float, float]


@dataclass(frozen=True)
class Classifier:
    """How a classifier is built, and what it is usually dropped out with.

    Attributes
    ----------
    build
        (activation, (height, width), classes, dropout) -> images (N, 1, H, W) to logits.
    dropout
        Share of units dropped after the last but one, and after the last, hidden layer.
    check
        Raises `GradflowError` for images that are too small.
    """

    build: Callable[[Activation, tuple[int, int], int, Rates], nn.Sequential]
    dropout: Rates
    check: Callable[[tuple[int, int]], None] = lambda _: None


def _mlp(*hidden: int) -> Callable[[Activation, tuple[int, int], int, Rates], nn.Sequential]:
    def build(
        activation: Activation, input_shape: tuple[int, int], classes: int, dropout: Rates
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

    return build


#: name -> classifier. ``cnn`` is the article's; ``mlp`` is Keras' MNIST MLP; ``deep-mlp`` is deep
#: enough for gradients to vanish in. A new one is one entry.
CLASSIFIERS: dict[str, Classifier] = {
    "cnn": Classifier(article_network, (0.25, 0.5), check_size),
    "mlp": Classifier(_mlp(512, 512), (0.2, 0.2)),
    "deep-mlp": Classifier(_mlp(*[128] * 10), (0.0, 0.0)),
}


def recipe(name: str) -> Classifier:
    """Return how the named classifier is built.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("architecture", name, CLASSIFIERS)


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
    network = recipe(arch).build(activation, input_shape, classes, rates(dropout))
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
