"""Nodes, weights and tables of the quadrature, and moments at the ends: exact values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.theories import quadrature as of
from gradflow.theories.fixed_points import moments_table


@pytest.mark.parametrize("count", [1, 3])
def test_panels_integrate_polynomials_up_to_degree_31(count: int) -> None:
    position, share = of._panels(count)
    assert position.shape == share.shape == (16 * count,)
    assert (np.diff(position) > 0).all()
    for degree in (0, 1, 31):
        assert (share * position**degree).sum() == pytest.approx(1 / (degree + 1), rel=1e-13)


@pytest.mark.parametrize("ln_q", [-50.0, 0.0, 3.0])
def test_nodes_reach_ten_standard_deviations_and_their_weights_are_gaussian(ln_q: float) -> None:
    act = activation("hardtanh")
    x, z, weights, scale = of._nodes(np.array([ln_q]), act)
    assert scale[0, 0] == pytest.approx(math.exp(ln_q / 2))
    np.testing.assert_allclose(x, z * scale)
    assert z.max() == pytest.approx(10, abs=0.1)
    assert z.min() == pytest.approx(-z.max())
    for power, moment in ((0, 1.0), (1, 0.0), (2, 1.0), (4, 3.0), (6, 15.0)):
        assert (weights * z**power).sum() == pytest.approx(moment, abs=1e-12)
    assert x.shape[1] % 16 == 0


def test_panels_are_about_one_wide_where_activations_bend() -> None:
    """asinh 10 is 2.998 either way: three panels each; and beside a kink as many."""
    assert of._nodes(np.zeros(1), activation("tanh"))[0].shape == (1, 2 * 3 * 16)
    assert of._nodes(np.zeros(1), activation("hardtanh"))[0].shape[1] % (4 * 16) == 0


@pytest.mark.parametrize(
    ("name", "alpha", "width"),
    [("tanh", None, 1.0), ("celu", 0.25, 0.25), ("celu", 7.0, 1.0), ("celu", 1e-60, 1e-50)],
)
def test_an_activation_bends_over_1_but_celu_over_its_alpha(
    name: str, alpha: float | None, width: float
) -> None:
    assert of._width(activation(name, alpha=alpha)) == width


def test_blocks_hold_32() -> None:
    assert [len(part) for part in of._blocks(np.zeros(65))] == [32, 32, 1]
    assert [len(part) for part in of._blocks(np.zeros(32))] == [32]


def test_no_power_of_an_infinite_distance_is_none() -> None:
    found = of._beyond(np.array([np.inf, -np.inf, 3.0]), np.array([0.0, 0.5, 2.0]))
    assert found.tolist() == [0.0, -np.inf, 6.0]


def test_the_table_reaches_from_1e_minus_100_to_1e100() -> None:
    assert math.exp(of.LN_LIMIT) == pytest.approx(1e100, rel=1e-12)
    for (grid, _), nodes in (
        (moments_table(activation("tanh")), 301),
        (of.hermite_table(activation("tanh")), 121),
    ):
        assert len(grid) == nodes
        assert grid[[0, -1]] == pytest.approx([-of.LN_LIMIT, of.LN_LIMIT])
        assert grid == pytest.approx(-grid[::-1])
        bend = np.arcsinh(grid / 6.0)  # evenly spaced there
        assert np.diff(bend) == pytest.approx(np.diff(bend)[0])


def test_hermite_coefficients_of_relu_and_the_identity() -> None:
    grid, table = of.hermite_table(activation("relu"))
    assert table.shape == (24, len(grid))
    root = math.sqrt(2 * math.pi)
    moments = [1.0, root / 2, 1 / math.sqrt(2), 0.0, -1 / math.sqrt(24), 0.0, 3 / math.sqrt(720)]
    expected = [m * math.sqrt(2) / root for m in moments]
    np.testing.assert_allclose(table[:7, 60], expected, atol=1e-12)
    _, identity = of.hermite_table(activation("identity"))
    np.testing.assert_allclose(identity[:, 7], np.eye(24)[1], atol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "softplus"])
def test_far_out_moments_are_those_of_the_limits(name: str) -> None:
    act = activation(name)
    for ln_q in (of.LN_LIMIT, -of.LN_LIMIT):
        end, beyond = of.moments(act, [ln_q]), of.moments(act, [2 * ln_q, ln_q, 0.5])
        for one, several in zip(end, beyond, strict=True):
            assert several[0] == several[1] == one[0]
        near = of.moments(act, [0.5])
        assert [v[2] for v in beyond] == [v[0] for v in near]


def test_moments_just_inside_the_limit_are_integrated() -> None:
    """E[tanh²]/q is 1/q there but for what is near 0."""
    inside = of.moments(activation("tanh"), [0.999 * of.LN_LIMIT]).gain[0]
    assert inside == pytest.approx(math.exp(-0.999 * of.LN_LIMIT), rel=1e-9)


def test_the_first_moment_of_relu() -> None:
    """E[max(x, 0)] = √(q/2π)."""
    mean, slope = of.first_moment(activation("relu"), math.log(4.0))
    assert mean == pytest.approx(2 / math.sqrt(2 * math.pi))
    assert slope == pytest.approx(mean / 8)


@pytest.mark.parametrize(("roundings", "free"), [(0, True), (4, True), (5, False)])
def test_few_roundings_do_not_bend_an_activation(roundings: int, free: bool) -> None:
    """A bend of less than 10⁻¹⁵, which is 4.5 roundings, is none."""
    bent = replace(
        activation("identity"),
        name=f"{roundings} roundings",
        value=lambda x: np.where(np.abs(x) == 1, x * (1 + roundings * 2.0**-52), x),
    )
    assert (of.scale_free_gain(bent) is not None) is free


def test_scale_free_activations_have_their_moments_without_quadrature() -> None:
    found = of.moments(activation("leaky-relu", alpha=0.5), [1.0, 2.0])
    assert [v.tolist() for v in found] == [[0.625] * 2, [0.625] * 2, [1.0] * 2, [0.0] * 2]
    assert of.gains(activation("relu"), 3.0).tolist() == [0.5]
    assert of.moments(activation("relu"), 3.0).gain.shape == (1,)


def test_noise_of_a_bounded_activation_by_numbers() -> None:
    z = np.linspace(-10, 10, 200_001)
    share = np.exp(-z * z / 2)
    share /= share.sum()
    value, slope = np.tanh(2 * z) ** 2, (1 - np.tanh(2 * z) ** 2) ** 2
    value, slope = value / (share @ value), slope / (share @ slope)
    found = of.noise(activation("tanh"), math.log(4.0))
    assert found.length[0] == pytest.approx(share @ value**2 - 1, rel=1e-6)
    assert found.slope[0] == pytest.approx(3 * (share @ slope**2) - 1, rel=1e-6)
    assert found.covariance[0] == pytest.approx(share @ (value * slope) - 1, rel=1e-6)
