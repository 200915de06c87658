"""Gaussian expectations against 30-digit quadrature, closed forms and their own laws."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from scipy import special
from support.activation_truth import TEXTBOOK, label

from gradflow.activations import ACTIVATIONS, activation
from gradflow.theories import quadrature

names = st.sampled_from(sorted(ACTIVATIONS))
ln_qs = st.floats(-200, 200)


def _exact_moments(act, q):
    """Return E[φ²] and E[φ′²] by adaptive quadrature, split at kinks and at growing scales."""
    phi, slope = (functools.partial(f, a=act.parameters.get("alpha")) for f in TEXTBOOK[act.name])
    scale = mp.sqrt(mp.mpf(q))
    reach = 11 * scale
    edges = {mp.mpf(0), -reach, reach, *(mp.mpf(kink) for kink in act.kinks if abs(kink) < reach)}
    step = min(mp.mpf(1), scale)
    while step < reach:
        edges |= {step, -step}
        step *= 8

    def both(x):
        return mp.mpc(mp.mpf(phi(mp, x)) ** 2, mp.mpf(slope(mp, x)) ** 2) * mp.npdf(x, 0, scale)

    integral = mp.quad(both, sorted(edges), method="gauss-legendre")
    return float(integral.real), float(integral.imag)


WITH_OTHER_ALPHAS = [activation("elu", alpha=-0.5), activation("celu", alpha=0.01)]


@pytest.mark.parametrize("act", [*ACTIVATIONS.values(), *WITH_OTHER_ALPHAS], ids=label)
def test_moments_agree_with_30_digit_quadrature(act):
    qs = [1e-30, 0.3, 40.0, 1e30]
    at = quadrature.moments(act, np.log(qs))
    with mp.workdps(30):
        exact = np.array([_exact_moments(act, q) for q in qs])
    # 1e-12: what remains is the rounding of some hundred terms and of exp(ln q).
    np.testing.assert_allclose(at.gain * qs, exact[:, 0], rtol=1e-12)
    np.testing.assert_allclose(at.slope, exact[:, 1], rtol=1e-12)


@settings(deadline=None)
@given(st.floats(-5, 15))
def test_elu_moments_have_their_closed_form(ln_q):
    """E[e^{kx}; x < 0] = erfcx(k√(q/2))/2; below q = e^-5 the form itself cancels."""
    q, alpha = np.exp(ln_q), 0.7
    below = {k: special.erfcx(k * np.sqrt(q / 2)) / 2 for k in (1, 2)}
    at = quadrature.moments(activation("elu", alpha=alpha), ln_q)
    assert q * at.gain[0] == pytest.approx(
        q / 2 + alpha**2 * (below[2] - 2 * below[1] + 0.5), rel=1e-11
    )
    assert at.slope[0] == pytest.approx(0.5 + alpha**2 * below[2], rel=1e-12)


@settings(deadline=None)
@given(ln_qs)
def test_hardtanh_slope_is_the_mass_between_its_kinks(ln_q):
    slope = quadrature.moments(activation("hardtanh"), ln_q).slope[0]
    assert slope == pytest.approx(special.erf(np.exp(-ln_q / 2) / np.sqrt(2)), rel=1e-12)


@settings(deadline=None)
@given(names, st.floats(-12, 12))
def test_powers_are_the_logarithmic_derivatives(name, ln_q):
    act, step = activation(name), 1e-4
    low, high = (quadrature.moments(act, ln_q + s) for s in (-step, step))
    at = quadrature.moments(act, ln_q)
    of_second = 1 + np.log(high.gain / low.gain) / (2 * step)
    of_slope = np.log(high.slope / low.slope) / (2 * step)
    # The central difference errs by step² times a third derivative that stays below 10.
    np.testing.assert_allclose(at.gain_power, of_second, atol=1e-7)
    np.testing.assert_allclose(at.slope_power, of_slope, atol=1e-7)


@settings(deadline=None)
@given(names, ln_qs)
def test_the_second_moment_grows_with_q_and_slopes_stay_below_the_steepest(name, ln_q):
    act = activation(name)
    at = quadrature.moments(act, ln_q)
    assert at.gain[0] > 0
    assert at.gain_power[0] >= -1e-14  # what finding fixed points by looking rests on
    assert 0 < at.slope[0] <= act.max_slope**2 * (1 + 1e-12)


@settings(deadline=None)
@given(names, ln_qs)
def test_gains_are_those_of_the_moments(name, ln_q):
    act = activation(name)
    assert quadrature.gains(act, ln_q)[0] == quadrature.moments(act, ln_q).gain[0]


def test_blocks_do_not_change_the_numbers():
    act, ln_q = activation("mish"), np.linspace(-80, 80, 101)
    alone = [quadrature.moments(act, value).gain[0] for value in ln_q]
    np.testing.assert_allclose(quadrature.moments(act, ln_q).gain, alone, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("relu", 0.5), ("leaky-relu", 0.52), ("identity", 1.0), ("elu", None), ("relu6", None)],
)
def test_scale_free_activations_are_recognised(name, expected):
    assert quadrature.scale_free_gain(activation(name)) == expected


@pytest.mark.parametrize(
    ("name", "ln_q", "second", "slope"),
    [
        ("tanh", 1e4, 0.0, -5e3 + np.log(4 / 3 / np.sqrt(2 * np.pi))),
        ("tanh", -1e4, -1e4, 0.0),
        ("sigmoid", -np.inf, np.log(1 / 4), np.log(1 / 16)),
        ("silu", 1e4, 1e4 - np.log(2), -np.log(2)),
        ("relu", -np.inf, -np.inf, -np.log(2)),
    ],
)
def test_beyond_the_range_of_doubles_activations_are_powers(name, ln_q, second, slope):
    act, ln_q = activation(name), np.array([ln_q])
    # ln q = 230 and its exponential leave 1e-13 of rounding.
    assert quadrature.ln_second_moment(act, ln_q)[0] == pytest.approx(second, rel=1e-12, abs=1e-12)
    assert quadrature.ln_slope_moment(act, ln_q)[0] == pytest.approx(slope, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "length", "slope", "covariance"), [("relu", 5, 5, 1), ("identity", 2, 2, 0)]
)
def test_noise_has_its_closed_form(name, length, slope, covariance):
    """E[φ⁴]/E[φ²]² is 6 for ReLU and 3 for the identity."""
    at = quadrature.noise(activation(name), [-3.0, 0.0, 8.0])
    np.testing.assert_allclose(at.length, length, rtol=1e-12)
    np.testing.assert_allclose(at.slope, slope, rtol=1e-12)
    np.testing.assert_allclose(at.covariance, covariance, atol=1e-12)


@settings(deadline=None)
@given(st.floats(0.05, 50))
def test_first_moment_of_selu_has_its_closed_form(q):
    """Klambauer et al. 2017, eq. 4, at ω = 0."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    mean, slope = quadrature.first_moment(activation("selu"), np.log(q))
    below = (special.erfcx(np.sqrt(q / 2)) - 1) / 2
    assert mean == pytest.approx(
        scale * (np.sqrt(q / (2 * np.pi)) + alpha * below), rel=1e-11, abs=1e-14
    )
    low, high = (
        quadrature.first_moment(activation("selu"), np.log(q * r))[0] for r in (0.999, 1.001)
    )
    assert slope == pytest.approx((high - low) / (0.002 * q), abs=1e-5)  # step² times φ‴'s size
