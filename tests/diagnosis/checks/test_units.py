"""Dead and saturated units, at the bounds of each rule and on both sides of them."""

from __future__ import annotations

from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.units import dead, saturated_alone, saturated_output
from gradflow.findings.thresholds import (
    DEAD,
    HEAD_DECADES,
    SATURATED_EVERYWHERE,
    SATURATED_OUTPUT,
    STUCK_OUTPUT,
)

LIVE: dict[str, Any] = {"delta_log10_rms": 0.0}
NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(("share", "said"), [(DEAD, True), (DEAD - 0.01, False), (None, False)])
def test_a_layer_is_dead_from_its_bound_on(share: float | None, said: bool) -> None:
    result = network(LIVE, LIVE | {"dead_fraction": share}, LIVE)
    assert [found.layers for found in dead(result)] == ([(2,)] if said else [])


def test_the_worst_of_several_dead_layers_is_named() -> None:
    dying = [LIVE | {"dead_fraction": share} for share in (0.92, 0.97, None)]
    (found,) = dead(network(*dying, LIVE))
    assert "up to 97%" in found.message
    assert found.layers == (1, 2)


@pytest.mark.parametrize(
    ("first", "at_the_dead", "severity"),
    [
        (0.0, -float("inf"), "warning"),
        (-float("inf"), -float("inf"), "error"),
        (0.0, -300.0, "error"),
        (None, -float("inf"), "error"),
    ],
)
def test_a_gradient_that_goes_around_dead_layers_makes_a_warning(
    first: float | None, at_the_dead: float, severity: str
) -> None:
    stopped = {"dead_fraction": 1.0, "delta_log10_rms": at_the_dead}
    (found,) = dead(network({"delta_log10_rms": first}, stopped, stopped))
    assert found.severity == severity
    assert ("goes around" in found.message) == (severity == "warning")


@pytest.mark.parametrize(
    ("flat", "log_delta", "loss", "said"),
    [
        (SATURATED_OUTPUT, -2.0, 1.0, True),
        (SATURATED_OUTPUT - 0.01, -2.0, 1.0, False),
        (0.95, None, 1.0, False),
        (0.95, -2.0, 0.0, False),
        (0.95, -2.0, None, False),
        (0.95, -2.0, 0.01 / STUCK_OUTPUT * 1.01, True),
        (0.95, -2.0, 0.01 / STUCK_OUTPUT * 0.99, False),
        (0.95, -2.0, -0.01 / STUCK_OUTPUT * 1.01, True),
        (0.95, 0.0, 1 / STUCK_OUTPUT, False),
    ],
)
def test_a_saturated_output_is_said_where_delta_is_small_beside_the_loss(
    flat: float, log_delta: float | None, loss: float | None, said: bool
) -> None:
    last = {"saturated_fraction": flat, "delta_log10_rms": log_delta}
    found = list(saturated_output(network(LIVE, last, example_loss=loss)))
    assert [one.layers for one in found] == ([(2,)] if said else [])
    assert all(f"{flat:.0%}" in one.message for one in found)


def test_a_network_of_no_layers_has_no_output() -> None:
    assert not list(saturated_output(network(hidden=0)))


FLAT = LIVE | {"saturated_fraction": 1.0}


@pytest.mark.parametrize(
    ("shares", "chosen", "drop", "severity"),
    [
        ((SATURATED_EVERYWHERE, SATURATED_EVERYWHERE), 1, 0.0, "error"),
        ((SATURATED_EVERYWHERE, SATURATED_EVERYWHERE - 0.01), 1, 0.0, "warning"),
        ((0.9, None), 0, 0.0, "error"),  # of the layers that are known
        ((0.6, 0.3), 0, HEAD_DECADES, "warning"),  # not where it stops δ
        ((0.3, 0.6), 1, HEAD_DECADES, "error"),
        ((0.3, 0.6), 1, HEAD_DECADES - 0.01, "warning"),
        ((0.3, 0.6), 1, None, "warning"),
    ],
)
def test_saturation_alone_is_an_error_where_it_stops_delta_or_is_everywhere(
    shares: tuple[float | None, ...], chosen: int, drop: float | None, severity: str
) -> None:
    hidden = [LIVE | {"saturated_fraction": share} for share in shares]
    result = network(*hidden, {"delta_log10_rms": drop})
    (found,) = saturated_alone(result, [result.records[chosen]])
    assert found.severity == severity
    assert found.layers == (chosen + 1,)
    stops = severity == "error" and drop == HEAD_DECADES
    assert ("behind the output" in found.message) == stops


def test_no_layer_is_no_saturation_and_the_worst_is_named() -> None:
    result = network(*[LIVE | {"saturated_fraction": share} for share in (0.61, 0.72)], LIVE)
    assert not list(saturated_alone(result, []))
    assert "up to 72%" in next(saturated_alone(result, list(result.records[:2]))).message


@pytest.mark.parametrize(("chosen", "severity"), [((0, 2), "error"), ((2, 1), "warning")])
def test_saturation_stops_delta_where_the_last_hidden_layer_is_saturated(
    chosen: tuple[int, ...], severity: str
) -> None:
    hidden = [LIVE | {"saturated_fraction": share} for share in (0.6, 0.3, 0.6)]
    result = network(*hidden, {"delta_log10_rms": HEAD_DECADES})
    (found,) = saturated_alone(result, [result.records[at] for at in chosen])
    assert found.severity == severity
