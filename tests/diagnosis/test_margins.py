"""How near a network is to the bounds of its verdict, said on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from support.finding_examples import diagnosed

from gradflow.diagnosis.checks import CHECKS
from gradflow.diagnosis.checks.margins import margins
from gradflow.findings.check import judged
from gradflow.findings.thresholds import ADAPTIVE, PLAIN
from gradflow.results.diagnosis import DiagnosisFacts, DiagnosisResult

LAYERS = 4


def losing(decades: float, optimizer: str | None = None) -> Any:
    """Return what is said of a network whose δ loses so many decades."""
    facts = DiagnosisFacts(optimizer=optimizer)
    trained = {"gradient_log10_norm": 0.0}
    return judged(diagnosed(10 ** (-decades / LAYERS), trained, facts=facts), CHECKS)


def note(result: DiagnosisResult) -> str:
    """Return the message of its note on how near it is, or nothing."""
    return next((f.message for f in result.findings if f.code == "near-threshold"), "")


@pytest.mark.parametrize(
    ("optimizer", "bound", "whom"),
    [
        ("sgd", PLAIN.bearable_decades(LAYERS), "SGD"),
        ("adamw", ADAPTIVE.bearable_decades(LAYERS), "Adam"),
    ],
)
def test_a_network_just_below_a_bound_is_healthy_and_told_so(
    optimizer: str, bound: float, whom: str
) -> None:
    close, far, beyond = (losing(bound - room, optimizer) for room in (0.1, 0.6, -0.1))
    assert close.verdict == far.verdict == "healthy"
    assert whom in note(close)
    assert f"{bound:.2f}" in note(close)
    assert not note(far)
    assert beyond.verdict == "vanishing"


def test_without_an_optimizer_both_bounds_are_named() -> None:
    sgd, adam = (kind.bearable_decades(LAYERS) for kind in (PLAIN, ADAPTIVE))
    assert "SGD" in note(losing(sgd - 0.1))
    assert "Adam" in note(losing(adam - 0.1))
    assert not note(losing((sgd + adam) / 2))


def test_a_gradient_that_grows_is_near_its_own_bound() -> None:
    grown = losing(-(PLAIN.bearable_decades(LAYERS) - 0.1))
    assert grown.verdict == "healthy"
    assert "grows" in note(grown)
    assert "any optimizer" in note(grown)


def test_the_strain_is_one_where_the_verdict_turns() -> None:
    bound = PLAIN.bearable_decades(LAYERS)
    for decades in (0.5 * bound, bound):
        strain = max(one.strain(PLAIN) for one in margins(losing(decades)))
        assert strain == pytest.approx(decades / bound)


def test_a_sick_network_is_not_called_near_one_bound_as_well() -> None:
    close = {"gradient_log10_norm": 0.0, "example_spread": 10 ** (-2 * 3.1)}
    for rate, said in ((1.0, True), (0.01, False)):
        facts = DiagnosisFacts(optimizer="sgd")
        assert bool(note(judged(diagnosed(rate, close, facts=facts), CHECKS))) is said
