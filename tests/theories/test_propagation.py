"""Predictions layer by layer, against random networks that were really drawn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_networks import drawn

from gradflow.activations import ACTIVATIONS, activation
from gradflow.errors import GradflowError
from gradflow.theories.meanfield import chi, length_map
from gradflow.theories.propagation import predict

biases = st.just(0.0) | st.floats(1e-3, 1)

SETTINGS = [
    ("sigmoid", 1 / 3, 0.01),
    ("tanh", 1.5, 0.05),
    ("relu", 2.0, 0.1),
    ("leaky-relu", 1.8, 0.0),
    ("elu", 1.5, 0.1),
    ("selu", 1.0, 0.0),
    ("gelu", 2.0, 0.2),
    ("softplus", 1.0, 0.0),
]


@pytest.mark.parametrize(("name", "weight_variance", "bias_variance"), SETTINGS)
def test_wide_random_networks_do_as_predicted(name, weight_variance, bias_variance):
    act, layers, networks, width = activation(name), 6, 40, 256
    lengths, deltas = drawn(act, weight_variance, bias_variance, [width] * layers, networks)
    found = predict(
        act, [weight_variance] * layers, [bias_variance] * layers, weight_variance + bias_variance
    )
    backward = deltas / deltas[:, -1:]
    for measured, predicted in ((lengths, found.q), (backward, 10 ** (2 * found.gradient_log10))):
        error = measured.std(axis=0) / math.sqrt(networks)
        # Four standard errors, and layers/width for what is of order 1/width in the mean.
        allowed = 4 * error + layers / width * predicted
        assert np.all(np.abs(measured.mean(axis=0) - predicted) <= allowed)


def test_unequal_widths_enter_as_their_ratio():
    act, widths = activation("tanh"), [300, 600, 150, 400]
    _, deltas = drawn(act, 1.5, 0.1, widths, 60)
    found = predict(act, [1.5] * 4, [0.1] * 4, 1.6, widths)
    backward = deltas / deltas[:, -1:]
    error = backward.std(axis=0) / math.sqrt(60)
    predicted = 10 ** (2 * found.gradient_log10)
    assert np.all(np.abs(backward.mean(axis=0) - predicted) <= 4 * error + 0.02 * predicted)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(ACTIVATIONS)),
    st.lists(st.tuples(st.floats(0.1, 4), st.floats(0.01, 2)), min_size=2, max_size=6),
    st.floats(0.1, 10),
)
def test_layers_of_their_own_variances_follow_the_maps(name, layers, q1):
    act = activation(name)
    weights, biases = (list(v) for v in zip(*layers, strict=True))
    found = predict(act, weights, biases, q1)
    assert found.q[0] == pytest.approx(q1, rel=1e-14)
    for layer in range(len(layers) - 1):
        here, above = found.q[layer], layers[layer + 1]
        assert found.q[layer + 1] == pytest.approx(float(length_map(act, here, *above)), rel=1e-12)
        assert found.chi[layer] == pytest.approx(float(chi(act, here, above[0])), rel=1e-12)
        step = found.gradient_log10[layer] - found.gradient_log10[layer + 1]
        assert step == pytest.approx(0.5 * math.log10(found.chi[layer]), abs=1e-12)
    assert found.gradient_log10[-1] == 0


@settings(deadline=None)
@given(st.sampled_from(sorted(ACTIVATIONS)), st.floats(0.3, 3), biases, st.floats(0.1, 9))
def test_amplification_is_the_slope_of_the_length_map_in_logarithms(name, weight, bias, q):
    act, step = activation(name), 1e-4
    low, high = (float(length_map(act, q * math.exp(s), weight, bias)) for s in (-step, step))
    found = predict(act, [weight], [bias], q).amplification[0]
    assert found == pytest.approx(math.log(high / low) / (2 * step), abs=1e-6)  # step² · f‴


def test_gelu_without_biases_amplifies_fluctuations_and_tanh_damps_them():
    amplified = predict(activation("gelu"), [2.0] * 10, [0.0] * 10, 2.0).amplification
    damped = predict(activation("tanh"), [2.0] * 10, [0.0] * 10, 2.0).amplification
    assert np.all(amplified > 1)
    assert np.all(damped < 1)


@pytest.mark.parametrize(
    ("name", "weight_variance", "per_layer"),
    [
        ("relu", 100.0, math.log10(50) / 2),
        ("relu", 1e-3, math.log10(5e-4) / 2),
        ("silu", 8.0, None),
    ],
)
def test_nothing_under_or_overflows_at_depth_3000(name, weight_variance, per_layer):
    found = predict(activation(name), [weight_variance] * 3000, [0.0] * 3000, weight_variance)
    assert np.isfinite(found.gradient_log10).all()
    assert np.isfinite(found.chi).all()
    limit = math.log10(weight_variance / 2) / 2 if per_layer is None else per_layer
    last = found.gradient_log10[-2]
    assert last == pytest.approx(limit, rel=1e-9)
    # Rounding adds up over 3000 layers, to less than 1e-10.
    if per_layer is not None:
        assert found.gradient_log10[0] == pytest.approx(2999 * per_layer, rel=1e-10)


def test_without_weights_nothing_comes_back():
    found = predict(activation("tanh"), [0.0] * 3, [0.0] * 3, 0.0)
    assert found.gradient_log10.tolist() == [-math.inf, -math.inf, 0.0]
    assert found.q.tolist() == [0, 0, 0]
    assert found.amplification.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("weights", "biases", "q1", "widths", "message"),
    [
        ([1.0, 1.0], [0.0], 1.0, None, "every layer"),
        ([], [], 1.0, None, "every layer"),
        ([1.0], [0.0], 1.0, [3, 4], "every layer"),
        ([1.0], [0.0], -1.0, None, "q1"),
        ([math.nan], [0.0], 1.0, None, "variance"),
        ([1.0], [math.inf], 1.0, None, "variance"),
        ([1.0], [0.0], 1.0, [0], "width"),
    ],
)
def test_what_describes_no_network_is_refused(weights, biases, q1, widths, message):
    with pytest.raises(GradflowError, match=message):
        predict(activation("tanh"), weights, biases, q1, widths)
