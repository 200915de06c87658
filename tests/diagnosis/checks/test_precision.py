"""Values that a dtype loses, from results made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.precision import (
    broken,
    interrupted,
    no_remedies,
    not_compared,
    underflow,
)
from gradflow.findings.thresholds import UNDERFLOW
from gradflow.results.base import RunMeta
from gradflow.results.facts import BatchFacts, TensorFacts

FINE: dict[str, Any] = {"forward_nonfinite": 0, "backward_nonfinite": 0}
FORWARD = FINE | {"forward_nonfinite": 3}
BACKWARD = FINE | {"backward_nonfinite": 3}
HALF = RunMeta(dtype="float16")
NAN_INPUT = BatchFacts(loss=math.nan, inputs=(TensorFacts((4, 2), nonfinite=1),))


@pytest.mark.parametrize(
    ("rows", "given", "words", "layers"),
    [
        ([FINE, FORWARD, FORWARD], {}, "l2 is the first whose activations are not finite", (2, 3)),
        (
            [FORWARD, BACKWARD, FINE],
            {"rate": 1.0, "meta": HALF},
            "l1 is the first whose activations are not finite: they overflow float16 (the",
            (1, 2),
        ),
        ([FORWARD, FINE], {"rate": 1.0}, "activations are not finite", (1,)),
        ([FORWARD, FINE], {"meta": HALF}, "activations are not finite", (1,)),
        ([BACKWARD, BACKWARD, FINE], {"loss": 1.0}, "not finite from l2 backwards", (1, 2)),
        ([BACKWARD, BACKWARD], {"loss": math.inf}, "not finite from l2 backwards", (1, 2)),
        ([FINE, BACKWARD], {"loss": 1.5}, "the loss is finite (1.5) and its gradient is not", (2,)),
        ([BACKWARD] * 3 + [FINE], {"loss": 1.0}, "not finite from l3 backwards", (1, 2, 3)),
        ([BACKWARD] * 3, {"loss": 1.5}, "already at the output, l3: it", (1, 2, 3)),
        ([FINE, FINE], {"loss": math.nan}, "the loss is nan", ()),
        ([FORWARD, FINE], {"batch": NAN_INPUT}, "1 of the batch's 8 input values", (1,)),
    ],
)
def test_the_place_where_a_value_stopped_being_finite(
    rows: list[dict[str, Any]], given: dict[str, Any], words: str, layers: tuple[int, ...]
) -> None:
    (found,) = broken(network(*rows, **given))
    assert words in found.message
    assert ("overflow" in found.message) == ("overflow" in words)
    assert found.layers == layers


@pytest.mark.parametrize("loss", [None, 1.0])
def test_finite_values_are_not_broken(loss: float | None) -> None:
    assert not list(broken(network(FINE, {}, loss=loss)))


@pytest.mark.parametrize(
    ("shares", "layers", "worst"),
    [
        (((UNDERFLOW, None), (None, 2 * UNDERFLOW), (0.3, 0.1)), (2, 3), "30.0%"),
        (((0.1, 0.3), (None, None), (0.2, None)), (1, 3), "30.0%"),
        (((UNDERFLOW, UNDERFLOW), (None, None), (0.0, 0.0)), (), ""),
    ],
)
def test_entries_are_lost_beyond_the_bound(
    shares: tuple[tuple[float | None, float | None], ...], layers: tuple[int, ...], worst: str
) -> None:
    rows = [{"underflow_fraction": g, "delta_underflow_fraction": d} for g, d in shares]
    found = list(underflow(network(*rows, half="float16")))
    assert [one.layers for one in found] == ([layers] if layers else [])
    assert all(worst in one.message and "0 in float16" in one.message for one in found)


@pytest.mark.parametrize(
    ("scale", "words"),
    [(None, "no loss scale brings"), (1024.0, "1024 (2^10)"), (2.0, "init_scale=2.0)")],
)
def test_the_loss_scale_against_underflow(scale: float | None, words: str) -> None:
    (found,) = underflow(network({"underflow_fraction": 0.5}, suggested_loss_scale=scale))
    assert words in found.advice


def test_the_dtype_is_the_models_own_else_the_runs() -> None:
    row = {"underflow_fraction": 0.5}
    for given in ({"half": "float16"}, {"half": None, "meta": HALF}):
        assert "in float16 though" in next(underflow(network(row, **given))).message


def test_what_could_not_be_done_is_said_with_its_reason() -> None:
    (found,) = not_compared(network(FINE, no_float32="no kernel"))
    assert found.message.endswith("measured: no kernel")
    assert not list(not_compared(network(FINE)))
    assert next(no_remedies("a lock")).message.endswith("run: a lock")
    assert [one.code for one in interrupted()] == ["interrupted"]
