"""δ that shrinks or grows over depth, at the bounds of each rule."""

from __future__ import annotations

from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import gradient
from gradflow.diagnosis.checks.gradient import exploding, vanishing, weak_head
from gradflow.findings.thresholds import ADAPTIVE, HEAD_DECADES, PLAIN, bearable_decades
from gradflow.findings.words import lost_decades
from gradflow.results.diagnosis import DiagnosisResult

LAYERS = 4
#: Room on both sides of a bound.
BIT = 1e-6


def losing(decades: float, *rows: dict[str, Any], **given: Any) -> DiagnosisResult:
    """Return four hidden layers over which δ loses so many decades, and the output."""
    default = [{"delta_log10_rms": -decades * (LAYERS - i) / LAYERS} for i in range(1, 5)]
    hidden = [row | more for row, more in zip(default, rows or [{}] * LAYERS, strict=True)]
    rate = 10 ** (-decades / LAYERS)
    return network(*hidden, {"delta_log10_rms": 0.0}, **{"rate": rate} | given)


@pytest.mark.parametrize(
    ("optimizer", "decades", "severity"),
    [
        ("adam", ADAPTIVE.bearable_decades(LAYERS) + BIT, "error"),
        ("adam", ADAPTIVE.bearable_decades(LAYERS) - BIT, None),
        (None, ADAPTIVE.bearable_decades(LAYERS) - BIT, "warning"),
        (None, PLAIN.bearable_decades(LAYERS) + BIT, "warning"),
        ("sgd", PLAIN.bearable_decades(LAYERS) + BIT, "error"),
        ("sgd", PLAIN.bearable_decades(LAYERS) - BIT, None),
    ],
)
def test_delta_vanishes_from_an_optimizers_bound_on(
    optimizer: str | None, decades: float, severity: str | None
) -> None:
    found = list(vanishing(losing(decades, optimizer=optimizer)))
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    assert all(one.code == "vanishing" for one in found)


def test_the_cause_is_saturation_where_layers_are_saturated() -> None:
    flat = {"saturated_fraction": 0.9}
    small, one, two = (
        losing(6.0, *[row] * k, *[{}] * (4 - k)) for k, row in ((0, {}), (1, flat), (2, flat))
    )
    (found,) = vanishing(small)
    assert "because the weights are small" in found.message
    assert "δ shrinks by 6.0 decades over 4 hidden layers (a factor of" in found.message
    assert (found.code, found.layers) == ("vanishing", (1, 2))
    assert "larger slope" in found.advice
    (found,) = vanishing(one)
    assert "because l1 is saturated" in found.message
    assert (found.code, found.layers) == ("saturated", (1,))
    assert "plateaus" in found.advice
    (found,) = vanishing(two)
    assert "because l1 to l2 are saturated" in found.message


def test_saturation_alone_is_said_where_delta_does_not_vanish() -> None:
    flat = [{"saturated_fraction": 0.6}, {}, {}, {}]
    for result in (losing(0.1, *flat), losing(0.0, *flat, rate=None)):
        (found,) = vanishing(result)
        assert (found.code, found.severity) == ("saturated", "warning")
        assert "shrinks" not in found.message
    assert not list(vanishing(losing(0.1)))


def test_a_gradient_that_goes_around_is_told_from_one_that_does_not() -> None:
    rows = [{"delta_log10_rms": log} for log in (-3.5, -9.0, -6.0, -3.0)]
    (found,) = vanishing(losing(9.0, *rows))
    assert found.severity == "warning"
    assert "it comes to the first layers by another way, 0.5 decades smaller" in found.message
    assert "another way" not in next(vanishing(losing(9.0))).message


@pytest.mark.parametrize(
    ("drop", "given", "said"),
    [
        (HEAD_DECADES, {}, True),
        (HEAD_DECADES - BIT, {}, False),
        (None, {}, False),
        (9.0, {"small_gains": (1,)}, False),
        (9.0, {"update": 0.99}, True),
        (9.0, {"update": 1.0}, False),
        (9.0, {"saturated": 0.9}, False),
    ],
)
def test_a_weak_head_is_said_where_one_step_does_not_mend_it(
    drop: float | None, given: dict[str, Any], said: bool
) -> None:
    hidden = {"delta_log10_rms": 0.0, "saturated_fraction": given.pop("saturated", None)}
    last = {"delta_log10_rms": drop, "update_ratio": given.pop("update", None)}
    found = list(weak_head(network(hidden, hidden, hidden, last, **given)))
    assert [one.layers for one in found] == ([(3,)] if said else [])
    assert all("from the output, l4, to l3" in one.message for one in found)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_delta_explodes_from_the_bound_on(batch_norm: bool) -> None:
    bound = bearable_decades(LAYERS, batch_norm=batch_norm)
    assert not list(exploding(losing(-bound + BIT, batch_norm=batch_norm)))
    (found,) = exploding(losing(-bound - BIT, batch_norm=batch_norm))
    assert found.severity == "error"
    assert f"grows by {bound:.1f} decades" in found.message
    assert f"near the threshold of {bound:.1f}" in found.message
    assert not list(exploding(losing(0.0, rate=None)))


@pytest.mark.parametrize(
    ("norms", "flat"),
    [
        ((1.0, 3.9, None, 2.0), True),
        ((1.0, 4.1, None, 2.0), False),
        ((None, None, None, None), False),
    ],
)
def test_weight_gradients_that_hide_it_are_said(
    norms: tuple[float | None, ...], flat: bool
) -> None:
    rows = [{"gradient_log10_norm": norm} for norm in norms]
    (found,) = exploding(losing(-6.0, *rows))
    assert ("look flat" in found.message) is flat
    assert found.layers == (1, 2)


def test_bounds_belong_to_what_they_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    gained = -(lost_decades(losing(-6.0).rate, LAYERS) or 0.0)
    rows = [{"gradient_log10_norm": norm} for norm in (0.0, gained / 2, None, None)]
    monkeypatch.setattr(gradient, "bearable_decades", lambda *_, **__: gained)
    (found,) = exploding(losing(-6.0, *rows))
    assert "look flat" not in found.message
