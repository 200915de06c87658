"""Attention and recurrent layers, from results made by hand, at the bounds of each rule."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.parts import attention, gates, same_tokens, time_steps
from gradflow.findings.thresholds import (
    GROWS_OVER_TIME,
    LOST_IN_FLOAT32,
    SATURATED,
    SATURATED_ATTENTION,
    SATURATED_GATE,
    SHARP_ATTENTION,
    TOKEN_SPREAD,
    TOKEN_SPREAD_BACK,
    TOKEN_SPREAD_LEFT,
    TOKEN_SPREAD_LOST,
    bearable_decades,
)
from gradflow.results.diagnosis import DiagnosisResult, Recurrence
from gradflow.results.facts import BatchFacts

BIT = 1e-6


def looked(flat: float | None, entropy: float | None = 1.0) -> dict[str, Any]:
    """Return a layer whose output attention is computed of."""
    return {"attention_saturated": flat, "attention_entropy": entropy}


UNKNOWN = looked(None, None)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([looked(SATURATED)], ("warning", (1,))),
        ([looked(SATURATED - BIT)], None),
        ([looked(0.0, SHARP_ATTENTION)], ("warning", (1,))),
        ([looked(0.0, SHARP_ATTENTION + BIT)], None),
        ([looked(0.0, None)], None),
        ([looked(SATURATED, None)], ("warning", (1,))),
        ([looked(SATURATED_ATTENTION)], ("error", (1,))),
        ([looked(SATURATED_ATTENTION - BIT)], ("warning", (1,))),
        ([looked(1.0), looked(2 * SATURATED_ATTENTION - 1)], ("error", (1,))),
        ([looked(1.0), looked(2 * SATURATED_ATTENTION - 1 - BIT)], ("warning", (1,))),
        ([looked(1.0), looked(0.0)], ("warning", (1,))),  # half of them
        ([looked(1.0), looked(0.0), looked(0.0)], None),
        ([looked(1.0), UNKNOWN, UNKNOWN, UNKNOWN], ("error", (1,))),
        ([UNKNOWN], None),
    ],
)
def test_attention_that_sees_few_keys(
    rows: list[dict[str, Any]], said: tuple[str, tuple[int, ...]] | None
) -> None:
    found = [(one.severity, one.layers) for one in attention(network(*rows, {}))]
    assert found == ([] if said is None else [said])


def test_the_sharpest_attention_is_named() -> None:
    rows = [looked(0.7, 0.11), looked(0.8, 0.04), looked(0.1, 0.02)]
    (found,) = attention(network(*rows, {}))
    assert "comes down to 2%" in found.message
    assert "up to 80% of the queries" in found.message
    (found,) = attention(network(looked(0.7, None), {}))
    assert "comes down to 0%" in found.message


def stream(*spreads: float | None, **given: Any) -> DiagnosisResult:
    """Return hidden layers whose tokens differ so much; the output's attention was looked at."""
    dropout = given.pop("dropout", None)
    if dropout is not None:
        given["batch"] = BatchFacts(dropout=(dropout, 1))
    return network(*[{"token_spread": one} for one in spreads], looked(0.0), **given)


BIG, SMALL = 0.9, 0.01


@pytest.mark.parametrize(
    ("spreads", "given", "layers"),
    [
        ((BIG, TOKEN_SPREAD), {}, None),
        ((BIG, SMALL, SMALL, SMALL, SMALL), {}, (2, 3, 4, 5)),
        ((BIG, SMALL, SMALL, TOKEN_SPREAD, SMALL), {}, (2, 3, 4, 5)),
        ((0.14, SMALL, SMALL, TOKEN_SPREAD + BIT, SMALL), {}, None),
        ((BIG, SMALL, SMALL, SMALL, SMALL, None), {}, (2, 3, 4, 5)),
        ((BIG, SMALL, SMALL, SMALL, SMALL, math.nan), {}, (2, 3, 4, 5)),
        ((BIG, SMALL, SMALL, SMALL, SMALL), {"started": (5,)}, None),
        ((BIG, SMALL, SMALL, SMALL, SMALL), {"started": (4,)}, (2, 3, 4, 5)),
        ((TOKEN_SPREAD, SMALL), {}, (1, 2)),
        ((None, None), {}, None),
        ((), {}, None),
        ((0.0, 0.0), {}, (1, 2)),
    ],
)
def test_tokens_that_are_nearly_the_same(
    spreads: tuple[float | None, ...], given: dict[str, Any], layers: tuple[int, ...] | None
) -> None:
    found = list(same_tokens(stream(*spreads, **given)))
    assert [one.layers for one in found] == ([] if layers is None else [layers])
    already = layers is not None and layers[0] == 1
    assert all(("already" in one.message) == already for one in found)
    assert all("nearly the same" in one.message for one in found)


def test_the_largest_of_the_last_is_what_is_left() -> None:
    (found,) = same_tokens(stream(BIG, BIG, 0.01, 0.03, 0.02, 0.01))
    assert "0.03 of their mean square" in found.message


def test_without_attention_tokens_may_be_the_same() -> None:
    assert not list(same_tokens(network(*[{"token_spread": SMALL}] * 5, {})))


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (TOKEN_SPREAD_LOST * 0.125, 0.125, True),
        (TOKEN_SPREAD_LOST * 0.125 - BIT, 0.125, False),
        (0.9, TOKEN_SPREAD_LEFT, True),
        (0.9, TOKEN_SPREAD_LEFT + BIT, False),
    ],
)
def test_tokens_on_their_way_to_be_the_same(first: float, last: float, said: bool) -> None:
    spreads = (first - 0.01, first, 0.1, 0.1, first + 0.05, 0.1, last, 0.1, last - 0.01)
    found = list(same_tokens(stream(*spreads)))
    assert [one.layers for one in found] == ([(3, 4, 6, 7, 8, 9)] if said else [])
    assert all(f"{first:.0%} of their" in one.message for one in found)
    assert all(f"{last:.0%} in" in one.message for one in found)


def read(
    out: float, reader: float | None, kind: str = "MultiheadAttention"
) -> list[dict[str, Any]]:
    """Return attention, and what the next layer takes."""
    if kind == "MultiheadAttention":
        inside = [{"kind": kind, "token_spread": out} | looked(0.0)]
    else:
        inside = [{"token_spread": 0.77} | looked(0.0), {"token_spread": out}]
    return [*inside, {"token_spread": reader}]


AFTER = [{"token_spread": 0.02}] * 4


@pytest.mark.parametrize(
    ("parts", "dropout", "past"),
    [
        ([read(0.02, 0.02 * TOKEN_SPREAD_BACK)] * 2, None, True),
        ([read(0.02, 0.02 * TOKEN_SPREAD_BACK - BIT)] * 2, None, False),
        ([read(0.02, 0.02 * TOKEN_SPREAD_BACK, "Linear")] * 2, None, True),
        ([read(0.02, 0.02 * TOKEN_SPREAD_BACK - BIT, "Linear")] * 2, None, False),
        ([read(0.02, 0.03)], None, False),  # of one alone nothing is known
        ([read(0.02, 0.029), read(0.02, 0.02)], None, False),
        ([read(0.02, 0.04), read(0.02, 0.02)], None, True),
        ([read(0.02, 0.03)] * 2, 0.0, True),
        # 0.02 + 0.1 × 0.98 = 0.118: as much is chance.
        ([read(0.02, 0.118 * TOKEN_SPREAD_BACK + BIT)] * 2, 0.1, True),
        ([read(0.02, 0.118 * TOKEN_SPREAD_BACK - BIT)] * 2, 0.1, False),
        ([read(0.0, 0.01)] * 2, None, True),
        ([read(0.0, 0.0)] * 2, None, False),
    ],
)
def test_a_way_past_attention_tells_tokens_apart(
    parts: list[list[dict[str, Any]]], dropout: float | None, past: bool
) -> None:
    rows = [{"token_spread": BIG}, *[row for part in parts for row in part], *AFTER]
    given = {} if dropout is None else {"batch": BatchFacts(dropout=(dropout, 1))}
    found = list(same_tokens(network(*rows, {}, **given)))
    assert bool(found) is not past


def test_attention_at_the_end_has_no_reader() -> None:
    last: dict[str, Any] = {"kind": "MultiheadAttention", "token_spread": 0.02} | looked(0.0)
    ended = [{"token_spread": BIG}, *read(0.02, 0.04), *AFTER, last]
    assert list(same_tokens(network(*ended, {})))


def over(
    lost: float | None, steps: int = 20, saturated: tuple[tuple[str, float], ...] = ()
) -> Recurrence:
    """Return a recurrent layer over whose steps so much is lost."""
    rate = None if lost is None else 10 ** (-lost / steps)
    return Recurrence("lstm", (1, 2), (0.0,) * steps, rate, saturated)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (bearable_decades(20) + BIT, ("warning", "vanishing")),
        (bearable_decades(20) - BIT, None),
        (LOST_IN_FLOAT32 + BIT, ("error", "vanishing")),
        (LOST_IN_FLOAT32 - BIT, ("warning", "vanishing")),
        (-bearable_decades(20) - GROWS_OVER_TIME - BIT, ("warning", "exploding")),
        (-bearable_decades(20) - GROWS_OVER_TIME + BIT, None),
        (-LOST_IN_FLOAT32 - BIT, ("error", "exploding")),
        (0.0, None),
        (None, None),
    ],
)
def test_what_is_lost_and_gained_over_time_steps(
    lost: float | None, said: tuple[str, str] | None
) -> None:
    found = list(time_steps(network({}, {}, {}, recurrences=(over(lost),))))
    assert [(one.severity, one.code) for one in found] == ([] if said is None else [said])
    assert all(one.layers == (1, 2) for one in found)


@pytest.mark.parametrize(
    ("lost", "words", "advice"),
    [
        (8.0, "shrinks by 8.0 decades over 20 time steps (a factor of 0.398", "forget gate"),
        (-8.0, "grows by 8.0 decades over 20 time steps (a factor of 2.51", "orthogonal"),
    ],
)
def test_the_time_steps_in_words(lost: float, words: str, advice: str) -> None:
    (found,) = time_steps(network({}, {}, {}, recurrences=(over(lost),)))
    assert words in found.message
    assert advice in found.advice


def test_gates_are_stuck_from_their_bound_on() -> None:
    shares = (("input", SATURATED_GATE), ("forget", SATURATED_GATE - BIT), ("output", 0.75))
    (found,) = gates(network({}, {}, recurrences=(over(0.0), over(0.0, 5, shares))))
    assert found.message == "gates of lstm are saturated: input 50%, output 75%"
    assert found.layers == (1, 2)
