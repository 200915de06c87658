"""The factor per layer: robust, within one role, and no further than its layers reach."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradflow.arrays import Floats
from gradflow.measurement.rates import (
    fit_rates,
    interval,
    median,
    quantile,
    quantiles,
    rate_span,
)


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


def theil_sen(values: list[float], names: list[str] | None = None, apart: int = 0) -> float:
    """Return the factor by the median over pairs of one role; `apart`: those so far apart alone."""
    numbered = list(enumerate(values))
    slopes = [
        (high - low) / (j - i)
        for (i, low), (j, high) in itertools.combinations(numbered, 2)
        if (names is None or names[i][-1] == names[j][-1])
        and (j - i == apart or not apart)
        and math.isfinite(high - low)
    ]
    return float(10 ** -np.median(slopes))


@pytest.mark.parametrize(
    ("count", "apart"), [(2, 0), (3, 0), (4, 0), (5, 0), (64, 0), (65, 32), (66, 33), (67, 33)]
)
def test_the_slope_is_the_median_over_all_pairs_and_of_many_layers_over_those_far_apart(
    count: int, apart: int
) -> None:
    values = np.random.default_rng(count).standard_normal(count).cumsum()
    found = fit_rates([np.array([value]) for value in values])
    assert found == pytest.approx(theil_sen(values.tolist(), apart=apart), rel=1e-12)


def test_pairs_of_several_roles_and_replicas_are_as_by_hand() -> None:
    names, rng = blocks(4), np.random.default_rng(1)
    values = rng.standard_normal((len(names), 3))
    values[2, 1] = values[5, 1] = -np.inf
    found = fit_rates(list(values), names)
    assert found is not None
    expected = [theil_sen(column.tolist(), names) for column in values.T]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_layers_keep_their_places_where_some_are_not_known() -> None:
    deltas = [None, np.array([1.0]), None, None, np.array([4.0])]
    assert fit_rates(deltas) == pytest.approx(0.1)
    assert fit_rates([None, np.array([1.0])]) is None
    assert fit_rates(deltas, [f"x{i}" for i in range(5)]) == pytest.approx(0.1)


def role(places: str) -> list[str]:
    """Return layers whose letter is their role."""
    return [f"{letter}.{index}" for index, letter in enumerate(places)]


@pytest.mark.parametrize(
    ("places", "reach"),
    [
        ("aaabbb", 6),
        ("aaaxbbb", 6),  # what is between belongs to neither
        ("aabaabb", 7),
        ("ababab", 6),
        ("abbba", 5),  # one within the other
        ("aabb", 2),  # single pairs
        ("abab", 3),
        ("aabba", 5),
        ("aaabb", 5),
        ("abcabcabc", 9),
        ("aaaaxxbbbcyzccc", 15),
        ("aa", 2),
        ("a", 0),
        ("ab", 2),
        ("abbbbacc", 6),
        ("xabbbab", 6),
        ("xbaaabbb", 7),
    ],
)
def test_roles_that_follow_each_other_reach_as_far_together(places: str, reach: int) -> None:
    assert rate_span(line(0.1, len(places)), role(places)) == reach


NONE = -math.inf


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.9, 3.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([1.0, 2.0, 4.0, 8.0], 0.25, 1.75),
        ([NONE, 1.0, 2.0, 4.0], 0.5, 1.0),
        ([NONE, NONE, 2.0], 0.5, NONE),
        ([NONE], 0.5, NONE),
    ],
)
def test_a_quantile_has_arithmetic_where_all_is_finite(
    values: list[float], share: float, expected: float
) -> None:
    assert quantile(np.array(values), share) == expected
    given = [None, np.array(values), np.arange(float(len(values))), None]
    found = quantiles(given, share)
    assert found[1] == expected
    assert found[0] is found[3] is None
    assert found[2] == pytest.approx(share * (len(values) - 1))


def test_medians_and_quantiles_of_nothing_are_nothing() -> None:
    assert median(None) is None
    assert median(np.array([1.0, 9.0, 2.0])) == 2.0
    assert quantiles([None, None], 0.5) == [None, None]
    assert quantiles([None, np.array([1.0, 2.0])], 0.5) == [None, 1.5]
    assert quantiles([np.array([NONE, 1.0])] * 2, 0.5) == [NONE, NONE]


@pytest.mark.parametrize("rates", [[0.1, 1.0], [1.0, 10.0, 100.0], [0.5, 0.6, 0.7, 0.9]])
def test_the_interval_is_students(rates: list[float]) -> None:
    logs = np.log10(rates)
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    found = interval(np.array(rates))
    assert found == pytest.approx((10 ** logs.mean(), 10**low, 10**high), rel=1e-9)


def test_one_seed_has_no_interval() -> None:
    assert interval(None) == (None, None, None)
    assert interval(np.array([0.25])) == (pytest.approx(0.25), None, None)


@pytest.mark.parametrize("replicas", [2, 3, 5, 8])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_many_rows_at_once_have_numpys_quantiles(replicas: int, share: float) -> None:
    rng = np.random.default_rng(replicas)
    rows = rng.standard_normal((40, replicas)) * 10.0 ** rng.integers(-200, 200, (40, 1))
    rows[::5, 0], rows[1::9, -1], rows[2::13, -1] = -np.inf, np.inf, np.nan
    assert np.array_equal(
        quantiles(list(rows), share), [quantile(row, share) for row in rows], equal_nan=True
    )
