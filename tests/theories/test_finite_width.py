"""The scatter of finite networks, against networks that were drawn and a published moment."""

import math

import numpy as np
import pytest
from support.random_networks import drawn

from gradflow.activations import activation
from gradflow.errors import GradflowError
from gradflow.theories.finite_width import _alignment_step, _interpolate, _table, predict_ensemble
from gradflow.theories.propagation import predict
from gradflow.theories.quadrature import moments, noise


def test_relu_networks_have_the_known_fourth_moment():
    """E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^d for He-initialised ReLU networks (Hanin & Nica 2019)."""
    width, layers = 200, 21
    ensemble = predict_ensemble(
        activation("relu"), [2.0] * layers, [0.0] * layers, 2.0, [width] * layers, samples=40_000
    )
    square = 10 ** (2 * ensemble[:, 0])
    # Near a log-normal of variance ½, whose moments 40 000 draws give to 0.4 % and 2 %.
    assert np.mean(square) == pytest.approx(1, abs=0.02)
    ratio = np.mean(square**2) / np.mean(square) ** 2
    assert ratio == pytest.approx((1 + 5 / width) ** (layers - 1), rel=0.08)


@pytest.mark.parametrize(
    ("name", "weight_variance", "bias_variance"),
    [("gelu", 2.0, 0.0), ("gelu", 2.0, 0.2), ("tanh", 1.5, 0.05), ("selu", 1.0, 0.0)],
)
def test_the_ensemble_scatters_as_drawn_networks_do(name, weight_variance, bias_variance):
    act, layers, networks, width = activation(name), 15, 400, 64
    _, deltas = drawn(act, weight_variance, bias_variance, [width] * layers, networks)
    measured = np.log10(deltas[:, 0] / deltas[:, -1]) / 2
    modelled = predict_ensemble(
        act,
        [weight_variance] * layers,
        [bias_variance] * layers,
        weight_variance + bias_variance,
        [width] * layers,
        samples=20_000,
    )[:, 0]
    for share in (0.05, 0.5, 0.95):
        # How many of 400 drawn networks lie below the model's quantile: binomial, 4 σ, and 0.015
        # for what the leading order in 1/64 leaves out.
        below = np.mean(measured < np.quantile(modelled, share))
        assert below == pytest.approx(
            share, abs=0.015 + 4 * math.sqrt(share * (1 - share) / networks)
        )


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "sigmoid"])
def test_small_scatter_is_that_of_the_linearised_recursion(name):
    """ln δ₁² = b₁ + b₂ + (d ln χ₂/d ln q₂) ε₁ to first order, ε₁ and b₁ correlated."""
    act, units, weight, bias = activation(name), 10**6, 1.5, 0.2
    chain = act, [weight] * 3, [bias] * 3, 1.7
    q1, q2, _ = predict(*chain).q.tolist()
    first, second = (noise(act, math.log(q)) for q in (q1, q2))
    response = (1 - bias / q2) * moments(act, math.log(q2)).slope_power[0]
    variance = first.slope + 2 * response * first.covariance + response**2 * first.length
    expected = math.sqrt((variance + second.slope)[0] / units) / (2 * math.log(10))
    ensemble = predict_ensemble(*chain, [units] * 3, samples=40_000)
    # A standard deviation from 40 000 draws is known to 0.35 %.
    assert ensemble[:, 0].std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("name", "share"), [("tanh", 1.0), ("gelu", 1.0), ("elu", 0.6)])
def test_the_gradient_along_the_pre_activations_follows_its_moments(name, share):
    """y = z minus bias: E[yφφ′]²/(E[φ²]E[y²]E[φ′²]) is kept, E[y²φ′²]/(E[y²]E[φ′²]) in all."""
    act, q = activation(name), 1.3
    z, other = np.random.default_rng(0).standard_normal((2, 2_000_000)) * math.sqrt(q)
    y = share * z + math.sqrt(share * (1 - share)) * other
    value, slope = act(z), act.derivative(z)
    unit = share * q * np.mean(slope**2)
    kept = np.mean(y * value * slope) / np.sqrt(np.mean(value**2) * unit)
    in_all = np.mean((y * slope) ** 2) / unit
    found = _alignment_step(_interpolate(_table(act), np.array([math.log(q)])), np.array([share]))
    # Two million draws: 0.1 %; linear interpolation between the nodes: less.
    assert found[0][0] == pytest.approx(kept, rel=0.01)
    assert (found[0] ** 2 + found[1] ** 2)[0] == pytest.approx(in_all, rel=0.01)


@pytest.mark.parametrize("name", ["sigmoid", "relu", "elu", "softplus"])
def test_wide_ensembles_close_in_on_the_prediction(name):
    network = activation(name), [1.5, 1.2, 0.8, 2.0], [0.1, 0.0, 0.3, 0.2], 1.7
    widths = [10**8, 2 * 10**8, 10**8, 3 * 10**8]
    ensemble = predict_ensemble(*network, widths)
    predicted = predict(*network, widths).gradient_log10
    # 1/√width, and the linear interpolation between the nodes of ln q.
    np.testing.assert_allclose(ensemble, np.tile(predicted, (500, 1)), atol=2e-3)


def test_gelu_without_biases_scatters_more_than_with():
    spread = [
        predict_ensemble(activation("gelu"), [2.0] * 15, [b] * 15, 2.0, [128] * 15)[:, 0].std()
        for b in (0.0, 0.5)
    ]
    assert spread[0] > 2 * spread[1]


def test_an_ensemble_is_the_same_each_time_and_another_with_another_seed():
    def draw(seed):
        return predict_ensemble(activation("elu"), [1.0] * 4, [0.0] * 4, 1.0, [50] * 4, seed=seed)

    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert np.all(draw(3)[:, -1] == 0)


def test_networks_without_signal_or_weights_have_an_ensemble_too():
    silent = predict_ensemble(activation("sigmoid"), [1.0] * 3, [0.0] * 3, 0.0, [64] * 3)
    assert np.isfinite(silent).all()
    cut = predict_ensemble(activation("tanh"), [0.0] * 3, [0.0] * 3, 0.0, [64] * 3)
    assert np.all(cut[:, :2] == -np.inf)


@pytest.mark.parametrize(("option", "value"), [("samples", 0), ("seed", -1)])
def test_bad_draws_are_refused(option, value):
    with pytest.raises(GradflowError, match=option):
        predict_ensemble(activation("tanh"), [1.0], [0.0], 1.0, [8], **{option: value})
