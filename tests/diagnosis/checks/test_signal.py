"""The difference between examples on its way to the output, at the bounds of each rule."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import signal
from gradflow.diagnosis.checks.layers import signal_of
from gradflow.diagnosis.checks.signal import collapsing, lost_together, same_outputs
from gradflow.findings.thresholds import ADAPTIVE, PLAIN, SIGNAL_DECADES
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.facts import BatchFacts, CriterionFacts, TensorFacts

BIT = 1e-6
LAYERS = 4
BOUND = ADAPTIVE.bearable_signal(LAYERS)
EARLY = PLAIN.bearable_signal(LAYERS)


def losing(*decades: float | None, **given: Any) -> DiagnosisResult:
    """Return hidden layers at which the difference has lost so many decades, and an output."""
    spreads = [None if one is None else 10 ** (-2 * one) for one in decades]
    rows: list[dict[str, Any]] = [{"example_spread": spread} for spread in spreads]
    for row, log in zip(rows, given.pop("deltas", [None] * len(rows)), strict=True):
        row["delta_log10_rms"] = log
    return network(*rows, {}, **given)


def outputs(
    alike: float, lost: float | None = None, kind: str = "cross-entropy", **given: Any
) -> DiagnosisResult:
    """Return four layers; what δ loses over them, and what the outputs have lost."""
    output = TensorFacts(
        (32, 9), rms=1.0, example_spread=10 ** (-2 * alike), directions=given.pop("directions", 9.0)
    )
    batch = BatchFacts(criteria=(CriterionFacts(kind, output=output),))
    rate = None if lost is None else 10 ** (-lost / LAYERS)
    row = {"example_spread": given.pop("spread", None)}
    return network(*[row] * LAYERS, {}, rate=rate, batch=batch, **given)


def graded(found: list[Finding]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the severity and layers of findings."""
    return [(one.severity, one.layers) for one in found]


@pytest.mark.parametrize(
    ("decades", "given", "said"),
    [
        ((0.5, 1.5, 3.0, BOUND + BIT), {}, ("error", (4,))),
        ((0.5, 1.5, 3.0, BOUND - BIT), {}, ("warning", (4,))),
        ((0.5, 1.5, EARLY + BIT, EARLY + BIT), {}, ("warning", (3, 4))),
        ((0.5, 1.5, EARLY - BIT, EARLY + BIT), {}, ("warning", (4,))),
        ((0.5, 1.5, EARLY, EARLY - BIT), {}, None),
        ((0.5, 1.5, 3.0, EARLY + BIT), {"optimizer": "sgd"}, ("error", (4,))),
        ((0.5, 1.5, 3.0, EARLY + BIT), {"optimizer": "adam"}, None),
        # Good right before: a branch of its own.
        ((0.5, 0.5, 0.5, BOUND + BIT), {}, ("warning", (4,))),
        ((0.5, 0.5, 0.5, BOUND + BIT), {"small_gains": (1,)}, None),
        ((0.5, 1.5, 3.0, BOUND + BIT), {"small_gains": (1,)}, ("error", (4,))),
        ((0.5, 0.5, BOUND + BIT, BOUND + BIT), {}, ("warning", (3, 4))),
        ((1.5, 2.0, 0.5, BOUND + BIT), {}, ("warning", (4,))),
        ((1.5, 1.5, 0.5, 3.3), {"optimizer": "sgd"}, ("warning", (4,))),
        ((0.5, 0.9, None, BOUND + BIT), {}, ("warning", (4,))),
        ((0.5, 1.0, None, BOUND + BIT), {}, ("error", (4,))),
        ((BOUND + BIT,) * 4, {}, ("error", (1, 2, 3, 4))),
        # Elsewhere δ has another way.
        ((0.5, 1.5, 3.0, BOUND + 1), {"deltas": (0.0, -2.0, 0.0, 0.0)}, ("warning", (4,))),
        ((0.5, 1.5, 3.0, BOUND + 1), {"deltas": (0.0, -0.5, 0.0, 0.0)}, ("error", (4,))),
        ((None,) * 4, {}, None),
    ],
)
def test_a_collapse_is_graded_by_what_is_lost_and_where(
    decades: tuple[float | None, ...], given: dict[str, Any], said: Any
) -> None:
    found = graded(list(collapsing(losing(*decades, **given))))
    assert found == ([] if said is None else [said])


def test_dead_layers_explain_it() -> None:
    row = {"example_spread": 0.0}
    assert list(collapsing(network(row, row, {})))
    assert not list(collapsing(network(row, row | {"dead_fraction": 1.0}, {})))


def test_it_is_sudden_from_so_many_decades_on() -> None:
    bound = PLAIN.bearable_signal(20)
    for before, severity in ((bound - SIGNAL_DECADES - BIT, "warning"), (0.99, "error")):
        hidden = [before] * 19 + [bound + BIT]
        (found,) = collapsing(losing(*hidden, optimizer="sgd"))
        assert (found.severity, found.layers) == (severity, (20,))


def test_how_much_is_lost_is_said() -> None:
    (found,) = collapsing(losing(0.5, 1.5, 3.0, 5.25))
    assert "shrinks by 5.2 decades" in found.message
    (found,) = collapsing(losing(0.5, 1.5, 3.0, math.inf))
    assert "shrinks to 0 on" in found.message


@pytest.mark.parametrize(
    ("alike", "given", "severity"),
    [
        (ADAPTIVE.score_decades + BIT, {}, "error"),
        (ADAPTIVE.score_decades - BIT, {}, "warning"),
        (PLAIN.score_decades - BIT, {}, None),
        (ADAPTIVE.value_decades + BIT, {"kind": "mse"}, "error"),
        (ADAPTIVE.value_decades - BIT, {"kind": "mse"}, "warning"),
        (ADAPTIVE.line_decades + BIT, {"directions": 1.0}, "error"),
        (ADAPTIVE.line_decades - BIT, {"directions": 1.0}, None),
        (9.0, {"examples": 1}, None),
        # Said already, and as badly: of δ, of the hidden layers.
        (9.0, {"lost": 20.0}, None),
        (9.0, {"lost": PLAIN.bearable_decades(LAYERS) + BIT}, "error"),
        (3.0, {"lost": 20.0}, None),
        (9.0, {"spread": 1e-18}, None),
        (9.0, {"spread": 1e-7}, "error"),
        (3.0, {"spread": 1e-7}, None),
    ],
)
def test_equal_outputs_are_said_where_nothing_else_says_it(
    alike: float, given: dict[str, Any], severity: str | None
) -> None:
    found = list(same_outputs(outputs(alike, **given)))
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    assert all(("one line" in one.message) == ("directions" in given) for one in found)


def test_equal_outputs_are_said_with_how_equal_they_are() -> None:
    assert "to 1 part in 10^7.2" in next(same_outputs(outputs(7.25))).message
    assert "are the same exactly" in next(same_outputs(outputs(math.inf))).message


def test_outputs_that_another_way_leads_around_are_not_judged() -> None:
    batch = outputs(9.0).facts.batch
    rows = [{"delta_log10_rms": log} for log in (0.0, -2.0, 0.0)]
    assert not list(same_outputs(network(*rows, {}, batch=batch)))
    assert list(same_outputs(network(*[{"delta_log10_rms": 0.0}] * 3, {}, batch=batch)))


SGD = {"optimizer": "sgd"}


@pytest.mark.parametrize(
    ("alike", "lost", "given", "said"),
    [
        (1.5, PLAIN.score_together - 1.5 + BIT, SGD, ("error", "vanishing")),
        (1.5, PLAIN.score_together - 1.5 - BIT, SGD, None),
        (1.6, 1.5, SGD, ("error", "collapse")),
        (1.5, 1.5 + BIT, SGD, ("error", "vanishing")),
        (1.5, 1.5 + BIT, {}, ("warning", "vanishing")),
        (4.5, 5.5 + BIT, {}, None),  # δ alone is said
        (5.0, ADAPTIVE.score_together - 5.0 + BIT, {"whole_rate": 10**-0.5}, None),
        (2.5, 1.0, SGD, None),  # the outputs alone are
        (1.5, PLAIN.bearable_decades(LAYERS) + BIT, SGD, None),
        (1.5, 2.0, SGD | {"spread": 1e-9}, None),
        (math.inf, 2.0, SGD, None),
        (1.5, None, SGD, None),
    ],
)
def test_what_both_lose_together(
    alike: float, lost: float | None, given: dict[str, Any], said: tuple[str, str] | None
) -> None:
    found = list(lost_together(outputs(alike, lost, **given)))
    assert [(one.severity, one.code) for one in found] == ([] if said is None else [said])


def test_all_three_numbers_are_said() -> None:
    (found,) = lost_together(outputs(1.5, 2.25, optimizer="sgd"))
    assert "δ shrinks by 2.2 decades over 4 hidden layers" in found.message
    assert "1 part in 10^1.5: together 3.8 decades" in found.message


def test_bounds_belong_to_what_they_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    result = losing(0.5, 0.5, 0.5, 5.5)
    lost = [signal_of(row) for row in result.records[:4]]
    monkeypatch.setattr(signal, "SIGNAL_DECADES", lost[3] - lost[2])
    (found,) = collapsing(result)
    assert found.severity == "warning"
    exact = losing(1.0, 1.0, 3.0, 4.0, optimizer="sgd")

    class Tolerance:
        """Bears what the third layer has lost."""

        def bearable_signal(self, layers: int) -> float:
            return signal_of(exact.records[2])

    monkeypatch.setattr(signal, "tolerances", lambda _: (Tolerance(), Tolerance()))
    (found,) = collapsing(exact)
    assert found.layers == (3, 4)
