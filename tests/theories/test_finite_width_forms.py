"""The scatter of finite networks: each step in closed form, and ReLU's recursion by scalars."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradflow.activations import activation
from gradflow.theories.finite_width import (
    _alignment_step,
    _At,
    _backward_factor,
    _forward,
    _interpolate,
    _ln_forward_factor,
    _table,
    predict_ensemble,
)
from gradflow.theories.quadrature import LN_LIMIT


def at(**given: float) -> _At:
    """Return ReLU's moments at one q, but for `given`."""
    known = {"ln_gain": math.log(0.5), "ln_slope": math.log(0.5), "gain_power": 1.0}
    known |= {"slope_power": 0.0, "length": 5.0, "slope": 5.0, "covariance": 1.0}
    return _At(**{name: np.array([value]) for name, value in (known | given).items()})


def test_between_nodes_it_is_linear_and_beyond_them_constant() -> None:
    grid = np.array([0.0, 1.0, 3.0])
    table = grid, np.array([[1.0, 3.0, 4.0]] + [[0.0, 0.0, 2.0]] * 6)
    found = _interpolate(table, np.array([-9.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0]))
    assert found.ln_gain.tolist() == [1.0, 1.0, 1.5, 3.0, 3.5, 4.0, 4.0]
    assert found.covariance.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize(("length", "units"), [(5.0, 10.0), (2.0, 100.0), (-1.0, 3.0)])
def test_the_forward_factor_is_log_normal_of_mean_1(length: float, units: float) -> None:
    variance = math.log1p(max(length, 0.0) / units)
    for normal in (0.0, 1.0, -2.0):
        found = _ln_forward_factor(at(length=length), units, np.array([normal]))
        assert found[0] == pytest.approx(math.sqrt(variance) * normal - variance / 2)


@pytest.mark.parametrize(
    ("given", "common"),
    [
        ({}, math.nan),
        ({"covariance": 0.0}, 0.0),
        ({"covariance": 1e9}, 1.0),
        ({"covariance": -1e9}, -1.0),
        ({"length": 0.0}, 0.0),
    ],
)
def test_the_backward_factor_shares_its_noise_with_the_forward_one(
    given: dict[str, float], common: float
) -> None:
    units, normal = 20.0, 0.7
    variance = math.log1p(5 / units)
    if math.isnan(common):
        common = (1 / units) / variance  # both variances are alike
    own = math.sqrt(1 - common**2) * np.random.default_rng(1).standard_normal(1)[0]
    found = _backward_factor(at(**given), units, np.array([normal]), np.random.default_rng(1))
    expected = math.exp(math.sqrt(variance) * (common * normal + own) - variance / 2)
    assert found[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "share", "kept", "added"),
    [
        ({}, 1.0, 1.0, 0.0),
        ({}, 0.36, 0.6, 0.8),
        ({"gain_power": 0.5}, 1.0, 0.5, math.sqrt(0.75)),
        ({"ln_gain": math.log(0.125)}, 1.0, 0.5, math.sqrt(0.75)),
        ({"slope_power": 0.5}, 0.5, math.sqrt(0.5), 1.0),
        ({"gain_power": 3.0}, 1.0, 3.0, 0.0),
    ],
)
def test_how_much_of_the_alignment_is_kept(
    given: dict[str, float], share: float, kept: float, added: float
) -> None:
    found = _alignment_step(at(**given), np.array([share]))
    assert [part[0] for part in found] == pytest.approx([kept, added], abs=1e-7)


def test_lengths_and_the_share_that_is_not_the_biases() -> None:
    weight, bias = np.log([[1.0], [4.0]])[:, 0], np.log([3.0, 2.0])
    table, normal = _table(activation("relu")), np.array([[0.5], [0.0]])
    ln_q, share = _forward(table, weight, bias, np.array([10.0, 10.0]), normal, math.log(3.0))
    variance = math.log1p(5 / 10)
    signal = 4.0 * 3.0 / 2 * math.exp(math.sqrt(variance) * 0.5 - variance / 2)
    assert np.exp(ln_q[:, 0]) == pytest.approx([3.0, signal + 2.0])
    assert share[:, 0] == pytest.approx([1.0, signal / (signal + 2.0)])
    ln_q, share = _forward(
        table, weight, np.full(2, -np.inf), np.array([9.0, 9.0]), normal, -np.inf
    )
    assert ln_q[0, 0] == -LN_LIMIT
    assert share[1, 0] == pytest.approx(1.0)


def test_relus_ensemble_is_its_recursion_by_scalars() -> None:
    """Moments of ReLU are 1/2, its noises 5, 5 and 1: everything else is draws in their order."""
    weights, biases, units, q1, seed = [9.0, 3.0, 2.0], [9.0, 0.5, 0.0], [40, 30, 20], 1.5, 11
    found = predict_ensemble(activation("relu"), weights, biases, q1, units, samples=1, seed=seed)
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((3, 1))[:, 0]
    scatter = [math.log1p(5 / n) for n in units]
    forward = [math.exp(math.sqrt(v) * z - v / 2) for v, z in zip(scatter, normal, strict=True)]
    q, share = [q1], [1.0]
    for layer in range(2):
        signal = weights[layer + 1] * q[-1] / 2 * forward[layer]
        q.append(signal + biases[layer + 1])
        share.append(signal / q[-1])
    rho, ln_delta = rng.standard_normal(1)[0], [0.0]
    for layer in (1, 0):
        n, v = units[layer], scatter[layer]
        common = min(1 / n / v, 1.0)
        noise = common * normal[layer] + math.sqrt(1 - common**2) * rng.standard_normal(1)[0]
        backward = math.exp(math.sqrt(v) * noise - v / 2)
        ratio = max(backward + 2 * (rho**2 - 1) / n, backward / 10)
        chi = weights[layer + 1] / 2 * units[layer + 1] / n
        ln_delta.append(ln_delta[-1] + math.log(chi * ratio))
        kept, added = math.sqrt(share[layer]), math.sqrt(1 - share[layer])
        rho = kept * math.sqrt(forward[layer]) * rho + added * rng.standard_normal(1)[0]
        rho /= math.sqrt(ratio)
    expected = [value / (2 * math.log(10)) for value in reversed(ln_delta)]
    np.testing.assert_allclose(found, [expected], rtol=1e-9)


def test_five_hundred_networks_are_drawn_from_seed_0() -> None:
    network = activation("relu"), [2.0] * 2, [0.0] * 2, 1.0, [8] * 2
    found = predict_ensemble(*network)
    assert found.shape == (500, 2)
    np.testing.assert_array_equal(found, predict_ensemble(*network, samples=500, seed=0))
