"""Correlations of two inputs: closed forms, another integrator, and networks that were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from gradflow.activations import activation
from gradflow.theories.correlation import (
    correlation_depth_scales,
    fixed_correlation,
    paired_slopes,
    paired_values,
)
from gradflow.theories.phases import chi_fixed_point, depth_scale, fixed_point


@pytest.mark.parametrize("c", [0.0, 0.3, 0.9, 0.999])
def test_relus_pairs_are_the_arc_cosine_kernels(c: float) -> None:
    """Cho & Saul 2009, kernels of degree 1 and 0; a kink that no panel meets costs 1e-3."""
    relu = activation("relu")
    values = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / (2 * math.pi)
    slopes = (math.pi - math.acos(c)) / (2 * math.pi)
    assert paired_values(relu, 1.0, c) == pytest.approx(values, rel=1e-6)
    assert paired_slopes(relu, 1.0, c) == pytest.approx(slopes, rel=1e-3)


@pytest.mark.parametrize(("q", "c"), [(1.0, 0.5), (3.0, 0.1), (20.0, 0.9)])
def test_tanhs_pairs_are_those_of_another_integrator(q: float, c: float) -> None:
    root, apart = math.sqrt(q), math.sqrt(1 - c * c)

    def integrand(b: float, a: float) -> float:
        product = math.tanh(root * a) * math.tanh(root * (c * a + apart * b))
        return product * math.exp(-(a * a + b * b) / 2) / (2 * math.pi)

    expected, _ = integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-10)
    assert paired_values(activation("tanh"), q, c) == pytest.approx(expected, abs=1e-6)


def test_in_the_ordered_phase_it_is_the_gradients_depth_scale() -> None:
    tanh = activation("tanh")
    found = correlation_depth_scales(tanh, [0.5, 1.0, 1.5], 0.05)
    expected = [depth_scale(chi_fixed_point(tanh, w, 0.05)) for w in (0.5, 1.0, 1.5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_two_inputs_of_a_drawn_network_become_less_alike_as_the_map_says() -> None:
    """Layers of 2,000 tanh units at σ_w² = 3, σ_b² = 0.05: five standard errors of 1/√width."""
    tanh, weight, bias, width = activation("tanh"), 3.0, 0.05, 2000
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, width))
    x[1] = 0.95 * x[0] + math.sqrt(1 - 0.95**2) * x[1]
    q = fixed_point(tanh, weight, bias)
    expected = None
    for layer in range(8):
        weights = generator.normal(size=(width, width)) * math.sqrt(weight / width)
        x = np.tanh(x) @ weights + math.sqrt(bias) * generator.normal(size=width)
        if expected is not None:
            expected = (weight * paired_values(tanh, q, expected) + bias) / q
        elif layer == 2:  # lengths have settled
            expected = alike(x)
    assert expected is not None
    assert alike(x) == pytest.approx(expected, abs=5 / math.sqrt(width))


def alike(x: np.ndarray) -> float:
    return float(x[0] @ x[1] / math.sqrt((x[0] @ x[0]) * (x[1] @ x[1])))


def test_the_fixed_correlation_is_one_that_the_map_keeps() -> None:
    tanh = activation("tanh")
    q = fixed_point(tanh, 3.0, 0.05)
    fixed = fixed_correlation(tanh, 3.0, 0.05, q)
    assert 0 < fixed < 1
    assert (3.0 * paired_values(tanh, q, fixed) + 0.05) / q == pytest.approx(fixed, rel=1e-10)
    assert fixed_correlation(tanh, 3.0, 0.0, fixed_point(tanh, 3.0)) == pytest.approx(0, abs=1e-9)


def test_it_diverges_on_the_edge_of_chaos_from_both_sides() -> None:
    """Schoenholz et al. 2017, figure 2: σ_b² = 0.05 has its edge near σ_w² = 1.76."""
    near, far = correlation_depth_scales(activation("tanh"), [1.77, 2.5], 0.05)
    below, above = correlation_depth_scales(activation("tanh"), [1.0, 1.75], 0.05)
    assert near > 10 * far
    assert above > 10 * below


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_a_scale_free_activation_has_that_of_its_gradient(name: str) -> None:
    act = activation(name)
    for weight in (0.5, 3.0):
        found = correlation_depth_scales(act, [weight])[0]
        assert found == pytest.approx(depth_scale(chi_fixed_point(act, weight)))
