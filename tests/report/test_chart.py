"""Charts of characters: what is drawn, where it fits, and that nothing of it can fail."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradflow
from gradflow.report.chart import CHARTS, chart
from gradflow.results.base import Result
from gradflow.results.watching import WatchedModel, WatchResult, WatchStepRow

pytest.importorskip("plotille")

BLANK = "\u2800"


def watched(*losses: float | None) -> WatchResult:
    """A run of these losses."""
    return WatchResult(
        steps=tuple(WatchStepRow(n, 1.0 / n, None, False, x) for n, x in enumerate(losses, 1))
    )


def drawing(result: Result, columns: int = 80) -> list[str]:
    """The lines of a chart, without its title and its axis."""
    drawn = chart(result, columns)
    assert drawn is not None
    return drawn.splitlines()[1:-2]


def first_inked(line: str) -> int:
    """Where in a line of a chart its drawing begins."""
    return next(i for i, sign in enumerate(line) if i > 12 and sign not in f"{BLANK} ")


def test_a_falling_loss_falls() -> None:
    lines = [line for line in drawing(watched(4, 3, 2, 1)) if line.strip(f"{BLANK} 0123456789.|")]
    starts = [first_inked(line) for line in lines]
    assert starts == sorted(starts)
    assert starts[-1] > starts[0] + 30


def test_every_row_has_a_short_number() -> None:
    numbers = [float(line.split("|")[0]) for line in drawing(watched(0.913, 0.127))]
    assert numbers[0] > 0.913 - 0.1
    assert numbers[-1] <= 0.127
    assert {round(a - b, 9) for a, b in itertools.pairwise(numbers)} == {0.1}


@pytest.mark.parametrize("columns", [40, 50, 80, 100, 200])
def test_it_fits(columns: int) -> None:
    drawn = chart(watched(*(100.0 / n for n in range(1, 200))), columns)
    assert drawn is not None
    assert max(map(len, drawn.splitlines())) <= columns


@pytest.mark.parametrize(
    "result",
    [watched(), watched(1.0), watched(1e305, -1e305), gradflow.explain("dead")],
    ids=["no step", "one step", "too large", "a page"],
)
def test_what_cannot_be_drawn_is_not(result: Result) -> None:
    assert chart(result, 80) is None


def test_without_room_there_is_none() -> None:
    assert chart(watched(2, 1), 32) is None


def test_a_loss_that_was_not_seen_leaves_the_norm() -> None:
    drawn = chart(watched(None, None, None), 80)
    assert drawn is not None
    assert drawn.startswith("the gradient's norm by step")


def test_several_models_are_told_apart() -> None:
    models = tuple(WatchedModel(name=n, verdict="", optimizer="", title="", seen=2) for n in "ab")
    drawn = chart(replace(watched(2, 1), models=models), 80)
    assert drawn is not None
    assert drawn.startswith("loss of a by step")


def test_a_gap_is_not_bridged() -> None:
    whole = "".join(drawing(watched(1, 1, 1, 1)))
    parted = "".join(drawing(watched(1, 1, math.nan, math.nan, 1, 1)))
    inked = [sum(sign > BLANK for sign in text) for text in (whole, parted)]
    assert 0 < inked[1] < 0.6 * inked[0]


def test_names_that_end_in_one_row_share_it() -> None:
    drawn = chart(gradflow.curves(["relu", "elu", "sigmoid"]), 80)
    assert drawn is not None
    assert "relu, elu" in drawn
    assert "sigmoid" in drawn


def test_one_activation_has_its_slope_in_dots() -> None:
    drawn = chart(gradflow.curves("sigmoid"), 80)
    assert drawn is not None
    assert "f′(x) in dots" in drawn


@given(
    st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=12),
    st.integers(0, 120),
)
def test_whatever_the_numbers_it_is_drawn_or_not(losses: list[float | None], columns: int) -> None:
    drawn = chart(watched(*losses), columns)
    if drawn is not None:
        assert max(map(len, drawn.splitlines())) <= columns


def test_every_chart_is_of_a_command() -> None:
    assert set(CHARTS) <= set(Result.REGISTRY)
