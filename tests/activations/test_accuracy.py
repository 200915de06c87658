"""Every activation against the textbook at many digits, which in float64 fails the same checks."""

import math

import numpy as np
import pytest
from mpmath import mp
from support.activation_truth import (
    SELU_ALPHA,
    SELU_SCALE,
    TEXTBOOK,
    WITH_OTHER_ALPHAS,
    WITH_ZERO_SLOPE,
    doubles,
    excess,
    label,
    neighbours,
    truth,
    ulps,
    values,
    within_40,
    worst,
    zero_of_slope,
)

from gradflow.activations import ACTIVATIONS, activation, gated, piecewise

FOUR_ULP = ["sigmoid", "relu", "elu", "leaky-relu", "selu", "tanh", "softplus"]
TO_4_ULP = [
    *(ACTIVATIONS[name] for name in FOUR_ULP),
    *(activation("elu", alpha=a) for a in (1e6, -1e-300)),
    activation("leaky-relu", alpha=-3.7),
]
TO_12_DIGITS = [act for act in WITH_OTHER_ALPHAS if act not in TO_4_ULP]


@pytest.mark.parametrize("order", [0, 1], ids=["value", "slope"])
@pytest.mark.parametrize("act", TO_4_ULP, ids=label)
def test_is_within_4_ulp_over_all_doubles(act, order):
    points = doubles(np.random.default_rng(order), 100)
    assert worst(ulps, act, order, points) <= 4


@pytest.mark.parametrize("order", [0, 1], ids=["value", "slope"])
@pytest.mark.parametrize("act", TO_12_DIGITS, ids=label)
def test_has_12_digits_up_to_40(act, order):
    points = within_40(np.random.default_rng(order), 80)
    if order and act.name in WITH_ZERO_SLOPE:
        points = points[(points < -2) | (points > -0.5)]  # the zero has its own test
    assert worst(excess, act, order, points) <= 1


@pytest.mark.parametrize("name", WITH_ZERO_SLOPE)
def test_slope_beside_its_zero_is_right_to_12_digits_or_1e_16(name):
    act = ACTIVATIONS[name]
    zero = float(zero_of_slope(act))
    distances = np.concatenate([10.0 ** np.linspace(-16, -0.5, 300), np.linspace(0, 0.02, 300)])
    points = np.concatenate([np.linspace(-2, -0.5, 400), zero + distances, zero - distances])
    assert worst(excess, act, 1, points, 1e-16) <= 1


@pytest.mark.parametrize("name", ["gelu", "gelu-erf"])
def test_slope_beside_its_zero_keeps_relative_accuracy_where_it_is_a_series(name):
    act = ACTIVATIONS[name]
    points = np.array(neighbours(float(zero_of_slope(act)), 200))
    assert worst(excess, act, 1, points) <= 1


@pytest.mark.parametrize(
    ("name", "root"), [("gelu", gated.GELU_ROOT), ("gelu-erf", gated.GELU_ERF_ROOT)]
)
def test_series_constants_are_the_derivatives_taylor_coefficients(name, root):
    with mp.workdps(60):
        zero = zero_of_slope(ACTIVATIONS[name])
        series = mp.taylor(lambda x: TEXTBOOK[name][1](mp, x, None), zero, 7)
        assert root.high == float(zero)
        assert root.low == float(zero - root.high)
        assert list(root.coefficients) == [float(c) for c in series[1:]]


def test_the_constants_of_selu_and_gelu_are_rounded_once():
    with mp.workdps(50):
        assert float(mp.mpf(SELU_SCALE * SELU_ALPHA) / 10**62) == piecewise.SELU_SCALE_ALPHA
        assert float(mp.mpf(SELU_SCALE) / 10**31) == piecewise.SELU_SCALE
        linear = 2 * mp.sqrt(2 / mp.pi)
        assert (float(linear), float(linear * 44715 / 10**6)) == gated.GELU_EXPONENT


FAILING = [  # name, value or slope, a point where the textbook form has lost its digits, check
    ("sigmoid", 1, 38.0, ulps, 4),
    ("tanh", 1, 20.0, ulps, 4),
    ("elu", 0, -1e-10, ulps, 4),
    ("selu", 0, -1e-10, ulps, 4),
    ("softplus", 0, -40.0, ulps, 4),
    ("gelu", 0, -6.0, excess, 1),
    ("gelu", 1, -6.0, excess, 1),
    ("gelu-erf", 0, -8.0, excess, 1),
    ("gelu-erf", 1, -8.0, excess, 1),
    ("mish", 0, -30.0, excess, 1),
    ("logsigmoid", 0, 30.0, excess, 1),
    ("logsigmoid", 1, 38.0, excess, 1),
    ("celu", 0, -1e-6, excess, 1),
]


@pytest.mark.parametrize(("name", "order", "x", "error", "limit"), FAILING)
def test_the_textbook_form_in_float64_fails_the_check(name, order, x, error, limit):
    act = ACTIVATIONS[name]
    (ours,) = values(act, order, [x])
    true = truth(act, order, x, near=ours)
    textbook = float(TEXTBOOK[name][order](math, x, act.parameters.get("alpha")))
    assert error(ours, true) <= limit
    assert error(textbook, true) > 10 * limit


def test_the_squared_form_of_the_sigmoid_slope_is_the_less_exact_one():
    x = np.random.default_rng(3).uniform(2.0, 5.0, 40_000)
    squared = np.exp(-x) / (1 + np.exp(-x)) ** 2
    ours = activation("sigmoid").derivative(x)
    apart = np.argsort(-np.abs(squared / ours - 1))[:500]
    true = [truth(ACTIVATIONS["sigmoid"], 1, x[i], near=0.1) for i in apart]
    worst_squared, worst_ours = (
        max(map(ulps, form[apart].tolist(), true)) for form in (squared, ours)
    )
    assert worst_ours < 2.6
    assert worst_squared > 3.3


@pytest.mark.parametrize("act", WITH_OTHER_ALPHAS, ids=label)
def test_the_truth_of_the_slope_is_the_derivative_of_the_truth(act):
    f, slope = TEXTBOOK[act.name]
    alpha = act.parameters.get("alpha")
    with mp.workdps(60):
        for x in np.random.default_rng(0).uniform(-7, 7, 25).tolist():
            numeric = mp.diff(lambda t: f(mp, t, alpha), mp.mpf(x))
            assert mp.almosteq(numeric, slope(mp, mp.mpf(x), alpha), 1e-20, 1e-20)
