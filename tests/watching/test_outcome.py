"""Whether a run learnt, of curves of every kind."""

from __future__ import annotations

import dataclasses
import math

import pytest

from gradflow.results.base import Finding
from gradflow.results.facts import BatchFacts, CriterionFacts
from gradflow.results.watching import WatchFacts, WatchResult, WatchStepRow
from gradflow.watching.outcome import constant_loss, curve, outcome, outcome_of, tempered


def falling(to: float, steps: int = 100, noise: float = 0.0) -> list[float]:
    return [
        to + (1 - to) * math.exp(-i / 15) + noise * math.sin(12.9898 * i * i) for i in range(steps)
    ]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (falling(0.05), "learnt"),
        (falling(0.3, noise=0.1), "learnt"),
        (falling(0.85), "unknown"),
        ([1.0] * 100, "not"),
        ([1.0 + 0.1 * math.sin(i * i) for i in range(100)], "not"),
        (falling(0.05)[::-1], "not"),
        ([-x for x in falling(0.05)], "unknown"),
    ],
)
def test_the_outcome_of_a_curve(losses: list[float], expected: str) -> None:
    found = curve(losses)
    assert found is not None
    assert outcome_of(found, None) == expected


def test_what_falls_to_a_constant_prediction_has_not_learnt() -> None:
    found = curve([5 * x for x in falling(0.2)])
    assert found is not None
    assert outcome_of(found, None) == "learnt"
    assert outcome_of(found, 1.0) == "not"


def test_a_few_huge_losses_at_the_end_are_seen() -> None:
    found = curve([1.0] * 10 + [0.0] * 80 + [0.0] * 6 + [30.0] * 4)
    assert found is not None
    assert found.last == 0.0
    assert outcome_of(found, None) != "learnt"


def test_a_first_step_that_throws_the_loss_up_is_no_start() -> None:
    found = curve([1.0, *(50.0 - i * 0.1 for i in range(99))])
    assert found is not None
    assert found.first == 1.0


@pytest.mark.parametrize("losses", [[], [1.0, 0.5], [1.0] * 9 + [math.nan], [None] * 20])
def test_nothing_is_known_of_few_losses_or_lost_ones(losses: list[float | None]) -> None:
    assert curve(losses) is None


def run(losses: list[float], batch: BatchFacts | None = None) -> WatchResult:
    steps = tuple(WatchStepRow(i + 1, 1.0, 1.0, False, x, 0.1) for i, x in enumerate(losses))
    return WatchResult(records=(), steps=steps, facts=WatchFacts(batch=batch))


def classes(loss: float, examples: int = 64) -> BatchFacts:
    criterion = CriterionFacts("cross-entropy", first_loss=1.2, constant_loss=1.1)
    return BatchFacts(examples=examples, loss=loss, criteria=(criterion,))


def rare(examples: int = 200, classes: int = 2, scale: float = 1.0) -> BatchFacts:
    """One example in ten is of the other class."""
    entropy = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    criterion = CriterionFacts(
        "cross-entropy",
        first_loss=0.7,
        constant_loss=math.log(2),
        classes=classes,
        labels=2,
        label_entropy=entropy,
        label_entropy_error=0.01,
    )
    return BatchFacts(examples=examples, loss=scale * 0.7, criteria=(criterion,))


def test_a_run_that_learns_how_often_a_class_is_has_learnt_nothing() -> None:
    only_the_shares = [0.7, 0.5, 0.4, *[0.34] * 60]
    assert constant_loss(run(only_the_shares, rare())) == pytest.approx(0.3476, abs=1e-4)
    assert outcome(run(only_the_shares, rare())) == "not"
    assert outcome(run([*only_the_shares, *[0.1] * 60], rare())) == "learnt"


@pytest.mark.parametrize("batch", [rare(20, classes=10), rare(scale=1.4)])
def test_classes_count_alike_in_a_small_batch_and_where_they_have_weights(
    batch: BatchFacts,
) -> None:
    found = constant_loss(run([batch.loss or 0.0] * 9, batch))
    assert found == pytest.approx(math.log(2) * (batch.loss or 0.0) / 0.7)


def test_the_loss_of_a_constant_prediction_is_put_in_the_units_of_the_run() -> None:
    assert constant_loss(run([1.2] * 9, classes(1.2))) == pytest.approx(1.1)
    assert constant_loss(run([76.8] * 9, classes(64 * 1.2))) == pytest.approx(64 * 1.1)  # a sum
    assert constant_loss(run([1.2] * 9, classes(0.3))) == pytest.approx(1.1)  # four in a step
    assert constant_loss(run([1.2] * 9, classes(1.2, examples=2))) is None
    assert constant_loss(run([1.2] * 9)) is None


def test_a_prediction_is_a_warning_where_the_run_has_learnt() -> None:
    said = [Finding("vanishing", "error", (), "", ""), Finding("broken", "error", (), "", "")]
    learnt, stayed = run(falling(0.05)), run([1.0] * 100)
    assert outcome(learnt) == "learnt"
    assert [f.severity for f in tempered(said, learnt)] == ["warning", "error"]
    assert [f.severity for f in tempered(said, stayed)] == ["error", "error"]
    huge = dataclasses.replace(said[0], code="exploding")
    assert [f.severity for f in tempered([huge], learnt)] == [
        "error"
    ]  # it only fell from far above
