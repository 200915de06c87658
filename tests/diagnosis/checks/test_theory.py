"""Checks against theory, at the bounds that theory gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import theory
from gradflow.diagnosis.checks.theory import bounded, noisy, self_normalising
from gradflow.findings.thresholds import (
    ONE_SEED,
    SELU_LARGEST_VARIANCE,
    SELU_LEAST_VARIANCE,
    SELU_MEAN,
)
from gradflow.results.base import RunMeta

ROW: dict[str, Any] = {}


def units(mean: float | None = 0.0, variance: float | None = 1.0) -> dict[str, Any]:
    """Return a layer of such activations."""
    return {"activation_mean": mean, "activation_variance": variance}


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (units(), True),
        (units(None), True),
        (units(SELU_MEAN), True),
        (units(-SELU_MEAN), True),
        (units(1.01 * SELU_MEAN), False),
        (units(-1.01 * SELU_MEAN), False),
        (units(0.0, SELU_LEAST_VARIANCE), True),
        (units(0.0, 0.99 * SELU_LEAST_VARIANCE), False),
        (units(0.0, SELU_LARGEST_VARIANCE), True),
        (units(0.0, 1.01 * SELU_LARGEST_VARIANCE), False),
        (units(0.0, None), False),
    ],
)
def test_selu_normalises_itself_within_bounds(row: dict[str, Any], holds: bool) -> None:
    (found,) = self_normalising(network(units(), row, ROW, activation="selu"))
    assert found.layers == (() if holds else (2,))
    assert ("holds" in found.message) is holds


def test_other_activations_promise_nothing() -> None:
    assert not list(self_normalising(network(units(9.0), ROW, activation="relu")))


@pytest.mark.parametrize(
    ("bound", "rate", "words"),
    [
        (0.99, 0.5, "is 0.99, below 1, so the gradient has to vanish"),
        (1.0, 0.5, "is 1, not below 1"),
        (None, 0.5, None),
        (0.5, None, None),
    ],
)
def test_pascanus_bound_is_said_beside_the_rate(
    bound: float | None, rate: float | None, words: str | None
) -> None:
    found = list(bounded(network(ROW, ROW, rate=rate, rate_bound=bound)))
    assert [words in one.message for one in found if words] == ([] if words is None else [True])
    assert len(found) == (words is not None)


#: The width at which so many layers scatter by just the bound.
AT_THE_BOUND = 5 / math.expm1(ONE_SEED / 4)


@pytest.mark.parametrize(
    ("width", "seeds", "said"),
    [
        (math.floor(AT_THE_BOUND), (0,), True),
        (math.ceil(AT_THE_BOUND), (0,), False),
        (4, (0, 1), False),
        (4, (), False),
        (None, (0,), False),
    ],
)
def test_one_seed_says_little_of_a_deep_narrow_network(
    width: int | None, seeds: tuple[int, ...], said: bool
) -> None:
    result = network(*[ROW] * 5, width=width, meta=RunMeta(seeds=seeds))
    assert len(list(noisy(result))) == said


def test_the_scatter_is_that_of_hanin_and_nica() -> None:
    (found,) = noisy(network(*[ROW] * 9, width=5, meta=RunMeta(seeds=(3,))))
    assert "8 layers of 5 units" in found.message
    assert f"e^{math.sqrt(8 * math.log(2)):.1f}" in found.message


def test_one_seed_is_said_from_the_bound_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "ONE_SEED", 4 * math.log1p(5 / 10))
    assert list(noisy(network(*[ROW] * 5, width=10, meta=RunMeta(seeds=(0,)))))
