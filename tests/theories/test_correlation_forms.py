"""Pairs of correlated Gaussians: polynomials in closed form, the grid, and fixed correlations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gradflow.activations import Activation, activation
from gradflow.theories import correlation as of
from gradflow.theories.correlation import (
    correlation_depth_scales,
    fixed_correlation,
    paired_slopes,
    paired_values,
)
from gradflow.theories.phases import depth_scale

SQUARE = replace(activation("tanh"), name="square", value=lambda x: x * x, slope=lambda x: 2 * x)


@pytest.mark.parametrize(("q", "c"), [(1.0, 0.0), (2.0, 0.5), (0.3, -0.7), (1.5, 1.0)])
def test_pairs_of_polynomials_are_exact(q: float, c: float) -> None:
    """E[u₁² u₂²] = q²(1 + 2c²), and E[2u₁ 2u₂] = 4qc."""
    assert paired_values(SQUARE, q, c) == pytest.approx(q**2 * (1 + 2 * c**2), rel=1e-10)
    assert paired_slopes(SQUARE, q, c) == pytest.approx(4 * q * c, abs=1e-10)
    identity = activation("identity")
    assert paired_values(identity, q, c) == pytest.approx(q * c, abs=1e-10)
    assert paired_slopes(identity, q, c) == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize(("act", "panels"), [("tanh", 16), ("relu", 64)])
def test_the_grid_reaches_eight_standard_deviations(act: str, panels: int) -> None:
    first, _, weight = of._pairs(activation(act), 4.0, 0.3)
    assert first.shape == weight.shape == (8 * panels,) * 2
    ends = first[[0, -1], 0]
    width = 16.0 / panels
    assert ends == pytest.approx([-16.0, 16.0], abs=2 * 0.02 * width)
    assert weight.sum() == pytest.approx(1, rel=1e-12)
    assert weight[0, -1] == pytest.approx(weight[-1, 0])


def test_a_grid_has_even_panels_of_gauss_and_legendre() -> None:
    grid = of._grid(4)
    node, _ = np.polynomial.legendre.leggauss(8)
    expected = np.concatenate([start + 4 * (node + 1) / 2 for start in (-8, -4, 0, 4)])
    np.testing.assert_allclose(grid.first[:, 0], expected)
    np.testing.assert_allclose(grid.second[0], expected)


def bent(c0: float, slope: float) -> Activation:
    """Return an activation with a constant part: φ = c0 + slope · x."""
    return replace(
        activation("tanh"),
        name=f"line {c0} {slope}",
        value=lambda x: c0 + slope * x,
        slope=lambda x: slope + 0 * x,
    )


@pytest.mark.parametrize(
    ("act", "weight", "bias", "q", "fixed"),
    [
        # c ← (w (c0² + s² q c) + b)/q, a line: its fixed point is (w c0² + b)/(q − w s² q).
        (bent(0.0, 0.5), 2.0, 0.3, 1.0, 0.6),
        (bent(0.3, 0.5), 2.0, 0.1, 1.0, 0.56),
        (bent(0.3, 0.5), 2.0, 0.1, 2.0, 0.28),
        (bent(0.0, 0.5), 2.0, 0.0, 1.0, 0.0),
        (bent(0.0, 1.0), 2.0, 0.5, 1.0, 1.0),  # it grows beyond 1
        # Of squares: (w q² (1 + 2c²) + b)/q.
        (SQUARE, 0.25, 0.0, 1.0, 1 - math.sqrt(0.5)),
    ],
)
def test_the_fixed_correlation_of_lines_and_squares(
    act: Activation, weight: float, bias: float, q: float, fixed: float
) -> None:
    assert fixed_correlation(act, weight, bias, q) == pytest.approx(fixed, abs=1e-9)


def test_the_depth_scale_is_that_of_the_slopes_at_the_fixed_correlation() -> None:
    tanh, weight, bias = activation("tanh"), 3.0, 0.05
    q = of.ln_fixed_points(tanh, np.array([weight]), np.array([bias]), np.log([3.05]))
    q = float(np.exp(q)[0])
    fixed = fixed_correlation(tanh, weight, bias, q)
    expected = depth_scale(weight * paired_slopes(tanh, q, fixed))
    assert correlation_depth_scales(tanh, weight, bias)[0] == pytest.approx(expected)
    assert expected != pytest.approx(depth_scale(weight * paired_slopes(tanh, q, 1.0)), rel=0.1)


@pytest.mark.parametrize(
    ("chi", "q", "free"),
    [
        (2.0, 1.0, True),
        (0.5, 1.0, False),
        (1.0, 1.0, False),
        (2.0, 0.0, False),
        (2.0, math.inf, False),
    ],
)
def test_elsewhere_it_is_the_gradients(chi: float, q: float, free: bool) -> None:
    found = of._depth_scale(activation("tanh"), 3.0, 0.05, q, chi, free)
    assert found == depth_scale(chi)


@pytest.mark.parametrize(("weight", "another"), [(2.2, 0.5), (2.1, 2.0)])
def test_inputs_of_variance_1_are_where_it_starts(weight: float, another: float) -> None:
    """GELU's signals die out or diverge by where they start."""
    gelu = activation("gelu")
    usual = correlation_depth_scales(gelu, [weight])
    assert usual == correlation_depth_scales(gelu, [weight], 0.0, 1.0)
    assert abs(usual - correlation_depth_scales(gelu, [weight], 0.0, another)) > 1
