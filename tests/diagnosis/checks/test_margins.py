"""How near a network is to a bound, from results made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import margins as of
from gradflow.diagnosis.checks.margins import Margin, margins, near_threshold
from gradflow.findings.thresholds import ADAPTIVE, NEAR_DECADES, PLAIN, bearable_decades
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.facts import BatchFacts, CriterionFacts, TensorFacts

BIT = 1e-6
LAYERS = 4


def known(lost: float | None = None, **given: Any) -> DiagnosisResult:
    """Return four layers over which δ loses so much; signal and outputs where they are given."""
    spread, alike = given.pop("signal", None), given.pop("alike", None)
    if alike is not None:
        output = TensorFacts((32, 9), rms=1.0, example_spread=10 ** (-2 * alike))
        given["batch"] = BatchFacts(criteria=(CriterionFacts("cross-entropy", output=output),))
    row = {"example_spread": None if spread is None else 10 ** (-2 * spread)}
    rows: list[dict[str, Any]] = [dict(row) for _ in range(LAYERS)]
    for one, log in zip(rows, given.pop("deltas", [0.0] * LAYERS), strict=True):
        one["delta_log10_rms"] = log
    rate = None if lost is None else 10 ** (-lost / LAYERS)
    return network(*rows, {}, rate=rate, **given)


def named(result: DiagnosisResult) -> dict[str, Margin]:
    """Return the margins by name."""
    return {one.name: one for one in margins(result)}


def test_every_quantity_has_its_value_and_its_bound() -> None:
    found = named(known(1.0, signal=1.5, alike=0.5))
    values = {"δ gained": -1.0, "δ lost": 1.0, "signal": 1.5, "output": 0.5, "together": 1.5}
    assert {name: one.decades for name, one in found.items()} == pytest.approx(values)
    bounds = {
        "δ gained": bearable_decades(LAYERS),
        "δ lost": PLAIN.bearable_seen(LAYERS),
        "signal": PLAIN.bearable_signal(LAYERS),
        "output": PLAIN.score_decades,
        "together": PLAIN.score_together,
    }
    assert {name: one.bound(PLAIN) for name, one in found.items()} == bounds
    assert "grows by -1.00 decades over 4 hidden layers" in found["δ gained"].says
    assert "shrinks by 1.00 decades over 4 hidden layers" in found["δ lost"].says


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, set()),
        ({"lost": 1.0}, {"δ gained", "δ lost"}),
        ({"signal": 1.0}, {"signal"}),
        ({"alike": 1.0}, {"output"}),
        ({"lost": 1.0, "alike": 1.0}, {"δ gained", "δ lost", "output", "together"}),
        (
            {"lost": 1.0, "alike": 1.0, "signal": 1.0, "deltas": (0.0, -2.0, 1.0, 0.0)},
            {"δ gained", "δ lost"},
        ),
    ],
)
def test_what_is_not_known_has_no_margin(given: dict[str, Any], names: set[str]) -> None:
    assert set(named(known(**given))) == names


def test_of_delta_that_goes_around_what_comes_to_the_first_layer_counts() -> None:
    found = named(known(1.0, deltas=(0.0, -2.0, 1.0, 0.5)))["δ lost"]
    assert found.decades == 0.5
    assert found.says == "δ shrinks by 0.50 decades to the first"


def test_batch_normalisation_lets_delta_grow() -> None:
    found = named(known(-1.0, batch_norm=True))["δ gained"]
    assert found.bound(PLAIN) == bearable_decades(LAYERS, batch_norm=True)


@pytest.mark.parametrize(
    ("lost", "optimizer", "said"),
    [
        (PLAIN.bearable_decades(LAYERS) - NEAR_DECADES - BIT, "sgd", None),
        (PLAIN.bearable_decades(LAYERS) - NEAR_DECADES + BIT, "sgd", "for SGD"),
        (PLAIN.bearable_decades(LAYERS) - BIT, "sgd", "for SGD"),
        (PLAIN.bearable_decades(LAYERS) + BIT, "sgd", None),
        (PLAIN.bearable_decades(LAYERS) - BIT, "adam", None),
        (ADAPTIVE.bearable_decades(LAYERS) - BIT, "adam", "for Adam"),
        (ADAPTIVE.bearable_decades(LAYERS) - BIT, None, "for Adam"),
        (ADAPTIVE.bearable_decades(LAYERS) + BIT, None, None),
        (PLAIN.bearable_decades(LAYERS) - BIT, None, "for SGD"),
        (-bearable_decades(LAYERS) + BIT, None, "for any optimizer"),
        (-bearable_decades(LAYERS) + BIT, "sgd", "for SGD"),
        (-bearable_decades(LAYERS) + BIT, "adam", "for Adam"),
        (-bearable_decades(LAYERS) - BIT, None, None),
    ],
)
def test_what_is_just_bearable_is_said_and_for_whom(
    lost: float, optimizer: str | None, said: str | None
) -> None:
    found = list(near_threshold(known(lost, optimizer=optimizer)))
    assert [said in one.message for one in found if said] == ([] if said is None else [True])
    assert len(found) == (said is not None)


def test_of_several_the_nearest_is_said() -> None:
    bound, signal = PLAIN.bearable_decades(LAYERS), PLAIN.bearable_signal(LAYERS)
    for rooms, words in (((0.1, 0.2), "δ shrinks"), ((0.2, 0.1), "difference between")):
        result = known(bound - rooms[0], signal=signal - rooms[1], optimizer="sgd")
        (found,) = near_threshold(result)
        assert found.message.startswith(words) or words in found.message
        assert f"just below {bound:.2f}" in found.message


def test_what_is_sick_already_is_not_near_another_bound() -> None:
    bound, signal = PLAIN.bearable_decades(LAYERS), PLAIN.bearable_signal(LAYERS)
    assert not list(near_threshold(known(bound, signal=signal - 0.1, optimizer="sgd")))
    assert list(near_threshold(known(bound - 0.4, signal=signal - 0.1, optimizer="sgd")))


def test_strain_is_the_value_over_the_bound() -> None:
    assert Margin("", "", 3.0, lambda tolerance: tolerance.decades).strain(PLAIN) == (
        pytest.approx(3.0 / PLAIN.decades)
    )


def test_what_is_at_its_bound_is_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(decades: float) -> int:
        one = Margin("", "", decades, lambda tolerance: tolerance.decades)
        monkeypatch.setattr(of, "margins", lambda _: [one])
        return len(list(near_threshold(known())))

    assert found(PLAIN.decades) == 0
    assert found(PLAIN.decades - NEAR_DECADES / 2) == 1
