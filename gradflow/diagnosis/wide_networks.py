"""Built-in networks as parts of infinite width: what `networks.architectures` builds, for theory.

Each follows its builder, dense layer by dense layer, in the order of the rows of a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gradflow.activations import Activation
from gradflow.configs.network import NetworkConfig
from gradflow.networks.architectures import heads_of, token_shape
from gradflow.networks.initialization import Initializer, configured
from gradflow.theories.wide import (
    Attention,
    Chain,
    Dense,
    Elementwise,
    Gaussian,
    Mean,
    Norm,
    Part,
    Shortcut,
    Split,
)

#: Numbers in a sample of units that stand for infinitely many, the most units that are of use, and
#: the least per point that they are a Gaussian over.
_SAMPLE, _MOST_UNITS, _UNITS_PER_POINT = 2**16, 8192, 16


@dataclass
class WideNetwork:
    """A network under construction, and its dense layers so far.

    Attributes
    ----------
    groups
        Of points that see each other: examples, where each is alone.
    points
        In each group.
    """

    config: NetworkConfig
    phi: Activation
    groups: int
    points: int
    layers: list[Dense] = field(default_factory=list)

    def __post_init__(self) -> None:
        c = self.config
        self.see(self.points)
        self._how: Initializer = configured(c.init, c.gain, c.weight_variance, c.bias_variance)

    def see(self, points: int) -> None:
        """Say that there are so many points in a group."""
        wanted = min(_SAMPLE // (self.groups * points), _MOST_UNITS)
        pair = 2 * self.config.width  # an even number of units, and of a transformer's heads
        units = pair * math.ceil(max(wanted, _UNITS_PER_POINT * points) / pair)
        self._draw = Gaussian(units, np.random.default_rng(0))
        self._sample = units * self.groups * points

    @property
    def numbers(self) -> int:
        """How many numbers the samples of all dense layers have."""
        return len(self.layers) * self._sample

    def dense(self, inputs: int, outputs: int) -> Dense:
        """Return a new dense layer."""
        variance = self._how.variance(inputs, outputs)
        bias = self._how.bias_variance(inputs)
        self.layers.append(Dense(self._draw, variance * inputs, bias, variance * outputs))
        return self.layers[-1]

    def activation(self) -> Elementwise:
        """Return the activation."""
        return Elementwise(self.phi)

    def norms(self, position: str) -> list[Part]:
        """Return the normalisation as a list, which is empty where there is none at a position."""
        here = self.config.norm != "none" and self.config.norm_position == position
        return [Norm(self.config.norm)] if here else []

    def residual(self, branch: list[Part]) -> list[Part]:
        """Return x + branch(norm(x)), or norm(x + branch(x))."""
        return [Shortcut(Chain([*self.norms("pre"), *branch])), *self.norms("post")]

    def two_layers(self, inner: int) -> list[Part]:
        """Return dense layers to `inner` units and back, an activation between them."""
        width = self.config.width
        return [self.dense(width, inner), self.activation(), self.dense(inner, width)]


#: Units per layer that a stack with shortcuts and no normalisation needs to be near its limit: its
#: activations' mean adds up from layer to layer, and so does what a layer adds to it by chance.
_UNITS_PER_LAYER = 16


def mlp(network: WideNetwork, features: int, classes: int) -> list[Part] | None:
    """Return the parts of a fully connected network; None where it is too narrow for its depth."""
    config, parts, before = network.config, list[Part](), features
    adds_up = config.residual and config.norm == "none"
    if adds_up and config.width < _UNITS_PER_LAYER * config.depth:
        return None
    for index in range(config.depth):
        inner = [network.dense(before, config.width), *network.norms("pre"), network.activation()]
        parts += [Shortcut(Chain(inner))] if config.residual and index else inner
        parts += network.norms("post")
        before = config.width
    return [*parts, network.dense(before, classes)]


def resmlp(network: WideNetwork, features: int, classes: int) -> list[Part]:
    """Return the parts of residual blocks of two dense layers."""
    config = network.config
    parts: list[Part] = [network.dense(features, config.width)]
    for _ in range(config.depth):
        parts += network.residual(network.two_layers(config.width))
    return [*parts, network.dense(config.width, classes)]


def transformer(network: WideNetwork, features: int, classes: int) -> list[Part] | None:
    """Return the parts of blocks of attention and two dense layers.

    None with batch normalisation, which sees the tokens of all examples.
    """
    if network.config.norm == "batch":
        return None
    config, width = network.config, network.config.width
    tokens, size = token_shape(config, features)
    network.see(tokens)
    parts: list[Part] = [Split(tokens, size), network.dense(size, width)]
    for _ in range(config.depth):
        maps = [network.dense(width, width) for _ in range(4)]
        parts += network.residual([Attention(maps, width // heads_of(config))])
        parts += network.residual(network.two_layers(4 * width))
    last = network.norms("pre")
    return [*parts, *last, Mean(), network.dense(width, classes)]
