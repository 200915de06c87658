"""What checks read off the rows of layers: exact values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import layer, network

from gradflow.diagnosis.checks import layers
from gradflow.findings.thresholds import DEAD, DECADES, SATURATED

ROW: dict[str, Any] = {}
INF = math.inf


def deltas(*logs: float | None) -> list[dict[str, Any]]:
    """Return rows with these δ."""
    return [{"delta_log10_rms": log} for log in logs]


def test_the_hidden_layers_are_those_before_the_output() -> None:
    assert [row.index for row in layers.hidden_rows(network(ROW, ROW, ROW, hidden=2))] == [1, 2]


@pytest.mark.parametrize(("span", "depth"), [(None, 2), (7, 7), (0, 0)])
def test_the_depth_is_what_the_rate_reaches_over(span: int | None, depth: int) -> None:
    assert layers.depth(network(ROW, ROW, ROW, span=span)) == depth


@pytest.mark.parametrize(
    ("facts", "dead"),
    [
        ({}, [1, 3]),
        ({"examples": 1}, []),
        ({"examples": 2}, [1, 3]),
        ({"started": (1,)}, [3]),
        ({"zero_layers": (3,)}, [1]),
    ],
)
def test_dead_layers_are_those_that_nothing_excuses(facts: dict[str, Any], dead: list[int]) -> None:
    rows = [{"dead_fraction": share} for share in (DEAD, DEAD - 0.01, 1.0)]
    assert [row.index for row in layers.dead_layers(network(*rows, **facts))] == dead


@pytest.mark.parametrize(
    ("logs", "around"),
    [
        ((0.0, -INF, 0.0), True),
        ((-INF, -INF, 0.0), False),
        ((None, -INF, 0.0), False),  # the first that is known
        ((0.0, -1.0, 0.0), False),
        ((None, None, None), False),
    ],
)
def test_delta_goes_around_where_it_is_0_at_the_dead_and_not_at_the_first(
    logs: tuple[float | None, ...], around: bool
) -> None:
    result = network(*deltas(*logs))
    assert layers.goes_around(result, [result.records[1]]) is around


@pytest.mark.parametrize(
    ("saturated", "zero", "share"), [(None, None, 0.0), (0.7, None, 0.7), (0.75, 0.25, 0.5)]
)
def test_an_output_of_0_is_no_saturation(
    saturated: float | None, zero: float | None, share: float
) -> None:
    row = {"saturated_fraction": saturated, "zero_fraction": zero}
    assert layers.saturation(layer(**row)) == pytest.approx(share)
    found = layers.saturated_layers(network(row, row))
    assert [one.index for one in found] == ([1] if share >= SATURATED else [])


def test_saturation_counts_from_its_bound_on() -> None:
    rows = [{"saturated_fraction": share} for share in (SATURATED, SATURATED - 0.01, 1.0)]
    assert [row.index for row in layers.saturated_layers(network(*rows))] == [1]


@pytest.mark.parametrize(
    ("logs", "drop"),
    [
        ((1.0, 2.0, 5.0), 3.0),
        ((4.0, 2.0, 5.0), 1.0),
        ((None, 2.0, 5.0), 3.0),
        ((-INF, 2.0, 5.0), 3.0),
        ((None, None, 5.0), None),
        ((1.0, 2.0, None), None),
        ((1.0, 2.0, INF), None),
    ],
)
def test_the_drop_behind_the_output_is_to_the_layer_that_has_most(
    logs: tuple[float | None, ...], drop: float | None
) -> None:
    assert layers.head_drop(network(*deltas(*logs))) == drop


@pytest.mark.parametrize(
    ("spread", "lost"),
    [(None, 0.0), (math.nan, 0.0), (1.0, 0.0), (1e-6, 3.0), (0.01, 1.0), (0.0, INF), (-1e-9, INF)],
)
def test_the_signal_that_is_lost_is_in_decades_of_amplitude(
    spread: float | None, lost: float
) -> None:
    assert layers.signal_of(layer(example_spread=spread)) == pytest.approx(lost)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "a factor of 0.5 per layer"),
        ({"rate_low": 0.4}, "a factor of 0.5 per layer"),
        ({"rate_high": 0.6}, "a factor of 0.5 per layer"),
        (
            {"rate_low": 0.4, "rate_high": 0.6},
            "a factor of 0.5 per layer, 95 % interval 0.4 to 0.6",
        ),
        ({"spectral_radius": 1.0}, "a factor of 0.5 per step"),
    ],
)
def test_the_rate_in_words(given: dict[str, Any], words: str) -> None:
    assert layers.factor(network(ROW, ROW, rate=0.5, **given)) == words


@pytest.mark.parametrize(
    ("logs", "far"),
    [
        ((-DECADES, -DECADES + 0.01, 0.0), (1,)),
        ((DECADES, None, 0.0), (1,)),
        ((2 * DECADES, DECADES, DECADES), (1,)),
        ((9.0, 9.0, None), ()),
    ],
)
def test_far_layers_are_decades_from_the_last_hidden_one(
    logs: tuple[float | None, ...], far: tuple[int, ...]
) -> None:
    assert layers.far_layers(network(*deltas(*logs), ROW)) == far


def test_layers_are_named_by_their_numbers() -> None:
    assert layers.named_at(network(ROW, ROW, ROW), (2, 3)) == "l2 to l3"
