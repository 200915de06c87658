"""How fixed points are looked for: signs, dips, brackets and roots, on functions made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.arrays import Floats, Integers
from gradflow.theories import fixed_points as of
from gradflow.theories.fixed_points import NOISE, find_roots, ln, ln_fixed_points, signs
from gradflow.theories.quadrature import moments


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ([1.0, -1.0], [1, -1]),
        ([0.0, 0.0, 1.0, -1.0, 0.0], [1, 1, 1, -1, -1]),
        ([0.0, -1.0, 0.0, 1.0], [-1, -1, 0, 1]),
        ([NOISE, 2 * NOISE, -1.0], [1, 1, -1]),
        ([NOISE, -2 * NOISE, 1.0], [-1, -1, 1]),
        ([-1.0, 1.0, NOISE], [-1, 1, 1]),
        ([0.0, 0.0], [0, 0]),
        ([1.0], [1]),
    ],
)
def test_signs_that_sink_into_rounding_are_their_neighbours(
    change: list[float], expected: list[int]
) -> None:
    assert signs(np.array(change)).tolist() == expected


def test_the_logarithm_of_0_is_minus_infinity() -> None:
    assert ln([0.0, 1.0]).tolist() == [-math.inf, 0.0]
    assert ln(math.e).shape == (1,)


def test_roots_at_the_ends_and_within() -> None:
    calls: list[Integers] = []

    def function(x: Floats, which: Integers) -> Floats:
        calls.append(which)
        return np.asarray(x**3 - np.array([0.0, 8.0, 1.0, 27.0])[which])

    low, high = np.array([0.0, -1.0, -5.0, 1.0]), np.array([1.0, 2.0, 9.0, 4.0])
    np.testing.assert_allclose(find_roots(function, low, high), [0.0, 2.0, 1.0, 3.0], rtol=1e-15)
    assert calls[0].tolist() == [0, 1, 2, 3]
    assert all(which.tolist() in ([2, 3], [2], [3]) for which in calls[2:])
    assert len(calls) < 40


def test_few_steps_are_enough_for_a_smooth_function() -> None:
    steps = []

    def function(x: Floats, which: Integers) -> Floats:
        steps.append(len(which))
        return np.exp(x) - 2

    (root,) = find_roots(function, np.array([0.0]), np.array([5.0]))
    assert root == pytest.approx(math.log(2), rel=1e-15)
    assert len(steps) <= 2 + 2 * 12


def test_a_step_without_end_ends() -> None:
    """A function that jumps has no root to converge to: 60 steps of it are enough."""
    seen = 0

    def function(x: Floats, which: Integers) -> Floats:
        nonlocal seen
        seen += 1
        return np.full(len(which), np.nan) if seen > 2 else np.array([-1.0, 1.0])[[seen - 1]]

    find_roots(function, np.array([0.0]), np.array([1.0]))
    assert seen == 2 + 2 * 60


@pytest.mark.parametrize(
    ("chi", "bias", "start", "expected"),
    [
        (0.5, 3.0, 1.0, math.log(6.0)),
        (0.5, 0.0, 1.0, -math.inf),
        (1.0, 0.0, 1.5, 1.5),
        (1.0 + NOISE / 2, 0.0, 1.5, 1.5),
        (1.0 - NOISE / 2, 0.0, 1.5, 1.5),
        (1.0, 0.1, 1.5, math.inf),
        (2.0, 0.0, 1.5, math.inf),
        (1.0 - 1e-9, 1.0, 1.5, 9 * math.log(10)),
    ],
)
def test_scale_free_fixed_points_are_those_of_a_line(
    chi: float, bias: float, start: float, expected: float
) -> None:
    found = of._scale_free(np.array([chi]), np.array([bias]), np.array([start]))
    assert found[0] == pytest.approx(expected, abs=1e-6)


X = np.array([0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("height", "steepness", "dips"),
    [
        # (x − 1.5)² − 0.1 + 0 at the nodes: falls, then rises, tangents meet below 0.
        ([2.15, 0.15, 0.15, 2.15], [-3, -1, 1, 3], [1]),
        ([2.65, 0.65, 0.65, 2.65], [-3, -1, 1, 3], []),  # they meet above: 0.65 − 0.5
        ([2.5, 0.5, 0.5, 2.5], [-3, -1, 1, 3], [1]),  # they meet at 0
        ([2.15, 0.15, 0.15, 2.15], [-3, -1, -1, 3], [2]),
        ([2.15, NOISE, 0.15, 2.15], [-3, -1, 1, 3], []),
        ([2.15, 0.15, NOISE, 2.15], [-3, -1, 1, 3], []),
        ([2.15, 0.15, 0.15, 2.15], [-3, 0, 1, 3], []),
        ([2.15, 0.15, 0.15, 2.15], [-3, -1, 0, 3], []),
        ([0.4, 0.4, 0.2, 0.2], [-1, 1, -0.5, 0.5], [0, 2]),
        ([1.0, 0.1, 0.9, 2.0], [-1, -0.3, 1.5, 1], [1]),
    ],
)
def test_a_height_may_touch_0_where_tangents_meet_below_it(
    height: list[float], steepness: list[float], dips: list[int]
) -> None:
    found = of._dips(X, np.array(height), np.array(steepness, dtype=float))
    assert found.tolist() == dips


def test_dips_count_distances_in_ln_q() -> None:
    """Over an interval of 4 the same slopes lead far below 0, over one of 0.1 nowhere near it."""
    height, steepness = np.array([0.3, 0.3]), np.array([-1.0, 1.0])
    assert of._dips(np.array([0.0, 4.0]), height, steepness).tolist() == [0]
    assert of._dips(np.array([4.0, 0.0]), height, steepness).tolist() == [0]
    assert of._dips(np.array([0.0, 0.1]), height, steepness).tolist() == []


def bracket(
    change: list[float], place: int, steepness: list[float] | None = None
) -> tuple[float, float]:
    """Return what is found from a node, whose ln q are 0, 1, 2, …."""
    nodes = (
        np.arange(float(len(change))),
        np.array(change),
        np.array(steepness or [1.0] * len(change)),
    )
    return of._bracket(activation("tanh"), (1.0, 0.0), nodes, place)


@pytest.mark.parametrize(
    ("change", "place", "ends"),
    [
        ([1.0, 1.0, -1.0, -1.0], 0, (1.0, 2.0)),
        ([1.0, 1.0, -1.0, -1.0], 1, (1.0, 2.0)),
        ([1.0, 1.0, -1.0, -1.0], 3, (2.0, 1.0)),
        ([1.0, 1.0, 1.0], 1, (math.inf, math.inf)),
        ([-1.0, -1.0, -1.0], 1, (-math.inf, -math.inf)),
        ([1.0, 0.0, -1.0], 1, (1.0, 1.0)),
        ([1.0, 0.0, -1.0], 0, (1.0, 1.0)),
        ([1.0, 0.0, -1.0], 2, (1.0, 1.0)),
        ([-1.0, 1.0, 1.0], 0, (-math.inf, -math.inf)),
    ],
)
def test_the_fixed_point_lies_where_the_direction_turns(
    change: list[float], place: int, ends: tuple[float, float]
) -> None:
    assert bracket(change, place) == ends


@pytest.mark.parametrize(
    ("depth", "ends"),
    [(0.0, (1.5, 1.5)), (NOISE, (1.5, 1.5)), (-1.0, (1.0, 1.5)), (1.0, (3.0, 4.0))],
)
def test_a_dip_that_reaches_0_stops_the_walk(
    depth: float, ends: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of, "_bottom", lambda *_: (1.5, depth))
    change = [1.0, 0.1, 0.1, 1.0, -1.0]
    assert bracket(change, 0, [-1.0, -1.0, 1.0, 1.0, 1.0]) == ends
    mirrored = [-c for c in change[::-1]]
    back = bracket(mirrored, 4, [1.0, 1.0, 1.0, -1.0, -1.0])
    assert back == ((1.5, 1.5) if ends[0] == 1.5 else back)


def test_the_bottom_is_where_the_change_is_least() -> None:
    """GELU's change of ln q dips between where it grows with the bias and where with the gain."""
    gelu, variances = activation("gelu"), (1.9, 0.3)
    interval = np.array([0.0, 4.0])
    where, depth = of._bottom(gelu, variances, interval)
    grid = np.linspace(0.0, 4.0, 4001)
    change = of._change(of.gains(gelu, grid), grid, *variances)
    assert where == pytest.approx(grid[change.argmin()], abs=2e-3)
    assert depth == pytest.approx(change.min(), abs=1e-6)


def test_fixed_points_of_several_networks_at_once() -> None:
    weight, bias = np.array([0.0, 0.0, 1.5, 1.5]), np.array([0.5, 0.0, 0.1, 0.0])
    start = np.array([0.0, 0.0, 0.0, -np.inf])
    found = np.exp(ln_fixed_points(activation("tanh"), weight, bias, start))
    assert found[[0, 1, 3]] == pytest.approx([0.5, 0.0, 0.0])
    q = found[2]
    assert 1.5 * q * of.gains(activation("tanh"), math.log(q))[0] + 0.1 == pytest.approx(q)


@pytest.mark.parametrize(("weight", "bias"), [(1.5, 0.0), (0.7, 0.3), (4.0, 2.0)])
def test_the_steepness_is_the_derivative_of_the_change(weight: float, bias: float) -> None:
    act, ln_q, apart = activation("gelu"), np.array([-2.0, 0.3, 1.7]), 1e-5

    def change(ln_q: Floats) -> Floats:
        return of._change(moments(act, ln_q).gain, ln_q, weight, bias)

    at = moments(act, ln_q)
    found = of._steepness(at.gain, at.gain_power, change(ln_q), weight)
    slope = (change(ln_q + apart) - change(ln_q - apart)) / (2 * apart)
    np.testing.assert_allclose(found, slope, rtol=1e-7)
