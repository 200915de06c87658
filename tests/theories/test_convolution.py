"""Wide convolutions, position by position."""

from __future__ import annotations

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.arrays import Floats
from gradflow.theories.convolution import Layer, _paired, position_deltas
from gradflow.theories.correlation import paired_values
from gradflow.theories.quadrature import hermite_table

RELU = activation("relu")


@pytest.mark.parametrize("act", ["tanh", "gelu", "identity"])
def test_hermite_coefficients_hold_all_of_a_smooth_activations_variance(act: str) -> None:
    grid, table = hermite_table(activation(act))
    near = np.abs(grid) < 1
    np.testing.assert_allclose(np.sum(table[:, near] ** 2, axis=0), 1, rtol=2e-3)


@pytest.mark.parametrize("act", ["tanh", "relu", "selu"])
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.6, 1.0])
@pytest.mark.parametrize("q", [1e-3, 1.7])
def test_pairs_are_as_by_quadrature(act: str, correlation: float, q: float) -> None:
    phi = activation(act)
    covariance = q * np.array([[[[1.0, correlation]], [[correlation, 1.0]]]]).reshape(1, 2, 1, 2)
    found = _paired(phi, covariance, np.full((1, 2), q))
    assert found[0, 0, 0, 1] == pytest.approx(paired_values(phi, q, correlation), abs=5e-3 * q)
    assert found[0, 0, 0, 0] == pytest.approx(paired_values(phi, q, 1.0), rel=5e-3)


@pytest.mark.parametrize("q", [1e6, 1e40])
def test_pairs_of_a_saturated_activation_are_an_arcsine(q: float) -> None:
    """E[sign u sign v] = (2/π) arcsin c."""
    covariance = q * np.array([[1.0, 0.6], [0.6, 1.0]]).reshape(1, 2, 1, 2)
    found = _paired(activation("hardtanh"), covariance, np.full((1, 2), q))
    assert found[0, 0, 0, 1] == pytest.approx(2 / np.pi * np.arcsin(0.6), abs=5e-3)
    assert found[0, 0, 0, 0] == pytest.approx(1, abs=5e-3)


def stack(side: int, channels: int = 8, depth: int = 4) -> Floats:
    """Return δ's mean squares of He-initialised layers, over one image of ones."""
    variance = 2 / (9 * channels)
    layers = [Layer(variance, 0.0, channels, channels)] * depth
    images = np.ones((1, channels, side, side))
    return position_deltas(RELU, layers, (1 / channels, 0.0, 10), images, lambda _: 1.0)


def test_without_a_border_hes_initialisation_keeps_the_gradient() -> None:
    """Far from it each layer back multiplies by 9 C Var(w)/2 = 1; at it, a third is missing."""
    losses = []
    for side in (8, 32):
        found = stack(side)
        losses.append(1 - found[0] / found[-2])
    assert 0 < losses[1] < losses[0]
    # Four sides lack a third of their neighbours; what lies there comes back as 1, 2/3 and 5/9.
    assert losses[1] == pytest.approx(4 / 3 / 32 * (1 + 2 / 3 + 5 / 9), rel=0.05)


def test_where_only_zeros_come_in_relu_passes_nothing() -> None:
    layers = [Layer(2 / 9, 0.0, 1, 8), Layer(2 / 72, 0.0, 8, 8)]
    images = np.zeros((1, 1, 9, 9))
    images[0, 0, 4, 4] = 1.0
    found = position_deltas(RELU, layers, (1 / 8, 0.0, 10), images, lambda _: 1.0)
    top = 10 / 8 / 81**2
    # Of 81 positions 25 of the second layer's see the pixel, and 9 of the first's.
    assert found[1] == pytest.approx(top / 2 * 25 / 81)
    assert found[0] == pytest.approx(top / 2 * 9 / 81)
    assert found[2] == 1
