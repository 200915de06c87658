"""Networks of infinite width, part by part: closed forms, and what papers publish of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.arrays import Floats
from gradflow.errors import GradflowError
from gradflow.theories.propagation import predict
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
    deltas,
)

CLASSES = 10


def gaussian(units: int) -> Gaussian:
    return Gaussian(units, np.random.default_rng(0))


def flat(logits: Floats) -> Floats:
    """Return a δ of mean square 1 at the output that does not look at the logits."""
    return np.asarray(np.random.default_rng(1).choice([-1.0, 1.0], size=logits.shape))


def test_units_have_the_covariance_they_are_drawn_with() -> None:
    covariance = np.array([[[2.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    drawn = gaussian(512)(covariance)
    assert drawn.shape == (2, 512, 2)
    np.testing.assert_allclose(np.swapaxes(drawn, 1, 2) @ drawn / 512, covariance, atol=1e-7)
    np.testing.assert_allclose(drawn.mean(1), 0, atol=1e-12)


def test_a_covariance_beyond_the_range_of_doubles_is_refused() -> None:
    with pytest.raises(GradflowError, match="range"):
        gaussian(64)(np.full((1, 2, 2), np.inf))


@pytest.mark.parametrize(("act", "weight"), [("relu", 2.0), ("tanh", 1.5), ("gelu", 1.0)])
def test_a_plain_chain_is_what_quadrature_gives(act: str, weight: float) -> None:
    phi, draw, depth = activation(act), gaussian(16384), 6
    layers = [Dense(draw, weight, 0.1, weight) for _ in range(depth)]
    parts: list[Part] = []
    for layer in layers[:-1]:
        parts += [layer, Elementwise(phi)]
    inputs = np.ones((1, 64, 1))
    found = deltas(Chain([*parts, layers[-1]]), layers, inputs, CLASSES, flat)
    exact = predict(phi, [weight] * depth, [0.1] * depth, weight + 0.1).gradient_log10
    # Of every layer's mean square 16,384 units leave an error of some 1 %.
    np.testing.assert_allclose(0.5 * np.log10(found), exact, atol=0.01)


def normalised_stack(act: str, examples: int, depth: int, units: int) -> Floats:
    """Mean squares of δ in a batch-normalised stack, from orthogonal examples."""
    draw = gaussian(units)
    layers = [Dense(draw, 1.0, 0.0, 1.0) for _ in range(depth)]
    parts: list[Part] = []
    for layer in layers[:-1]:
        parts += [layer, Norm("batch"), Elementwise(activation(act))]
    inputs = math.sqrt(examples) * np.eye(examples)[None]
    return deltas(Chain([*parts, layers[-1]]), layers, inputs, CLASSES, flat)


@pytest.mark.parametrize("examples", [8, 24])
def test_batch_normalisation_of_the_identity_explodes_as_published(examples: int) -> None:
    """Yang et al. 2019: E δ² grows by (B − 2)/(B − 3) a layer for the identity."""
    found = normalised_stack("identity", examples, 42, 4096)
    per_layer = (found[1] / found[-2]) ** (1 / 39)
    # 1/σ² has a relative standard deviation of √(2/(B − 5)), over 4,096 units and 39 layers.
    assert per_layer == pytest.approx((examples - 2) / (examples - 3), abs=0.006)


def test_batch_normalisation_of_relu_explodes_as_published() -> None:
    """Yang et al. 2019: E δ² grows by π/(π − 1) a layer for ReLU as the batch grows.

    What is left at a batch of B goes as 1/B, so that two batches give the limit.
    """
    small, large = (
        (found[1] / found[-2]) ** (1 / 10)
        for found in (normalised_stack("relu", b, 13, 64 * b) for b in (32, 64))
    )
    assert 2 * large - small == pytest.approx(math.pi / (math.pi - 1), rel=0.01)
    assert abs(small - large) < 0.05


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_normalising_over_units_keeps_relus_gradient(kind: str) -> None:
    """Its χ is 1 whatever the weights: σ_w² E[φ′²] = σ_w²/2 over a mean square of σ_w²/2."""
    draw, weight = gaussian(8192), 7.0
    layers = [Dense(draw, weight, 0.0, weight) for _ in range(8)]
    parts: list[Part] = []
    for layer in layers[:-1]:
        parts += [layer, Norm(kind), Elementwise(activation("relu"))]
    found = deltas(Chain([*parts, layers[-1]]), layers, np.ones((1, 64, 1)), CLASSES, flat)
    np.testing.assert_allclose(found[1:-1], found[-2], rtol=0.02)


def test_identical_tokens_leave_queries_and_keys_without_a_gradient() -> None:
    """Noci et al. 2022: it is exactly 0 there."""
    draw, size = gaussian(256), 16
    maps = [Dense(draw, 1.0, 0.0, 1.0) for _ in range(4)]
    output = Dense(draw, 1.0, 0.0, 1.0)
    parts = [Split(8, 32), Shortcut(Attention(maps, size)), Mean(), output]
    embedding = Dense(draw, 1.0, 0.0, 1.0)
    network = Chain([parts[0], embedding, *parts[1:]])
    token = np.random.default_rng(2).standard_normal(32)
    alike, apart = (
        deltas(network, [*maps, embedding], inputs[None, :, None], CLASSES, flat)
        for inputs in (np.tile(token, 8), np.random.default_rng(3).standard_normal(256))
    )
    assert (alike[:2] < 1e-12 * alike[2]).all()
    assert (apart[:2] > 1e-6 * apart[2]).all()
    assert (alike[2:] > 0).all()
