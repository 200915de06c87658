"""Parts of a wide network: forward by hand, and backward as the gradient of forward.

Dense layers draw anew, so that everything else is held against finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from gradflow.activations import activation
from gradflow.arrays import Floats
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
    _root,
    deltas,
    second_moments,
)

RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((2, 6, 3))
GRADIENT = RNG.standard_normal((2, 6, 3))


class Same(Dense):
    """A dense layer that passes everything on, so that what stands about it can be seen."""

    def __init__(self) -> None:
        super().__init__(Gaussian(2, RNG), 1.0, 0.0, 1.0)

    def forward(self, values: Floats) -> Floats:
        return values

    def backward(self, gradient: Floats) -> Floats:
        return gradient


def by_differences(forward: Callable[[Floats], Floats], values: Floats, gradient: Floats) -> Floats:
    """Return the gradient of Σ gradient · forward(values) by central differences."""
    found, step = np.empty_like(values), 1e-6
    for place in np.ndindex(*values.shape):
        sums = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * step
            sums.append(float((gradient * forward(moved)).sum()))
        found[place] = (sums[0] - sums[1]) / (2 * step)
    return found


def attention() -> Attention:
    return Attention([Same() for _ in range(4)], 3)


@pytest.mark.parametrize(
    "part",
    [
        Elementwise(activation("tanh")),
        Norm("batch"),
        Shortcut(Elementwise(activation("tanh"))),
        Chain([Elementwise(activation("tanh")), Elementwise(activation("gelu"))]),
        attention(),
        Shortcut(attention()),
    ],
    ids=lambda part: type(part).__name__,
)
def test_backward_is_the_gradient_of_forward(part: Part) -> None:
    expected = by_differences(part.forward, VALUES, GRADIENT)
    part.forward(VALUES)
    found = part.backward(GRADIENT)
    # Of batch normalisation ε leaves 1e-5.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_backward_of_a_mean_is_every_points_share() -> None:
    mean = Mean()
    np.testing.assert_allclose(mean.forward(VALUES)[:, :, 0], VALUES.sum(2) / 3)
    found = mean.backward(GRADIENT[:, :, :1])
    np.testing.assert_allclose(
        found, by_differences(mean.forward, VALUES, GRADIENT[:, :, :1]), atol=1e-8
    )


@pytest.mark.parametrize(("kind", "axis"), [("layer", 1), ("batch", 2), ("rms", 1)])
def test_normalisations_divide_by_the_root_of_what_torch_adds_to(kind: str, axis: int) -> None:
    small = VALUES * 1e-3
    centred = small if kind == "rms" else small - small.mean(axis, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis, keepdims=True) + 1e-5)
    norm = Norm(kind)
    np.testing.assert_allclose(norm.forward(small), centred * scale, rtol=1e-12)
    if kind != "batch":
        np.testing.assert_allclose(norm.backward(GRADIENT), GRADIENT * scale, rtol=1e-12)


def test_attention_mixes_values_by_a_softmax_over_keys() -> None:
    heads = VALUES.reshape(2, 2, 3, 3)
    weights = softmax(np.swapaxes(heads, -1, -2) @ heads / math.sqrt(3), axis=-1)
    expected = (heads @ np.swapaxes(weights, -1, -2)).reshape(2, 6, 3)
    np.testing.assert_allclose(attention().forward(VALUES), expected, rtol=1e-12)
    large = 200 * VALUES  # whose exponentials overflow
    assert np.isfinite(attention().forward(large)).all()


def test_a_point_is_split_row_by_row_and_filled_up_with_zeros() -> None:
    split = Split(2, 3)
    features = np.arange(1.0, 6.0).reshape(1, 5, 1)
    assert split.forward(features).tolist() == [[[1.0, 4.0], [2.0, 5.0], [3.0, 0.0]]]
    assert split.backward(GRADIENT) is GRADIENT


def test_a_dense_layer_draws_with_its_covariance_up_and_down() -> None:
    layer = Dense(Gaussian(64, np.random.default_rng(3)), 2.0, 0.5, 3.0)
    up = layer.forward(VALUES)
    moments = np.einsum("gui,guj->gij", VALUES, VALUES) / 6
    np.testing.assert_allclose(second_moments(VALUES), moments)
    np.testing.assert_allclose(second_moments(up), 2 * moments + 0.5, rtol=1e-9)
    down = layer.backward(GRADIENT)
    np.testing.assert_allclose(second_moments(down), 3 * second_moments(GRADIENT), rtol=1e-9)
    assert layer.delta == pytest.approx((GRADIENT**2).mean())


def test_units_come_in_pairs_of_either_sign() -> None:
    drawn = Gaussian(10, np.random.default_rng(1))(np.eye(2)[None])
    assert drawn.shape == (1, 10, 2)
    np.testing.assert_array_equal(drawn[:, :5], -drawn[:, 5:])


def test_the_root_is_symmetric_and_of_a_singular_matrix_too() -> None:
    matrix = np.array([[[4.0, 4.0], [4.0, 4.0]], [[2.0, 1.0], [1.0, 3.0]]])
    root = _root(matrix)
    np.testing.assert_allclose(root, np.swapaxes(root, 1, 2), atol=1e-12)
    np.testing.assert_allclose(root @ root, matrix, atol=1e-12)


def test_the_logits_are_whole_networks_of_so_many_classes() -> None:
    seen = []

    def gradient(logits: Floats) -> Floats:
        seen.append(logits.shape)
        return np.full(logits.shape, 2.0)

    layer = Dense(Gaussian(10, np.random.default_rng(1)), 1.0, 0.0, 1.0)
    found = deltas(Chain([layer]), [layer], np.ones((2, 4, 3)), 4, gradient)
    assert seen == [(2, 2, 4, 3)]  # of 10 units 8
    assert found.tolist() == [4.0]
