"""Fixed points, criticality and the phase diagram, against published figures and brute force."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special

from gradflow.activations import ACTIVATIONS, activation
from gradflow.errors import GradflowError
from gradflow.theories.fixed_points import find_roots
from gradflow.theories.meanfield import chi, length_map
from gradflow.theories.phases import (
    chi_fixed_point,
    critical_curve,
    critical_gain,
    critical_point,
    critical_weight_variance,
    depth_scale,
    edge_of_chaos,
    fixed_point,
    phase_grid,
    regime,
)

names = st.sampled_from(sorted(ACTIVATIONS))
variances = st.floats(0, 6)


def _iterated(act, weight_variance, bias_variance, q, layers):
    for _ in range(layers):
        q = float(length_map(act, q, weight_variance, bias_variance))
    return q


# --- fixed points ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("weight_variance", "bias_variance"), [(0.7, 0.1), (1.4, 0.3)])
def test_the_fixed_point_is_where_iteration_ends(name, weight_variance, bias_variance):
    act = activation(name)
    start = weight_variance + bias_variance
    ended = _iterated(act, weight_variance, bias_variance, start, 400)
    found = fixed_point(act, weight_variance, bias_variance)
    # The slowest of these, SELU at σ_w² = 1.4, comes nearer by 0.87 a layer: 0.87^400 < 1e-23.
    assert found == pytest.approx(ended if ended < 1e50 else math.inf, rel=1e-12)


@settings(deadline=None)
@given(names, variances, variances, st.floats(0, 20))
def test_a_finite_fixed_point_maps_to_itself(name, weight_variance, bias_variance, start):
    weight_variance, bias_variance = (
        v if v > 1e-9 else 0 for v in (weight_variance, bias_variance)
    )
    act = activation(name)
    q = fixed_point(act, weight_variance, bias_variance, start=start)
    assert q >= 0
    if math.isfinite(q):
        mapped = float(length_map(act, q, weight_variance, bias_variance))
        assert mapped == pytest.approx(q, rel=1e-12, abs=1e-300)


@settings(deadline=None)
@given(st.floats(0.01, 1.9), st.floats(0.01, 5), st.floats(0, 1.9))
def test_leaky_relu_has_the_fixed_point_of_a_linear_map(weight_variance, bias_variance, alpha):
    act = activation("leaky-relu", alpha=alpha)
    factor = weight_variance * (1 + alpha**2) / 2
    q = fixed_point(act, weight_variance, bias_variance)
    expected = bias_variance / (1 - factor) if factor < 1 else math.inf
    assert q == pytest.approx(expected, rel=1e-9)  # 1 − χ may cancel six digits
    assert chi_fixed_point(act, weight_variance, bias_variance) == pytest.approx(factor)


def test_selu_is_self_normalising_from_afar():
    selu = activation("selu")
    for start in (0.01, 1.0, 50.0):
        assert fixed_point(selu, 1.0, start=start) == pytest.approx(1, rel=1e-12)
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    slope = scale**2 / 2 * (1 + alpha**2 * special.erfcx(math.sqrt(2)))
    assert chi_fixed_point(selu, 1.0) == pytest.approx(slope, rel=1e-12)


def test_near_criticality_the_fixed_point_is_found_not_iterated_to():
    """tanh: E[φ²]/q = 1 − 2q + 17q²/3 − …, so that q* = ε/2 + O(ε²) at σ_w² = 1 + ε."""
    tanh = activation("tanh")
    for excess in (1e-5, 1e-6):  # iteration would take millions of layers
        series = np.polynomial.Polynomial([1 - 1 / (1 + excess), -2, 17 / 3]).roots().real.min()
        # The series' next term is 25 q³: 1e-15 beside 2q.
        assert fixed_point(tanh, 1 + excess) == pytest.approx(series, rel=1e-8)
    # 3000 layers at 1 − 1e-2 each leave 1e-13 of the way.
    ended = _iterated(tanh, 1.01, 0.0, 6e-3, 3000)
    assert fixed_point(tanh, 1.01) == pytest.approx(ended, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "weight_variance", "expected"),
    [
        ("tanh", 1.0, 0.0),
        ("tanh", 0.5, 0.0),
        ("hardtanh", 1.0, 0.0),
        ("relu6", 2.0, 0.0),
        ("relu", 1.9, 0.0),
        ("relu", 2.0, 2.0),
        ("relu", 2.1, math.inf),
        ("selu", 2.0, math.inf),
        ("softplus", 2.0, math.inf),
        ("silu", 4.0, math.inf),
    ],
)
def test_signals_die_out_stay_or_diverge(name, weight_variance, expected):
    assert fixed_point(activation(name), weight_variance) == expected


def test_gelu_dies_out_or_diverges_by_where_it_starts():
    gelu = activation("gelu")
    assert fixed_point(gelu, 2.2, start=0.5) == 0
    assert fixed_point(gelu, 2.2, start=50.0) == math.inf
    assert _iterated(gelu, 2.2, 0.0, 0.5, 200) < 1e-10
    assert _iterated(gelu, 2.2, 0.0, 50.0, 200) > 1e4


def test_the_walk_stops_where_the_map_only_touches():
    """At GELU's half-stable point q may fall no further; with less bias it slips through."""
    gelu, q = activation("gelu-erf"), (3 + math.sqrt(17)) / 2
    bias, weight = (float(curve[0]) for curve in edge_of_chaos(gelu, q))
    # A double root is known to half of the digits, its third derivative to fewer.
    assert fixed_point(gelu, weight, bias, start=20.0) == pytest.approx(q, rel=1e-4)
    assert _iterated(gelu, weight, bias, 20.0, 3000) > q
    slipped = fixed_point(gelu, weight, bias * (1 - 1e-4), start=20.0)
    assert slipped < 3
    assert _iterated(gelu, weight, bias * (1 - 1e-4), slipped, 100) == pytest.approx(slipped)


def test_without_weights_the_biases_are_all_there_is():
    assert fixed_point(activation("gelu"), 0.0, 0.3) == pytest.approx(0.3, rel=1e-15)
    assert fixed_point(activation("tanh"), 0.0) == 0
    assert chi_fixed_point(activation("tanh"), 0.0, 0.3) == 0


def test_no_signal_stays_none_where_zero_maps_to_zero():
    assert fixed_point(activation("gelu"), 9.0, start=0.0) == 0
    sigmoid = activation("sigmoid")
    assert fixed_point(sigmoid, 1.0, start=0.0) == pytest.approx(
        fixed_point(sigmoid, 1.0), rel=1e-12
    )


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e-200, 1e200])
def test_what_is_no_variance_is_refused(value):
    tanh = activation("tanh")
    with pytest.raises(GradflowError, match="weight_variance"):
        fixed_point(tanh, value)
    with pytest.raises(GradflowError, match="bias_variance"):
        critical_gain(tanh, value)


# --- criticality -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("leaky-relu", math.sqrt(2 / 1.04)),
        ("identity", 1.0),
        ("tanh", 1.0),
        ("softsign", 1.0),
        ("hardtanh", 1.0),
        ("relu6", math.sqrt(2)),
        ("elu", math.sqrt(2 / 1.04)),
        ("celu", 1.0),
        ("selu", math.sqrt(2 / (1.0507009873554805**2 * (1 + 1.6732632423543772**2)))),
    ],
)
def test_the_critical_gain_follows_from_the_slopes_at_zero(name, gain):
    assert critical_gain(activation(name)) == pytest.approx(gain, rel=1e-15)


@pytest.mark.parametrize(
    "name", ["gelu", "gelu-erf", "silu", "mish", "hardswish", "quick-gelu", "softplus"]
)
def test_gated_activations_and_softplus_have_none_without_biases(name):
    assert critical_weight_variance(activation(name)) is None
    assert critical_gain(activation(name)) is None


@pytest.mark.parametrize(
    ("name", "bias_variance", "weight_variance", "fixed"),
    [
        ("gelu-erf", 0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2),
        ("silu", 0.55514317, 1.98800468, 14.32017362),
    ],
)
def test_the_half_stable_points_are_those_published(name, bias_variance, weight_variance, fixed):
    """Roberts, Yaida & Hanin 2022, section 5.3.4: the edge ends there, towards smaller σ_b²."""
    act = activation(name)
    bias, weight = edge_of_chaos(act, fixed * np.array([1 + 1e-9, 0.999]))
    assert bias[0] == pytest.approx(bias_variance, abs=1e-8)
    assert weight[0] == pytest.approx(weight_variance, abs=1e-8)
    assert np.isnan(bias[1])
    found = critical_weight_variance(act, bias_variance + 1e-8)
    assert found == pytest.approx(weight_variance, abs=1e-6)
    assert critical_weight_variance(act, bias_variance - 1e-3) is None
    assert critical_point(act) == pytest.approx((bias_variance, weight_variance), abs=1e-8)


@pytest.mark.parametrize("name", ["tanh", "relu", "selu", "sigmoid"])
def test_the_critical_point_of_others_has_no_biases(name):
    act = activation(name)
    assert critical_point(act) == (0.0, critical_weight_variance(act))


def test_softplus_has_no_critical_point():
    assert critical_point(activation("softplus")) is None


def test_tanh_is_critical_at_the_published_variances():
    """Schoenholz et al. 2017, figure 1: σ_w² = 1.76 at σ_b² = 0.05."""
    assert critical_weight_variance(activation("tanh"), 0.05) == pytest.approx(1.76, abs=0.005)


def test_the_critical_sigmoid_lies_in_saturation_and_is_stable():
    """By brute force: from both sides q settles where it should, and χ is 1 there."""
    sigmoid = activation("sigmoid")
    weight = critical_weight_variance(sigmoid)
    assert weight == pytest.approx(103.0076, abs=1e-4)
    for start in (1.0, 500.0):
        q = _iterated(sigmoid, weight, 0.0, start, 60)
        assert q == pytest.approx(45.62428, abs=1e-5)
        assert float(chi(sigmoid, q, weight)) == pytest.approx(1, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(names, st.floats(1e-3, 1.5))
def test_at_the_critical_weight_variance_the_network_is_critical(name, bias_variance):
    act = activation(name)
    weight = critical_weight_variance(act, bias_variance)
    assume(weight is not None)
    settled = [
        chi_fixed_point(act, weight, bias_variance, start=start)
        for start in (0.1, 1.0, 10.0, 100.0)
    ]
    # Some start leads there; a double root keeps half of the digits.
    assert min(abs(value - 1) for value in settled) < 1e-6


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["tanh", "softsign", "hardtanh", "relu6", "sigmoid", "selu"]),
    st.floats(50, 500),
    st.sampled_from([0.8, 1.25]),
)
def test_the_edge_of_chaos_has_its_parameter_as_stable_fixed_point(name, q, factor):
    act = activation(name)
    bias, weight = (float(curve[0]) for curve in edge_of_chaos(act, q))
    assert fixed_point(act, weight, bias, start=factor * q) == pytest.approx(q, rel=1e-10)
    assert chi_fixed_point(act, weight, bias, start=factor * q) == pytest.approx(1, rel=1e-10)


def test_the_edge_is_nan_where_the_fixed_point_is_unstable_or_asks_for_negative_bias_variance():
    for name, q in (("gelu", 1.0), ("sigmoid", 10.0), ("softplus", 10.0)):
        assert np.isnan(edge_of_chaos(activation(name), q)).all()


def test_the_edge_of_a_scale_free_activation_is_a_vertical_line():
    bias, weight = edge_of_chaos(activation("relu"), [0.1, 1.0, 10.0])
    np.testing.assert_array_equal(bias, [0.1, 1.0, 10.0])
    np.testing.assert_array_equal(weight, 2.0)


def test_the_critical_curve_is_the_critical_weight_variance_at_every_point():
    bias = [0.0, 0.1, 0.2, 1.0]
    for name in ("tanh", "gelu", "relu"):
        act = activation(name)
        singly = [critical_weight_variance(act, b) for b in bias]
        expected = [math.nan if w is None else w for w in singly]
        np.testing.assert_allclose(critical_curve(act, bias), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "name", "scale"),
    [
        (1.0, "critical", math.inf),
        (1 + 1e-8, "critical", math.inf),
        (math.exp(-0.1), "ordered", 10.0),
        (math.exp(0.1), "chaotic", 10.0),
        (0.0, "ordered", 0.0),
        (math.inf, "chaotic", 0.0),
    ],
)
def test_regime_and_depth_scale_follow_from_chi(value, name, scale):
    assert regime(value) == name
    assert depth_scale(value) == pytest.approx(scale)


# --- the phase diagram -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "gelu", "sigmoid", "selu", "relu"])
def test_the_phase_grid_holds_chi_at_each_fixed_point(name):
    act = activation(name)
    weights, biases = np.array([0.0, 0.9, 2.1, 3.5]), np.array([0.0, 0.05, 0.6])
    grid = phase_grid(act, weights, biases, input_variance=2.0)
    expected = [
        [chi_fixed_point(act, w, b, start=2 * w + b) for w in weights.tolist()]
        for b in biases.tolist()
    ]
    np.testing.assert_allclose(grid, expected, rtol=1e-9)


def test_order_and_chaos_meet_at_the_edge():
    tanh = activation("tanh")
    critical = critical_weight_variance(tanh, 0.2)
    below, above = phase_grid(tanh, [critical * 0.99, critical * 1.01], [0.2])[0]
    assert below < 1 < above


# --- roots -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-0.9, 0.9), min_size=1, max_size=8))
def test_every_bracketed_root_is_found_to_rounding(targets):
    targets = np.array(targets)
    low, high = np.full(targets.size, -1.0), np.full(targets.size, 1.0)
    roots = find_roots(lambda x, i: np.expm1(3 * x) - np.expm1(3 * targets[i]), low, high)
    np.testing.assert_allclose(roots, targets, atol=1e-14)  # the slope e^{3x} costs a digit
