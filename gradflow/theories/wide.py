"""Wide networks of any make, forward and back: the limit of infinite width, layer by layer.

There, the units of a dense layer are independent Gaussians over the points that it sees (examples,
or the tokens of one), with the covariance σ_w² E[h(x) h(x′)] + σ_b²; and so are the entries of the
gradient that comes down through its weights, with n_out Var(w) E[δ(x) δ(x′)], independent of all
that went up (Lee et al. 2018; Yang 2019, "Scaling limits of wide neural networks"). Both hold as
long as every weight is used once and those of the output are drawn independently.

A part therefore takes a sample of units and gives one: dense layers draw anew, everything else
(activations, normalisations, shortcuts, attention) does what it does in a network. Samples come in
pairs z, −z of exactly unit covariance, so that the linear part of every expectation has no error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gradflow.arrays import Floats
from gradflow.errors import GradflowError

if TYPE_CHECKING:
    from gradflow.activations import Activation

#: What normalisations add to the variance, as torch's do.
_EPSILON = 1e-5


class Part(Protocol):
    """A part of a network. Values and gradients are (groups, units, points)."""

    def forward(self, values: Floats) -> Floats:
        """Return its outputs, and remember what the way back needs."""

    def backward(self, gradient: Floats) -> Floats:
        """Return the gradient of its inputs from that of its outputs."""


@dataclass
class Gaussian:
    """Draws Gaussian units of a given covariance over the points of each group."""

    units: int
    rng: np.random.Generator

    def __call__(self, covariance: Floats) -> Floats:
        """(groups, points, points) -> (groups, units, points).

        Raises
        ------
        GradflowError
            Where the covariance left the range of doubles.
        """
        if not np.isfinite(covariance).all():
            raise GradflowError("the signal leaves the range of doubles")
        groups, points, _ = covariance.shape
        half = self.rng.standard_normal((groups, self.units // 2, points))
        spread = 2 / self.units * (_turned(half) @ half)
        unit = _turned(np.linalg.inv(np.linalg.cholesky(spread)))
        drawn = half @ (unit @ _root(covariance))
        return np.concatenate([drawn, -drawn], axis=1)


def _turned(values: Floats) -> Floats:
    """Return every matrix transposed."""
    return np.swapaxes(values, -1, -2)


def _root(covariance: Floats) -> Floats:
    """Return the symmetric root, the same on every machine, of what may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    root: Floats = scaled @ _turned(vectors)
    return root


def second_moments(values: Floats) -> Floats:
    """Return E[v(x) v(x′)] over the units: (groups, points, points)."""
    moments: Floats = _turned(values) @ values / values.shape[1]
    return moments


@dataclass
class Dense:
    """A dense layer.

    Attributes
    ----------
    draw
        Draws its units.
    weight, bias
        σ_w², the variance of a weight times the inputs, and σ_b².
    back
        The variance of a weight times the outputs.
    delta
        Mean square of δ at its output, once the gradient came down.
    """

    draw: Gaussian
    weight: float
    bias: float
    back: float
    delta: float = math.nan

    def forward(self, values: Floats) -> Floats:
        """Return units of the layer's covariance."""
        return self.draw(self.weight * second_moments(values) + self.bias)

    def backward(self, gradient: Floats) -> Floats:
        """Return what comes down through the weights."""
        self.delta = float(np.mean(gradient**2))
        return self.draw(self.back * second_moments(gradient))


@dataclass
class Elementwise:
    """An activation."""

    phi: Activation
    _values: Floats = field(default_factory=lambda: np.empty(0))

    def forward(self, values: Floats) -> Floats:
        """Return φ of the values."""
        self._values = values
        return np.asarray(self.phi(values))

    def backward(self, gradient: Floats) -> Floats:
        """Return φ′ times the gradient."""
        return np.asarray(self.phi.derivative(self._values)) * gradient


@dataclass
class Norm:
    """Normalisation over the units (``layer``, ``rms``), or over the points (``batch``).

    A gradient that is independent of a layer's values has no part along them that counts, so that
    normalising over many units divides it and no more.
    """

    kind: str
    _values: Floats = field(default_factory=lambda: np.empty(0))
    _scale: Floats = field(default_factory=lambda: np.empty(0))

    def forward(self, values: Floats) -> Floats:
        """Return the normalised values."""
        axis = 2 if self.kind == "batch" else 1
        if self.kind != "rms":
            values = values - values.mean(axis, keepdims=True)
        self._scale = 1 / np.sqrt(np.mean(values**2, axis, keepdims=True) + _EPSILON)
        self._values = values * self._scale
        return self._values

    def backward(self, gradient: Floats) -> Floats:
        """Return the gradient before it."""
        if self.kind == "batch":
            along = self._values * np.mean(gradient * self._values, axis=2, keepdims=True)
            gradient = gradient - gradient.mean(2, keepdims=True) - along
        return gradient * self._scale


@dataclass
class Chain:
    """Parts one after the other."""

    parts: Sequence[Part]

    def forward(self, values: Floats) -> Floats:
        """Go up."""
        for part in self.parts:
            values = part.forward(values)
        return values

    def backward(self, gradient: Floats) -> Floats:
        """Come down."""
        for part in reversed(self.parts):
            gradient = part.backward(gradient)
        return gradient


@dataclass
class Shortcut:
    """The input of a branch, added to its output."""

    branch: Part

    def forward(self, values: Floats) -> Floats:
        """Return x + branch(x)."""
        return values + self.branch.forward(values)

    def backward(self, gradient: Floats) -> Floats:
        """Return both gradients' sum."""
        return gradient + self.branch.backward(gradient)


@dataclass
class Mean:
    """The mean over the points."""

    _points: int = 1

    def forward(self, values: Floats) -> Floats:
        """(groups, units, points) -> (groups, units, 1)."""
        self._points = values.shape[2]
        averaged: Floats = values.mean(2, keepdims=True)
        return averaged

    def backward(self, gradient: Floats) -> Floats:
        """Return every point's share."""
        share: Floats = np.repeat(gradient / self._points, self._points, axis=2)
        return share


@dataclass
class Split:
    """One point of many features as so many points of fewer, filled up with zeros."""

    points: int
    size: int

    def forward(self, values: Floats) -> Floats:
        """(groups, features, 1) -> (groups, size, points)."""
        missing = self.points * self.size - values.shape[1]
        padded: Floats = np.pad(values[:, :, 0], ((0, 0), (0, missing)))
        tokens: Floats = padded.reshape(len(values), self.points, self.size)
        return _turned(tokens)

    def backward(self, gradient: Floats) -> Floats:
        """Return the same: a network's inputs, beyond which nothing is."""
        return gradient


@dataclass
class Attention:
    """Self-attention of every point to all.

    Attributes
    ----------
    maps
        To queries, keys and values, and of what is mixed.
    size
        Units of a head; a sample has as many heads as it has room for.
    """

    maps: Sequence[Dense]
    size: int
    _heads: tuple[Floats, Floats, Floats, Floats] | None = None

    def forward(self, values: Floats) -> Floats:
        """Return the mixed values."""
        q, k, v = (self._split(part.forward(values)) for part in self.maps[:3])
        scores = _turned(q) @ k / math.sqrt(self.size)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        self._heads = q, k, v, weights
        return self.maps[3].forward(_joined(v @ _turned(weights)))

    def backward(self, gradient: Floats) -> Floats:
        """Return the sum of what comes down through queries, keys and values."""
        assert self._heads is not None
        q, k, v, weights = self._heads
        mixed = self._split(self.maps[3].backward(gradient))
        of_weights = _turned(mixed) @ v
        of_scores = weights * (of_weights - (weights * of_weights).sum(-1, keepdims=True))
        of_scores /= math.sqrt(self.size)
        deltas = (k @ _turned(of_scores), q @ of_scores, mixed @ weights)
        down = [part.backward(_joined(d)) for part, d in zip(self.maps, deltas, strict=False)]
        return down[0] + down[1] + down[2]

    def _split(self, values: Floats) -> Floats:
        """(groups, units, points) -> (groups, heads, units of a head, points)."""
        groups, _, points = values.shape
        return values.reshape(groups, -1, self.size, points)


def _joined(values: Floats) -> Floats:
    return values.reshape(values.shape[0], -1, values.shape[-1])


def deltas(
    network: Chain,
    layers: Sequence[Dense],
    inputs: Floats,
    classes: int,
    loss_gradient: Callable[[Floats], Floats],
) -> Floats:
    """Return the mean square of δ = ∂C/∂(output) of every dense layer, in the limit of width.

    Parameters
    ----------
    network
        Its last part is the output layer.
    layers
        Whose δ is asked for.
    inputs
        (groups, features, points).
    classes
        Units of the output layer.
    loss_gradient
        (groups, networks, classes, points) logits -> their gradient of each example's own loss.

    Raises
    ------
    GradflowError
        Where the signal leaves the range of doubles.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = network.forward(inputs)
        groups, units, points = outputs.shape
        whole = units // classes * classes
        logits = outputs[:, :whole].reshape(groups, -1, classes, points)
        network.backward(_joined(loss_gradient(logits).reshape(groups, whole, points)))
    return np.array([layer.delta for layer in layers])
