"""Rules of the phase diagram on activations made by hand, and the ends of its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gradflow.activations import Activation, activation
from gradflow.arrays import Floats
from gradflow.theories import phases as of
from gradflow.theories.fixed_points import moments_table
from gradflow.theories.meanfield import (
    TheoryConfig,
    length_map,
    moment_jacobian,
    moment_map,
    theory,
)
from gradflow.theories.quadrature import Moments

Formula = Callable[[Floats], Floats]


def at(gain: float, slope: float, power: float) -> Moments:
    """Return moments at one q."""
    return Moments(*(np.array([value]) for value in (gain, slope, power, 0.0)))


@pytest.mark.parametrize(
    ("gain", "slope", "power", "expected"),
    [
        (0.5, 0.5, 1.0, (2.0, 0.0, True)),
        (0.25, 0.5, 1.0, (2.0, 0.5, True)),
        (0.5, 0.25, 1.0, (4.0, -1.0, False)),
        (0.5, 0.5, 1.0 + 0.9e-6, (2.0, 0.0, True)),
        (0.5, 0.5, 1.0 + 1e-6, (2.0, 0.0, True)),
        (0.5, 0.5, 1.0 + 1.1e-6, (2.0, 0.0, False)),
        (0.5 * (1 - 0.9e-13), 0.5, 1.0, (2.0, 0.0, True)),
        (0.5 * (1 - 1.2e-13), 0.5, 1.0, (2.0, 1 - (1 - 1.2e-13), True)),
    ],
)
def test_the_edge_at_a_fixed_point(
    gain: float, slope: float, power: float, expected: tuple[float, float, bool]
) -> None:
    edge = of._edge(at(gain, slope, power))
    found = edge.weight_variance[0], edge.bias_share[0], bool(edge.stable[0])
    assert found == expected
    assert of._parallel(at(gain, slope, power))[0] == pytest.approx(gain * power / slope)


def test_the_excess_is_0_on_the_edge() -> None:
    """(q − E[φ²]/E[φ′²] − σ_b²)/q at q = 4."""
    found = of._excess(at(0.25, 0.5, 1.0), np.array([1.0]), np.array([math.log(4.0)]))
    assert found[0] == pytest.approx(1 - 0.5 - 0.25)


def with_slopes(left: float, right: float, at_zero: float = 0.0) -> Activation:
    """Return tanh with other slopes beside 0."""
    return replace(
        activation("tanh"),
        name=f"{left} {right} {at_zero}",
        value=lambda x: at_zero + np.where(x > 0, right, left) * np.tanh(x),
        slope=lambda x: np.where(x > 0, right, left) / np.cosh(np.clip(x, -300, 300)) ** 2,
        kinks=(0.0,),
    )


@pytest.mark.parametrize(
    ("act", "weight"),
    [
        (with_slopes(1.0, 1.0), 1.0),
        (with_slopes(0.0, 1.0), 2.0),
        (with_slopes(1.0, 3.0), 0.2),
        (with_slopes(0.0, 0.0), None),
        (with_slopes(1.0, 1.0, 0.1), None),
        (activation("gelu"), None),  # 0 is unstable
    ],
)
def test_criticality_at_zero_follows_from_the_slopes_beside_it(
    act: Activation, weight: float | None
) -> None:
    with np.errstate(all="ignore"):
        _, table = moments_table(act)
    found = of._critical_at_zero(act, table)
    assert found == (None if weight is None else pytest.approx(weight))


def rising(x: Floats, upward: float) -> Floats:
    """Return 0 near 0, and 1 far from it: what a power of x is beside it."""
    return np.asarray(x**upward / (1 + x**upward))


@pytest.mark.parametrize(
    ("value", "slope", "weight"),
    [
        (  # x + 2x³/3 near 0, which drives q away; bounded, so that it comes back from far away
            lambda x: np.tanh(x) * (1 + rising(x, 2)),
            lambda x: (
                (1 + rising(x, 2)) / np.cosh(np.clip(x, -300, 300)) ** 2
                + np.tanh(x) * 2 * x / (1 + x**2) ** 2
            ),
            None,
        ),
        (  # x − x³/3 near 0, which draws q to it; 2x far away, which drives it to infinity
            lambda x: np.tanh(x) + 2 * x * rising(x, 4),
            lambda x: (
                1 / np.cosh(np.clip(x, -300, 300)) ** 2 + 2 * rising(x, 4) * (5 - 4 * rising(x, 4))
            ),
            1.0,
        ),
    ],
)
def test_what_counts_at_0_is_where_q_moves_near_0(
    value: Formula, slope: Formula, weight: float | None
) -> None:
    act = replace(activation("tanh"), name=f"to {weight}", value=value, slope=slope, kinks=())
    with np.errstate(all="ignore"):
        _, table = moments_table(act)
    assert of._critical_at_zero(act, table) == weight


@pytest.mark.parametrize(
    ("chi", "regime"),
    [
        (math.exp(0.99e-6), "critical"),
        (math.exp(1.01e-6), "chaotic"),
        (math.exp(-0.99e-6), "critical"),
        (math.exp(-1.01e-6), "ordered"),
    ],
)
def test_critical_is_within_a_millionth(chi: float, regime: str) -> None:
    assert of.regime(chi) == regime
    assert (of.depth_scale(chi) == math.inf) is (regime == "critical")


def test_of_an_activation_that_is_0_nothing_is_critical() -> None:
    zero = replace(
        activation("relu"), name="zero", value=lambda x: 0 * x, slope=lambda x: 0 * x, kinks=()
    )
    with np.errstate(all="ignore"):
        assert np.isnan(of.critical_curve(zero, [0.0, 1.0])).all()
        assert np.isnan(of.edge_of_chaos(zero, 2.0)[1]).all()


def test_the_phase_grid_begins_with_inputs_of_variance_1() -> None:
    gelu = activation("gelu")  # dies out or diverges by where it starts
    for weight, another in ((2.2, 0.5), (2.1, 2.0)):
        usual = of.phase_grid(gelu, [weight], [0.0])[0, 0]
        assert usual == of.phase_grid(gelu, [weight], [0.0], 1.0)[0, 0]
        assert usual != pytest.approx(of.phase_grid(gelu, [weight], [0.0], another)[0, 0])


def test_maps_of_relu_in_closed_form() -> None:
    """E[max(x, 0)] = √(ν/2π), E[max(x, 0)²] = ν/2."""
    relu, root = activation("relu"), math.sqrt(3.0 / (2 * math.pi))
    assert moment_map(relu, 3.0) == pytest.approx((root, 1.5 - root**2))
    (zero, mean), (zero_too, variance) = moment_jacobian(relu, 3.0)
    assert (zero, zero_too) == (0.0, 0.0)
    assert mean == pytest.approx(root / 6)
    assert variance == pytest.approx(0.5 - 2 * root * root / 6)
    assert length_map(relu, [[2.0, 4.0]], 3.0).tolist() == [pytest.approx([3.0, 6.0])]
    assert moment_jacobian(relu) == moment_jacobian(relu, 1.0)


def test_a_theory_of_relu_by_hand() -> None:
    found = theory(
        TheoryConfig("relu", weight_variance=1.0, bias_variance=0.5, input_variance=3.0, depth=3)
    )
    assert [row.layer for row in found.records] == [1, 2, 3]
    assert [row.q for row in found.records] == pytest.approx([3.5, 2.25, 1.625])
    assert found.fixed_point == pytest.approx(1.0)
    assert found.chi_fixed_point == pytest.approx(0.5)
    assert found.critical_gain == pytest.approx(math.sqrt(2))
    assert found.jacobian is None
    assert len(found.edge) == 101
    assert found.edge[-1].bias_variance == pytest.approx(1.0)
    assert found.edge[50].bias_variance == pytest.approx(1 / 8)


@pytest.mark.parametrize(("bias", "limit"), [(0.0, 1.0), (0.5, 1.0), (3.0, 6.0)])
def test_the_edge_is_shown_beyond_the_networks_own_bias(bias: float, limit: float) -> None:
    found = theory(TheoryConfig("relu", bias_variance=bias, depth=2))
    assert found.edge[-1].bias_variance == pytest.approx(limit)
    assert found.weight_variance == 2.0


def test_without_a_critical_variance_it_is_1() -> None:
    found = theory(TheoryConfig("gelu", depth=2))
    assert (found.weight_variance, found.critical_weight_variance) == (1.0, None)
    assert theory(TheoryConfig("selu", depth=2)).jacobian is not None
