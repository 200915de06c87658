"""Wide convolutions by hand: sums over neighbours by loops, and linear networks in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.arrays import Floats
from gradflow.theories.convolution import (
    Layer,
    _neighbour_pairs,
    _neighbours,
    _paired,
    _second_moment,
    _slope_moment,
    _spread,
    position_deltas,
)

RNG = np.random.default_rng(0)
STEPS = list(itertools.product((-1, 0, 1), repeat=2))


def at(values: Floats, *place: int) -> float:
    """Return an entry, 0 beyond the border."""
    inside = all(0 <= p < n for p, n in zip(place, values.shape, strict=True))
    return float(values[place]) if inside else 0.0


def neighbours(values: Floats) -> Floats:
    """Return the sum over the 3 × 3 neighbours of one image, by loops."""
    places = list(np.ndindex(*values.shape))
    sums = [sum(at(values, i + a, j + b) for a, b in STEPS) for i, j in places]
    return np.array(sums).reshape(values.shape)


def pairs(values: Floats) -> Floats:
    """Return the sum over neighbours of two places in the same direction, by loops."""
    places = list(np.ndindex(*values.shape))
    sums = [sum(at(values, i + a, j + b, k + a, m + b) for a, b in STEPS) for i, j, k, m in places]
    return np.array(sums).reshape(values.shape)


def test_neighbours_are_summed_with_zeros_beyond_the_border() -> None:
    values = RNG.standard_normal((2, 3, 4))
    np.testing.assert_allclose(_neighbours(values), [neighbours(v) for v in values])
    both = RNG.standard_normal((3, 2, 3, 2))
    np.testing.assert_allclose(_neighbour_pairs(both), pairs(both))


def test_examples_are_taken_at_quantiles_of_their_size() -> None:
    def sized(*squares: float) -> list[int]:
        images = np.sqrt(np.array(squares))[:, None, None, None] * np.ones((1, 2, 3, 3))
        return _spread(images).tolist()

    assert sized(5.0, 1.0) == [1, 0]
    assert sized(9.0, 1.0, 2.0, 3.0, 4.0, 5.0) == [2, 4, 0]  # the 2nd, 4th and 6th smallest
    assert sized(*range(12)) == [2, 6, 10]


@pytest.mark.parametrize(
    ("name", "value", "slope"), [("sigmoid", 0.25, 1 / 16), ("relu", 0.0, 0.0)]
)
def test_where_only_zeros_come_in_an_activation_is_what_it_is_at_0(
    name: str, value: float, slope: float
) -> None:
    act, q = activation(name), np.array([0.0, 1.0])
    assert _second_moment(act, q)[0] == pytest.approx(value, abs=0)
    assert _slope_moment(act, q)[0] == pytest.approx(slope, abs=0)


def test_moments_are_those_of_relu() -> None:
    q = np.array([1e-3, 1.0, 50.0])
    np.testing.assert_allclose(_second_moment(activation("relu"), q), q / 2)
    np.testing.assert_allclose(_slope_moment(activation("relu"), q), 0.5)


@pytest.mark.parametrize("correlation", [-1.0, -0.3, 0.0, 0.8, 1.0])
def test_pairs_of_the_identity_have_their_covariance(correlation: float) -> None:
    q = np.array([[4.0, 9.0]])
    covariance = np.array([[4.0, 6 * correlation], [6 * correlation, 9.0]]).reshape(1, 2, 1, 2)
    found = _paired(activation("identity"), covariance, q)
    np.testing.assert_allclose(found, covariance, rtol=1e-6, atol=1e-6)


def test_a_linear_network_in_closed_form() -> None:
    """Identity, a stride of 2 in the first layer: every sum by loops."""
    first, second = Layer(0.3, 0.1, 2, 5, stride=2), Layer(0.2, 0.4, 5, 7)
    image = RNG.standard_normal((2, 5, 6))
    weight, bias, classes = 0.6, 0.7, 3
    seen: list[float] = []

    def output_delta(variance: float) -> float:
        seen.append(variance)
        return 2.0 * variance

    found = position_deltas(
        activation("identity"), [first, second], (weight, bias, classes), image[None], output_delta
    )
    covariance = first.weight * pairs(np.einsum("cij,ckl->ijkl", image, image))[::2, ::2, ::2, ::2]
    covariance = second.inputs * second.weight * pairs(covariance + first.bias) + second.bias
    variance = 7 * weight * covariance.mean() + bias
    assert seen == [pytest.approx(variance, rel=1e-6)]
    top = (2 * variance) ** 2
    at_second = np.full((3, 3), classes * weight * top / 9**2)
    at_first = second.outputs * second.weight * neighbours(at_second)
    np.testing.assert_allclose(found, [at_first.mean(), at_second.mean(), top], rtol=1e-6)


def test_the_mean_over_examples_is_taken() -> None:
    layers = [Layer(0.3, 0.0, 1, 4)]
    images = np.stack([np.full((1, 3, 3), size) for size in (1.0, 3.0)])
    seen: list[float] = []

    def output_delta(variance: float) -> float:
        seen.append(variance)
        return variance**0.5

    found = position_deltas(activation("relu"), layers, (1.0, 0.0, 2), images, output_delta)
    assert seen[1] == pytest.approx(9 * seen[0])
    assert found[-1] == pytest.approx(5 * seen[0])
    assert found[0] == pytest.approx(0.5 * 2 * found[-1] / 81)
