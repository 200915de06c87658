"""The learning rate in use beside what the first gradient suggests: closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.first_rate import far_rate, suggested
from gradflow.findings import first_rate
from gradflow.findings.thresholds import (
    FAR_ABOVE_ADAM,
    FAR_ABOVE_SGD,
    FAR_BELOW_ADAM,
    FAR_BELOW_SGD,
)
from gradflow.results.diagnosis import DiagnosisResult, RateInUse

WEIGHTS, ENTRIES = 12.0, 10_000
#: √(3² + 4² + 12²): of a weight, a bias, and a weight.
GRADIENT = 13.0
ADAM = first_rate.SCALED / 100
PLAIN = first_rate.DESCENT * WEIGHTS / 10 / 0.1 / GRADIENT


def used(
    rate: float = 1.0,
    optimizer: str | None = None,
    momentum: float | None = None,
    sizes: tuple[float, int] | None = (WEIGHTS, ENTRIES),
    **given: Any,
) -> tuple[DiagnosisResult, RateInUse]:
    """Return a network that is trained at a rate."""
    rows = ({"gradient_norm": 3.0, "bias_gradient_norm": 4.0}, {"gradient_norm": 12.0}, {})
    in_use = RateInUse(rate, optimizer, momentum)
    return network(*rows, used=in_use, sizes=sizes, **given), in_use


def rates(*given: Any, **named: Any) -> dict[str, float]:
    """Return the rate that is suggested for each kind of optimizer."""
    return {found.optimizer: found.rate for found in suggested(*used(*given, **named))}


@pytest.mark.parametrize(
    ("optimizer", "momentum", "expected"),
    [
        ("sgd", 0.0, {"SGD": PLAIN}),
        ("sgd", 0.9, {"SGD": PLAIN / 10}),
        ("SGD", 0.5, {"SGD": PLAIN / 2}),
        ("sgd", None, {"SGD": PLAIN / math.sqrt(10)}),
        ("AdamW", None, {"Adam": ADAM}),
        ("rmsprop", None, {}),
        (None, 0.0, {"SGD": PLAIN, "Adam": ADAM}),
        ("unheard-of", 0.0, {"SGD": PLAIN}),
    ],
)
def test_each_kind_of_optimizer_has_its_own_rate(
    optimizer: str | None, momentum: float | None, expected: dict[str, float]
) -> None:
    assert rates(1.0, optimizer, momentum) == pytest.approx(expected)


def test_without_sizes_nothing_is_suggested_and_without_entries_nothing_for_adam() -> None:
    assert rates(sizes=None) == {}
    assert rates(1.0, "adam", sizes=(0.0, 0)) == {}


def test_a_small_network_is_not_moved_by_more_than_the_largest_step() -> None:
    assert rates(1.0, "adam", sizes=(1.0, 4)) == {"Adam": first_rate.LARGEST_STEP}


def test_a_loss_that_is_scaled_scales_the_rate_back() -> None:
    assert rates(1.0, "sgd", 0.0, given_scale=10.0) == pytest.approx({"SGD": PLAIN / 10})


@pytest.mark.parametrize("row", [{}, {"gradient_norm": 0.0, "bias_gradient_norm": 0.0}])
def test_without_a_gradient_no_descent(row: dict[str, Any]) -> None:
    in_use = RateInUse(1.0, "sgd", 0.0)
    assert suggested(network(row, sizes=(1.0, 4)), in_use) == []


@pytest.mark.parametrize(
    ("optimizer", "momentum", "low", "high"),
    [
        ("adam", None, ADAM / FAR_BELOW_ADAM, ADAM * FAR_ABOVE_ADAM),
        ("sgd", 0.0, PLAIN / FAR_BELOW_SGD, PLAIN * FAR_ABOVE_SGD),
        # Momenta that are usual stand between, where it is not known.
        ("sgd", None, PLAIN / 10 / FAR_BELOW_SGD, PLAIN * FAR_ABOVE_SGD),
        (
            None,
            0.0,
            min(ADAM / FAR_BELOW_ADAM, PLAIN / FAR_BELOW_SGD),
            max(ADAM * FAR_ABOVE_ADAM, PLAIN * FAR_ABOVE_SGD),
        ),
    ],
)
def test_a_rate_is_far_off_beyond_the_bounds_of_all_that_it_may_be(
    optimizer: str | None, momentum: float | None, low: float, high: float
) -> None:
    for rate, said in ((1.01 * low, 0), (0.99 * low, 1), (0.99 * high, 0), (1.01 * high, 1)):
        assert len(list(far_rate(used(rate, optimizer, momentum)[0]))) == said


def test_the_bounds_themselves_are_not_far_off() -> None:
    (one,) = suggested(*used(1.0, "adam"))
    for rate in (one.below, one.above):
        assert not list(far_rate(used(rate, "adam")[0]))


def test_the_nearest_of_two_is_named_with_its_distance() -> None:
    assert ADAM < PLAIN
    (below,) = far_rate(used(ADAM / 1000, None, 0.0)[0])
    assert "1,000 times below the 0.0075 that the first gradient suggests for Adam" in below.message
    assert below.advice.startswith("a learning rate near 0.007;") or "0.008;" in below.advice
    (above,) = far_rate(used(PLAIN * 1000, None, 0.0)[0])
    assert "1,000 times above" in above.message
    assert "for SGD" in above.message


def test_a_rate_is_compared_where_one_is_in_use() -> None:
    result, _ = used(1e9, "adam")
    assert list(far_rate(result))
    assert not list(far_rate(network({}, sizes=(WEIGHTS, ENTRIES))))
    assert not list(far_rate(used(1e9, "adam", sizes=None)[0]))
