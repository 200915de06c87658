"""The first loss beside a constant prediction's, from results made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import loss
from gradflow.diagnosis.checks.loss import agreement, first_loss
from gradflow.findings.thresholds import (
    AGREE,
    DISAGREEING_LOSS,
    DROWNED_LOSS,
    ENDLESS_LOSS,
    ENOUGH_EXAMPLES,
    HOPELESS_LOSS,
)
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.facts import BatchFacts, CriterionFacts, FirstLayerFacts

ENOUGH = int(ENOUGH_EXAMPLES)


def measured(
    rms: float | None = 0.5,
    log_delta: float | None = 0.0,
    offset: float | None = 1.0,
    spread: float | None = 0.0,
    examples: int | None = ENOUGH,
    **batch: Any,
) -> DiagnosisResult:
    """Return a network whose first layer, by name, is the second row."""
    first = FirstLayerFacts("l2", input_offset=offset, input_spread=spread)
    row = {"gradient_rms": rms, "delta_log10_rms": log_delta}
    return network(
        {"gradient_rms": 77.0, "delta_log10_rms": 7.0},
        row,
        examples=examples,
        batch=BatchFacts(**{"first_layer": first} | batch),
    )


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, (0.25 - 1 / ENOUGH) / (1 - 1 / ENOUGH)),
        ({"rms": 1.0}, 1.0),
        ({"rms": 0.25}, 0.0),
        ({"rms": 0.0}, -1 / (ENOUGH - 1)),
        ({"rms": 50.0, "log_delta": 1.0, "offset": 3.0, "spread": 4.0}, 1.0),
        ({"rms": 3.0, "offset": 3.0, "spread": None}, 1.0),
        ({"rms": 5.0, "offset": 3.0, "spread": 4.0, "examples": 100}, 1.0),
        ({"rms": 0.5, "examples": 100}, (0.25 - 0.01) / 0.99),
    ],
)
def test_agreement_is_1_for_equal_gradients_and_0_for_what_chance_leaves(
    given: dict[str, Any], share: float
) -> None:
    assert agreement(measured(**given)) == pytest.approx(share)


@pytest.mark.parametrize(
    "given",
    [
        {"examples": ENOUGH - 1},
        {"examples": None},
        {"rms": None},
        {"rms": math.inf},
        {"log_delta": None},
        {"offset": None},
        {"offset": 0.0},
        {"log_delta": -math.inf},
        {"log_delta": math.inf},
        {"first_layer": None},
        {"first_layer": FirstLayerFacts("another", input_offset=1.0, input_spread=0.0)},
    ],
)
def test_agreement_is_not_known_without_one_of_its_parts(given: dict[str, Any]) -> None:
    assert agreement(measured(**given)) is None


def classes(times: float) -> dict[str, Any]:
    """Return a criterion whose first loss is so many times a constant prediction's."""
    one = CriterionFacts("cross-entropy", sign=1, first_loss=2.0 * times, constant_loss=2.0)
    return {"criteria": (one,)}


#: Root mean square of a gradient of which the examples share just so much.
AGREED = math.sqrt(AGREE * (1 - 1 / ENOUGH) + 1 / ENOUGH)


@pytest.mark.parametrize(
    ("times", "rms", "severity"),
    [
        (HOPELESS_LOSS, 1.0, "error"),
        (HOPELESS_LOSS - 1, 1.0, "warning"),
        (HOPELESS_LOSS - 1, None, "warning"),
        (HOPELESS_LOSS, None, "error"),
        (DISAGREEING_LOSS, AGREED * 0.999, "error"),
        (DISAGREEING_LOSS, AGREED * 1.001, "warning"),
        (DISAGREEING_LOSS - 1, AGREED * 0.999, "warning"),
    ],
)
def test_examples_that_do_not_agree_make_a_large_loss_an_error(
    times: float, rms: float | None, severity: str
) -> None:
    (found,) = first_loss(measured(rms=rms, **classes(times)))
    assert found.severity == severity
    said = severity == "error" and times == DISAGREEING_LOSS
    assert ("do not agree" in found.message) == said


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.03, "common is 3.0% of"), (0.0, "0.0% of"), (-0.01, "common is 0.0% of")],
)
def test_what_gradients_have_in_common_is_named(share: float, words: str) -> None:
    rms = math.sqrt(share * (1 - 1 / ENOUGH) + 1 / ENOUGH)
    (found,) = first_loss(measured(rms=rms, **classes(100.0)))
    assert words in found.message


@pytest.mark.parametrize(
    ("size", "known", "said"),
    [
        (ENDLESS_LOSS, (), True),
        (-ENDLESS_LOSS, (), True),
        (ENDLESS_LOSS / 1.01, (), False),
        (math.inf, (), False),
        (math.nan, (), False),
        (None, (), False),
        (ENDLESS_LOSS, (DROWNED_LOSS * ENDLESS_LOSS,), False),
        (ENDLESS_LOSS, (0.99 * DROWNED_LOSS * ENDLESS_LOSS,), True),
        (ENDLESS_LOSS, (-DROWNED_LOSS * ENDLESS_LOSS,), False),
        (ENDLESS_LOSS, (0.6 * DROWNED_LOSS * ENDLESS_LOSS,) * 2, False),
        (ENDLESS_LOSS, (None, 1.0), True),
    ],
)
def test_an_endless_loss_drowns_what_is_to_be_learnt(
    size: float | None, known: tuple[float | None, ...], said: bool
) -> None:
    criteria = tuple(CriterionFacts("mse", first_loss=one) for one in known)
    found = list(first_loss(measured(loss=size, criteria=criteria)))
    assert [one.severity for one in found] == (["error"] if said else [])
    assert all(("known part" in one.message) == bool(known) for one in found)


def test_examples_agree_from_the_bound_on(monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(rms=0.3, **classes(100.0))
    monkeypatch.setattr(loss, "AGREE", agreement(result))
    assert [found.severity for found in first_loss(result)] == ["warning"]
