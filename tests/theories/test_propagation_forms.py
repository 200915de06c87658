"""A signal and its gradient, layer by layer: closed forms of ReLU, and one theory by the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.theories.propagation import checked_layers, gradient_ratios, predict


def test_a_relu_network_of_three_layers_by_hand() -> None:
    """E[φ²] = q/2 and E[φ′²] = 1/2, so that q₂ = σ_w² q₁/2 + σ_b² with those of layer 2."""
    found = predict(activation("relu"), [9.0, 1.0, 3.0], [7.0, 0.5, 0.25], 4.0, [2, 8, 4])
    assert found.q == pytest.approx([4.0, 2.5, 4.0])
    assert found.chi == pytest.approx([0.5, 1.5, 1.5])
    steps = [math.log10(0.5 * 4) / 2, math.log10(1.5 / 2) / 2]
    assert found.gradient_log10 == pytest.approx([sum(steps), steps[1], 0.0])
    assert found.amplification == pytest.approx([2.0 / 2.5, 3.75 / 4.0, 6.0 / 6.25])


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_ratios_of_many_networks_are_those_of_each(name: str) -> None:
    weights, biases, q1 = np.array([1.5, 3.0]), np.array([0.1, 0.0]), np.array([2.0, 0.5])
    found = gradient_ratios(activation(name), weights, biases, q1, 4)
    assert found.shape == (4, 2)
    for network in range(2):
        one = [float(v[network]) for v in (weights, biases, q1)]
        back = predict(activation(name), [one[0]] * 4, [one[1]] * 4, one[2]).gradient_log10
        assert found[:, network] == pytest.approx(back[0] - back, abs=1e-12)


def test_layers_without_widths_are_one_unit_wide() -> None:
    weight, bias, units = checked_layers([2.0, 3.0], [0.0, 1.0], None)
    assert (weight.tolist(), bias.tolist(), units.tolist()) == ([2, 3], [0, 1], [1, 1])
