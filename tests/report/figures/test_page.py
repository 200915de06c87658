"""What the figures share: words, ticks, labels at the ends of lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.report.figures import line_labels, log_axes, page


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2), st.booleans())
def test_labels_are_spread_without_overlap_in_their_order(wanted, height, two_lines):
    heights = np.full(len(wanted), height)
    heights[0] *= 1 + two_lines
    placed = line_labels.spread(np.array(wanted), heights)
    order = np.argsort(wanted, kind="stable")
    needed = (heights[order][1:] + heights[order][:-1]) / 2
    assert (np.diff(placed[order]) >= needed - 1e-9).all()
    if needed.sum() <= 1:
        assert placed.min() >= -1e-9
        assert placed.max() <= 1 + 1e-9


def test_labels_with_room_stay_at_their_lines():
    wanted = np.array([0.9, 0.1, 0.5])
    assert line_labels.spread(wanted, np.full(3, 0.1)) == pytest.approx(wanted)


def test_labels_that_share_a_place_are_moved_to_both_sides_of_it():
    assert line_labels.spread(np.array([0.5, 0.5]), np.full(2, 0.1)) == pytest.approx([0.45, 0.55])


def test_powers_of_ten_are_written_as_numbers_only_where_all_of_them_are_short():
    assert log_axes.power_labels([-2, 0, math.log10(5)]) == ["0.01", "1", "5"]
    assert log_axes.power_labels([-8, 0]) == [r"$\mathdefault{10^{-8}}$", "1"]


@given(st.floats(-900, 300), st.floats(0.01, 900))
def test_a_log_axis_always_has_a_few_ticks_inside_of_it(low, span):
    ticks = log_axes.log_ticks(low, low + span)
    assert 2 <= len(ticks) <= 15
    assert all(low <= tick <= low + span for tick in ticks)
    assert len(set(log_axes.power_labels(ticks))) == len(ticks)


def test_minus_signs_are_no_hyphens():
    said = page.minus_signs("leaky-relu: 2 - 0.5·(-1.2e-05) = 10^-3")
    assert said == "leaky-relu: 2 − 0.5·(−1.2e−05) = 10^−3"


def test_layers_in_a_row_are_one_run():
    assert page.runs((7, 1, 2, 3, 8)) == [(1, 3), (7, 8)]


def test_lines_of_a_title_have_about_the_same_length():
    assert page.balanced("one two three four", 15) == "one two\nthree four"


def test_lines_on_one_another_are_drawn_the_wider_the_further_beneath():
    x = np.linspace(-5, 5, 101)
    relu, other = np.maximum(x, 0), x**2
    one = page.widths([relu])[0]
    assert page.widths([relu, other]) == [one, one]
    widths = page.widths([relu, np.where(x < 0, 0.2 * x, x), relu, other])
    assert widths[0] > widths[1] > widths[2] == widths[3] == one
    assert page.widths([np.full(3, np.nan)] * 2) == [one, one]
    assert page.widths([]) == []


@pytest.mark.parametrize(("height", "above"), [(3.0, ""), (0.0, "dashed: limit")])
def test_a_reference_line_among_others_is_named_in_the_caption(height: float, above: str) -> None:
    axes = page.blank("title", 3).subplots()
    axes.plot(range(100), [math.sin(step) for step in range(100)])
    axes.set_ylim(-4, 4)
    page.beside_line(axes, height, "limit", or_above=True)
    assert axes.get_title(loc="left") == above
    assert [text.get_text() for text in axes.texts] == ([] if above else ["limit"])
