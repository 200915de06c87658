"""The factor per layer: robust, within one role, and no further than its layers reach."""

from __future__ import annotations

import numpy as np
import pytest

from gradflow.arrays import Floats
from gradflow.measurement.rates import fit_rates, rate_span


def line(slope: float, count: int = 12) -> list[Floats | None]:
    return [np.array([slope * index]) for index in range(count)]


def blocks(count: int, parts: str = "qkvo") -> list[str]:
    return [f"layers.{block}.{part}" for block in range(count) for part in parts]


def test_zeros_and_layers_without_delta_are_left_out() -> None:
    deltas = line(0.5)
    deltas[3], deltas[7] = np.array([-np.inf]), None
    assert fit_rates(deltas) == pytest.approx(10**-0.5)


def test_a_quarter_of_the_layers_far_off_does_not_tilt_it() -> None:
    deltas = line(0.1)
    deltas[9], deltas[10], deltas[11] = (np.array([-8.0]) for _ in range(3))
    assert fit_rates(deltas)[0] == pytest.approx(10**-0.1, rel=0.1)


def test_every_replica_has_a_rate_of_its_own_and_a_dead_one_has_none() -> None:
    deltas = [np.array([0.1 * i, -0.2 * i, -np.inf]) for i in range(6)]
    np.testing.assert_allclose(fit_rates(deltas), [10**-0.1, 10**0.2])
    assert fit_rates([np.array([-np.inf])] * 4) is None
    assert fit_rates([np.array([1.0])]) is None


def test_many_layers_and_few_agree() -> None:
    rng = np.random.default_rng(0)
    deltas = [np.array([-0.03 * i]) + 0.1 * rng.standard_normal(1) for i in range(300)]
    assert fit_rates(deltas)[0] == pytest.approx(10**0.03, rel=2e-3)


def test_roles_differ_in_level_not_in_slope() -> None:
    names, level = blocks(6), {"q": -4.0, "k": -5.0, "v": 0.0, "o": 1.0}
    deltas = [np.array([level[name[-1]] - 0.01 * i]) for i, name in enumerate(names)]
    assert fit_rates(deltas, names)[0] == pytest.approx(10**0.01)


@pytest.mark.parametrize(
    ("names", "reach"),
    [
        ([f"hidden{i}" for i in range(10)], 10),
        (["features.0", "features.3", "features.6", "classifier.1", "classifier.4"], 5),
        (blocks(12), 48),
        (blocks(2), 5),  # single pairs, each four layers apart
        (["first", "second", "third"], 3),
    ],
)
def test_a_rate_reaches_as_far_as_layers_of_one_role(names: list[str], reach: int) -> None:
    assert rate_span(line(0.1, len(names)), names) == reach


def test_layers_without_delta_do_not_reach() -> None:
    deltas = line(0.1, 6)
    deltas[0], deltas[5] = None, np.array([-np.inf])
    assert rate_span(deltas) == 4
    assert rate_span([None]) == 0
