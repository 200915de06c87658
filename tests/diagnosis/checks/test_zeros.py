"""What is exactly 0 or not known, from results made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.zeros import no_gradient, one_example, unjudged
from gradflow.findings.thresholds import DEAD, NO_GRADIENT
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.facts import BatchFacts, CriterionFacts

NONE = -math.inf
FLOWS: dict[str, Any] = {"gradient_log10_norm": 0.0, "delta_log10_rms": 0.0}
STUCK: dict[str, Any] = {"gradient_log10_norm": NONE, "delta_log10_rms": NONE}
FED_0: dict[str, Any] = {"gradient_log10_norm": NONE, "delta_log10_rms": 0.0}
FROZEN: dict[str, Any] = {"delta_log10_rms": 0.0}


def said(result: DiagnosisResult) -> list[tuple[str, tuple[int, ...]]]:
    """Return the severity and the layers of what is said of gradients of 0."""
    return [(found.severity, found.layers) for found in no_gradient(result)]


@pytest.mark.parametrize(
    ("rows", "given", "words"),
    [
        ([FLOWS, FLOWS], {}, ""),
        ([FLOWS, FROZEN], {}, ""),
        ([{}, {}], {"unreached": (1,)}, ""),
        ([FROZEN, FROZEN], {}, "none of 2 layers is trained"),
        ([{"gradient_log10_norm": 0.0}, {}], {}, "read at none of 2 layers"),
        ([], {"hidden": 0}, "read at none of 0 layers"),
    ],
)
def test_a_verdict_needs_a_trained_layer_with_delta(
    rows: list[dict[str, Any]], given: dict[str, Any], words: str
) -> None:
    found = list(unjudged(network(*rows, **given)))
    assert len(found) == bool(words)
    assert all(words in one.message for one in found)


@pytest.mark.parametrize(
    ("examples", "batch_norm", "severity"),
    [(1, False, "info"), (1, True, "warning"), (2, True, None), (None, False, None)],
)
def test_one_example_is_said(examples: int | None, batch_norm: bool, severity: str | None) -> None:
    found = list(one_example(network(FLOWS, examples=examples, batch_norm=batch_norm)))
    assert [one.severity for one in found] == ([] if severity is None else [severity])


def test_half_of_the_hidden_layers_is_an_error_and_fewer_a_warning() -> None:
    assert NO_GRADIENT == 0.5
    assert said(network(STUCK, STUCK, FLOWS, FLOWS, FLOWS)) == [("error", (1, 2))]
    assert said(network(STUCK, FLOWS, FLOWS, FLOWS, FLOWS)) == [("warning", (1,))]
    assert said(network(STUCK, FROZEN, FROZEN, FLOWS, FLOWS)) == [("error", (1,))]
    assert said(network(FLOWS, FLOWS, FLOWS)) == []


def test_few_layers_that_are_fed_0_are_no_fault() -> None:
    assert said(network(FED_0, FLOWS, FLOWS, FLOWS)) == []
    assert said(network(FED_0, STUCK, FLOWS, FLOWS, FLOWS, FLOWS)) == [("warning", (2,))]
    assert said(network(FED_0, FLOWS, FLOWS)) == [("error", (1,))]


def test_an_output_alone_without_gradient_is_an_error() -> None:
    assert said(network(STUCK)) == [("error", (1,))]
    assert said(network(FROZEN, STUCK)) == [("error", (2,))]


def test_of_hidden_layers_and_an_output_the_hidden_ones_are_counted() -> None:
    assert said(network(FLOWS, FLOWS, FLOWS, STUCK)) == [("warning", (4,))]


def test_a_softmax_over_one_class_is_another_fault() -> None:
    batch = BatchFacts(criteria=(CriterionFacts("cross-entropy", classes=1),))
    assert said(network(STUCK, STUCK, batch=batch)) == []


@pytest.mark.parametrize(
    ("hidden", "last", "given", "explained"),
    [
        (DEAD, FLOWS, {}, True),
        (DEAD - 0.01, FLOWS, {}, False),
        (DEAD, STUCK, {}, False),
        (DEAD, FLOWS, {"zero_layers": (1,)}, False),
    ],
)
def test_dead_units_explain_a_gradient_of_0_that_the_output_has(
    hidden: float, last: dict[str, Any], given: dict[str, Any], explained: bool
) -> None:
    found = said(network(STUCK | {"dead_fraction": hidden}, last, **given))
    assert (found == []) is explained


def test_dead_units_of_the_output_explain_nothing() -> None:
    assert said(network(STUCK, FLOWS | {"dead_fraction": 1.0})) == [("error", (1,))]


def test_dead_units_that_one_step_wakes_explain_nothing() -> None:
    result = network(STUCK | {"dead_fraction": 1.0}, STUCK, FLOWS, started=(1,))
    assert said(result) == [("info", (1,)), ("error", (2,))]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "because biases start at 0"),
        (("a",), "because a starts at 0"),
        (("a", "b"), "because a, b start at 0"),
        (("a", "b", "c"), "because a, b, c start at 0"),
        (("a", "b", "c", "d"), "because a, b, c and others start at 0"),
    ],
)
def test_the_weights_that_start_at_0_are_named(names: tuple[str, ...], words: str) -> None:
    (found,) = no_gradient(network(STUCK, FLOWS, started=(1,), zero_weights=names))
    assert words in found.message
    assert (found.severity, found.layers) == ("info", (1,))


@pytest.mark.parametrize(
    ("rows", "reason", "advice"),
    [
        ([FED_0, FLOWS], "what the layers get is 0", "weights that do not all"),
        ([STUCK, STUCK, FLOWS], "δ is 0 from l2 backwards", "weights that do not all"),
        ([STUCK, STUCK], "the loss does not change with the output, l2", "a loss that is not"),
        (
            [STUCK, STUCK | {"dead_fraction": DEAD}],
            "the activation after the output, l2, has slope 0",
            "no ReLU after the output",
        ),
        (
            [STUCK, STUCK | {"dead_fraction": DEAD - 0.01}],
            "the loss does not change with the output",
            "a loss that is not",
        ),
    ],
)
def test_the_reason_is_where_delta_became_0_counted_from_the_loss(
    rows: list[dict[str, Any]], reason: str, advice: str
) -> None:
    (found,) = no_gradient(network(*rows))
    assert reason in found.message
    assert found.advice.startswith(advice)
