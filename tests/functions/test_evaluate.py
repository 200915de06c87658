"""Points, ranges, curves and the catalogue."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.activations import ACTIVATIONS
from gradflow.cli.points import parse_points, parse_range
from gradflow.errors import GradflowError
from gradflow.functions import costs
from gradflow.functions.costs import summary
from gradflow.functions.evaluate import catalogue, curves, evaluate
from gradflow.results.activations import ActivationsResult, Cost


def test_a_span_includes_its_stop_and_reads_like_decimals() -> None:
    assert parse_points(["0:1:0.1"], io.StringIO()) == [
        0,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    ]
    assert parse_points(["-5:5:2.5"], io.StringIO()) == [-5, -2.5, 0, 2.5, 5]
    assert parse_points(["1:0:-0.5"], io.StringIO()) == [1, 0.5, 0]
    assert parse_points(["2:2:1"], io.StringIO()) == [2]


def test_a_span_that_misses_its_stop_ends_before_it() -> None:
    assert parse_points(["0:1:0.4"], io.StringIO()) == [0, 0.4, 0.8]


@given(st.integers(-1000, 1000), st.integers(1, 500), st.sampled_from([0.1, 0.25, 0.3, 1.0, 7.0]))
def test_a_span_of_n_steps_has_n_plus_one_points(start: int, steps: int, step: float) -> None:
    stop = start + steps * step
    points = parse_points([f"{start}:{stop!r}:{step}"], io.StringIO())
    assert len(points) == steps + 1
    assert points[-1] == pytest.approx(stop, rel=1e-12, abs=1e-12)


def test_standard_input_takes_numbers_in_any_layout() -> None:
    assert parse_points(["-", "7"], io.StringIO("1 2\n3,4\n")) == [1, 2, 3, 4, 7]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("abc", "'abc' is not a number"),
        ("", "'' is not a number"),
        ("0:1", "not start:stop:step"),
        ("0:1:0", "never arrives"),
        ("0:1:-1", "never arrives"),
        ("0:inf:1", "not start:stop:step"),
        ("0:1:1e-9", "more than 1,000,000"),
        ("-", "no numbers on standard input"),
    ],
)
def test_what_is_not_a_point_is_refused(text: str, says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        parse_points([text], io.StringIO())


def test_ranges() -> None:
    assert parse_range("-2:3") == (-2, 3)
    for text in ("3", "1:2:3", "a:b"):
        with pytest.raises(GradflowError):
            parse_range(text)
    for low, high in ((1, 1), (2, 1), (math.nan, 1), (0, math.inf)):
        with pytest.raises(GradflowError, match="range"):
            curves(["relu"], low, high)


def test_ten_layers_of_the_sigmoids_largest_slope() -> None:
    (row,) = evaluate("sigmoid", [0.0]).records
    assert (row.value, row.derivative, row.ten_layers) == (0.5, 0.25, 0.25**10)


def test_nan_and_infinities_pass_through() -> None:
    nan, low, high = evaluate("gelu", [math.nan, -math.inf, math.inf]).records
    assert math.isnan(nan.value)
    assert math.isnan(nan.derivative)
    assert (low.value, low.derivative) == (0, 0)
    assert (high.value, high.derivative) == (math.inf, 1)


def test_alpha_goes_to_those_that_have_one() -> None:
    result = curves(["relu", "elu", "leaky-relu"], alpha=0.7)
    assert [c.parameters for c in result.curves] == [{}, {"alpha": 0.7}, {"alpha": 0.7}]
    with pytest.raises(GradflowError, match="alpha"):
        curves(["relu", "gelu"], alpha=0.7)


def test_a_curve_knows_its_kinks_and_plateaus_within_the_range() -> None:
    (info,) = curves(["hardtanh"], -0.5, 3).curves
    assert info.kinks == (1,)
    ((start, stop),) = info.saturated
    assert start == pytest.approx(1, abs=1e-9)
    assert stop == 3


def test_an_alias_drawn_twice_is_one_curve() -> None:
    assert [c.activation for c in curves(["swish", "silu"]).curves] == ["silu"]


def test_the_catalogue_has_every_activation_with_its_slope() -> None:
    rows = {row.name: row for row in catalogue().records}
    assert list(rows) == list(ACTIVATIONS)
    assert rows["sigmoid"].max_slope == 0.25
    assert rows["relu"].critical_gain == pytest.approx(math.sqrt(2))
    assert rows["tanh"].critical_gain == pytest.approx(1)
    assert rows["relu"].relative_cost is None
    assert catalogue().note is None


def costing(**factors: float) -> ActivationsResult:
    """Costs of 2, the middle half of the rounds within a factor of 1.1 or as given."""
    spread = {name: factors.get(name, 1.1) for name in ACTIVATIONS}
    return catalogue({n: Cost(2.0, 2.0, 2.0 * factor, 25) for n, factor in spread.items()})


def test_costs_say_how_far_they_are_to_be_believed() -> None:
    (relu,) = [row for row in costing().records if row.name == "relu"]
    assert (relu.relative_cost, relu.relative_cost_low) == (2.0, 2.0)
    assert relu.relative_cost_high == pytest.approx(2.2)
    assert costing(mish=1.3).note == (
        "costs: medians of 25 rounds on one thread; the middle half of the rounds lies within a "
        "factor of 1.10, of mish 1.30"
    )
    assert costing(mish=4.0).note.endswith(  # type: ignore[union-attr]
        "of mish 4.00; the machine is busy: measure again on a quiet one"
    )


def test_costs_are_quartiles_of_the_rounds() -> None:
    found = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.low, found.median, found.high, found.rounds) == (2.0, 3.0, 4.0, 5)


@pytest.mark.parametrize(("busy_until", "rounds"), [(0, 6), (4, 12), (99, 18)])
def test_rounds_are_repeated_until_the_costs_hold_still(
    monkeypatch: pytest.MonkeyPatch, busy_until: int, rounds: int
) -> None:
    """A machine on which a measurement takes anything from once to nine times as long."""
    made = itertools.count(-2)  # two rounds to warm up

    def one_round(modules: Any, inputs: Any) -> dict[str, float]:
        number = next(made)
        return {"relu": 1.0, "elu": 9.0 if number < busy_until and number % 2 else 1.0}

    monkeypatch.setattr(costs, "ROUNDS", 6)
    monkeypatch.setattr(costs, "every", lambda: ("relu", "elu"))
    monkeypatch.setattr(costs, "_round", one_round)
    assert costs.relative_costs()["elu"].rounds == rounds


def test_slopes_whose_product_is_beyond_doubles_are_looked_at_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    curves(["elu", "relu"], alpha=-1e308)
    assert list(recwarn) == []


def test_a_tenth_power_beyond_doubles_is_infinite(run: Any) -> None:
    done = run("eval", "leaky-relu", "--alpha", "1e40", "--at", "-1")
    assert done.exit_code == 0, done.output
    assert "multiply a gradient by inf" in " ".join(done.output.split())
