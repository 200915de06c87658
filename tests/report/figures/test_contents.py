"""Figures: what is drawn is what the result says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from support.figure_results import (
    EXAMPLES,
    INF,
    NAN,
    catalogue,
    chained,
    clip_suggested,
    clipped,
    clipped_sequence,
    diagnosed,
    drawn,
    evaluated,
    flowing,
    layer,
    line,
    panels,
    plot,
    shaded,
    shown,
    trained,
    watched,
    words,
)

from gradflow.activations import ACTIVATIONS
from gradflow.functions.evaluate import curves
from gradflow.report.figures import benchmark_flow, draw
from gradflow.report.figures.plot import split
from gradflow.report.style import FAULT, GREY, PALE, colour, contrast
from gradflow.results.benchmark import BenchmarkResult, Setting
from gradflow.results.diagnosis import DiagnosisResult

# plot


def test_plot_draws_the_points_of_the_result():
    result = plot("relu")
    above, below = panels(result)
    x = [row.x for row in result.records]
    assert drawn(line(above, "relu")) == (x, [row.value for row in result.records])
    at, slopes = drawn(line(below, "relu"))
    expected = {row.x: row.derivative for row in result.records}
    assert {p: s for p, s in zip(at, slopes, strict=True) if p != 0} == {
        p: s for p, s in expected.items() if p != 0
    }


def test_a_jump_of_the_slope_is_open_on_one_side_and_has_no_line_through_it():
    below = panels(plot("relu"))[1]
    x, y = line(below, "relu").get_data()
    at_kink = y[x == 0]
    assert at_kink[0] == 0  # f'(0) is that of the x <= 0 branch
    assert math.isnan(at_kink[1])
    assert at_kink[2] == 1
    marks = {
        tuple(mark.get_ydata()): mark.get_markerfacecolor()
        for mark in below.get_lines()
        if list(mark.get_xdata()) == [0]
    }
    assert marks == {(0,): colour("relu"), (1,): "white"}


def test_the_sides_of_a_kink_between_samples_are_extrapolated_to_it():
    x = np.array([-1.5, -0.5, 0.5, 1.5])
    at, slopes = split(x, np.array([1.0, 2.0, 7.0, 6.0]), (0.0,))
    assert slopes[at == 0] == pytest.approx([2.5, NAN, 7.5], nan_ok=True)


def test_a_kink_that_takes_its_right_hand_value_is_filled_there():
    x = np.array([-2.0, -1, 0, 1, 2])
    at, slopes = split(x, np.array([1.0, 1, 0, 0, 0]), (0.0,))  # hardtanh at 1
    assert slopes[at == 0] == pytest.approx([1, NAN, 0], nan_ok=True)


def test_plot_says_what_a_slope_of_1_is_and_shades_saturation():
    above, below = panels(plot("relu"))
    assert "f′ = 1: neither shrinks nor grows" in words(below)
    assert "saturated" in words(below)
    assert shaded(above, PALE) == shaded(below, PALE) == [(-2, 0)]
    assert any(list(ln.get_ydata()) == [1, 1] for ln in below.get_lines())


def test_overlaid_curves_are_named_at_their_ends_and_saturation_is_a_strip():
    above, below, strip = panels(plot("relu", "tanh", "gelu"))
    assert {text.get_text() for text in above.texts} == {"relu", "tanh", "gelu"}
    assert not shaded(below, PALE)
    assert [t.get_text() for t in strip.get_yticklabels()] == ["relu", "tanh", "gelu"]


def test_many_curves_have_a_panel_each():
    shown_titles = [axes.get_title("center") for axes in shown("plot crowded")]
    assert shown_titles == list(ACTIVATIONS)


def test_a_grid_says_that_f_is_cut_and_cuts_no_slope():
    figure = draw(curves(["relu", "leaky-relu"], alpha=-7.0, grid=True))
    (legend,) = figure.legends
    assert "f (cut off at the edges)" in [t.get_text() for t in legend.get_texts()]
    assert figure.axes[0].get_ylim()[0] < -7


@pytest.mark.parametrize("low", [-5, 2])
def test_a_title_s_slope_that_is_not_drawn_is_told_from_those_that_are(low):
    title = curves(["sigmoid"], low, 5).title
    assert "largest: 0.25" in title
    assert ("where it is drawn: 0.105" in title) == (low == 2)


def test_the_minimum_of_gelu_is_no_saturation():
    (curve,) = curves(["gelu"], -5, 5).curves
    assert [round(high) for _, high in curve.saturated] == [-3]
    (swish,) = curves(["silu"], -2, 0).curves
    assert swish.saturated == ()


def test_derivative_only_leaves_f_out():
    (axes,) = panels(plot("relu", derivative_only=True))
    assert axes.get_ylabel() == "f′(x)"


def test_a_grid_has_a_panel_each_with_f_and_its_slope_on_shared_axes():
    small = shown("plot grid")
    assert [axes.get_title("center") for axes in small] == list(ACTIVATIONS)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in small}) == 1
    for axes, name in zip(small, ACTIVATIONS, strict=True):
        tints = [ln.get_color() for ln in axes.get_lines() if len(ln.get_xdata()) > 2]
        assert tints == [GREY, colour(name)]


# eval, activations


def test_eval_draws_every_finite_point_once_for_each_time_it_was_asked_for():
    above, below = shown("eval")
    assert drawn(above.get_lines()[0]) == ([-1, 1, 1, 2], [0, 1, 1, 2])
    assert drawn(below.get_lines()[0]) == ([-1, 1, 1, 2], [0, 1, 1, 1])


def test_eval_joins_no_slopes_across_a_kink():
    below = panels(evaluated((-2, 0, 0), (-1, 0, 0), (1, 1, 1), (2, 2, 1)))[1]
    assert np.isnan(below.get_lines()[0].get_ydata()).tolist() == [False, False, True, False, False]


def test_eval_says_what_it_cannot_draw():
    above, _ = shown("eval not finite")
    assert drawn(above.get_lines()[0]) == ([1], [1])
    assert "3 of 4 points are not finite" in words(above)
    assert "no point with finite values" in words(shown("eval empty")[0])


def test_activations_are_sorted_by_slope_with_a_line_at_1():
    slopes, gains = panels(catalogue())
    assert [t.get_text() for t in slopes.get_yticklabels()] == ["gelu", "relu", "sigmoid"]
    dots = [ln.get_xdata()[0] for ln in slopes.get_lines() if ln.get_marker() == "o"]
    assert dots == [1.13, 1.0, 0.25]
    assert any(list(ln.get_xdata()) == [1, 1] for ln in slopes.get_lines())
    assert gains.get_xscale() == "log"
    assert "none" in words(gains)  # GELU has no critical gain


def test_costs_are_drawn_only_where_they_were_measured():
    assert len(panels(catalogue())) == 2
    assert panels(catalogue(2.0))[2].get_xlabel() == "cost / cost of ReLU"


# chain


def test_chain_is_a_staircase_from_1_through_every_product():
    result = chained(0.25, -0.5, 0.1)
    (axes,) = panels(result)
    (stairs,) = [ln for ln in axes.get_lines() if ln.get_drawstyle() == "steps-post"]
    logs = [row.product_log10 for row in result.records]
    assert stairs.get_ydata().tolist() == pytest.approx([0.0, *logs, logs[-1]])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["w0\n0.25", "w1\n−0.5", "w2\n0.1"]


def test_chain_shows_the_sign_of_every_product():
    (axes,) = panels(chained(0.25, -0.5, 0.1, -1))
    assert list(line(axes, "positive").get_xdata()) == [1, 4]
    assert list(line(axes, "negative").get_xdata()) == [2, 3]


def test_chain_reaches_beyond_doubles():
    (axes,) = panels(chained(*[1e-200] * 5))
    assert axes.get_yticklabels()[0].get_text() == r"$\mathdefault{10^{-1000}}$"


def test_chain_says_which_factor_is_0():
    (axes,) = shown("chain dead")
    assert "product = 0 from w1 on" in words(axes)
    assert shaded(axes, FAULT)[0][0] == 1.5  # from the second factor on


# diagnose


def test_diagnose_lays_the_prediction_over_the_measurement():
    flow = shown("diagnose")[0]
    assert drawn(line(flow, "measured")) == ([1, 2, 3, 4], [-9, -6, -3, -0.5])
    assert drawn(line(flow, "theory")) == ([1, 2, 3, 4], [-2] * 4)
    assert line(flow, "theory").get_linestyle() == "--"


def test_diagnose_without_a_prediction_or_band_draws_and_names_neither():
    flow = panels(diagnosed(-9, -6, -3, -0.5))[0]
    assert drawn(line(flow, "theory")) == ([], [])
    assert "theory" not in words(flow)
    assert "seeds" not in words(flow)


def test_diagnose_draws_the_band_over_seeds():
    result = diagnosed(-3, -2, -1)
    rows = tuple(
        replace(
            r, delta_log10_rms_low=r.delta_log10_rms - 1, delta_log10_rms_high=r.delta_log10_rms + 2
        )
        for r in result.records
    )
    flow = panels(replace(result, records=rows))[0]
    corners = flow.collections[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} >= {(1, -4), (1, -1), (3, -2), (3, 1)}
    assert "5 to 95 % of 3 seeds" in words(flow)


@pytest.mark.parametrize(
    ("deltas", "named"),
    [
        ((-9, -1), {"fp16"}),
        ((-60, -1), {"fp16", "fp32"}),
        ((-850, 0), {"fp16", "fp32", "fp64"}),
        ((-1, 0), set()),
    ],
)
def test_diagnose_draws_the_formats_that_lose_something_here(deltas, named):
    said = words(panels(diagnosed(*deltas))[0])
    assert {name for name in ("fp16", "fp32", "fp64") if f"{name}: below it" in said} == named


def test_diagnose_shades_the_layers_at_fault_in_every_panel():
    for axes in shown("diagnose"):
        assert shaded(axes, FAULT) == [(0.5, 2.5)]


def test_diagnose_draws_mean_deviation_and_fractions():
    _, units, shares = shown("diagnose")
    assert drawn(line(units, "mean"))[1] == [0.5] * 4
    edges = units.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((0.3, 0.7))  # variance 0.04
    drawn_shares = {n: drawn(line(shares, n))[1][0] for n in ("dead units", "saturated", "zero")}
    assert drawn_shares == {"dead units": 0.1, "saturated": 0.2, "zero": 0.5}


def test_diagnose_says_what_no_log_axis_can_show():
    assert "δ = 0 in every layer" in words(shown("diagnose dead")[0])
    broken = words(shown("diagnose broken")[0])
    assert "△ δ is infinite" in broken
    assert "× δ is not a number" in broken
    assert "not measured in any layer" in words(shown("diagnose unmeasured")[0])


def test_diagnose_marks_single_layers_only_where_there_are_few():
    assert line(panels(diagnosed(-1.0, -2.0))[0], "measured").get_marker() == "o"
    deep = line(shown("diagnose deep")[0], "measured")
    assert deep.get_marker() == ""
    assert len(deep.get_xdata()) == 10_000


def test_exploding_activations_are_drawn_on_a_log_axis_to_both_sides():
    rows = [layer(i, 0.0, activation_variance=100.0**i) for i in range(1, 6)]
    result = DiagnosisResult(records=tuple(rows), hidden=4)
    assert panels(result)[1].get_yscale() == "symlog"
    assert shown("diagnose")[1].get_yscale() == "linear"


# clip


def test_clip_draws_the_shares_and_says_length_and_angle():
    axes = panels(clipped())[0]
    bars = {c.get_label(): [bar.get_height() for bar in c] for c in axes.containers}
    assert bars == {
        "raw gradient, ‖g‖ = 9×10⁶": [0.1, 0.9],
        "clipped by value: ‖g‖ 9×10⁶ → 0.5, turned by 60° (cosine 0.500)": [0.5, 0.5],
        "clipped by norm: ‖g‖ 9×10⁶ → 0.5, direction kept": [0.1, 0.9],
    }


def test_clip_draws_norm_and_loss_on_log_axes_with_the_threshold():
    _, norms, losses = panels(clipped())
    assert norms.get_yscale() == losses.get_yscale() == "log"
    assert drawn(line(losses, "value"))[1] == [*(2.0 + i for i in range(1, 20)), 1.0]
    assert "threshold" in words(norms)
    assert any(list(ln.get_ydata()) == [0.5, 0.5] for ln in norms.get_lines())


def test_clip_without_steps_has_only_its_upper_panel():
    assert len(panels(clipped(steps=0))) == 1


def test_a_loss_that_is_not_finite_ends_its_line_with_a_cross():
    losses = shown("clip diverged")[2]
    crosses = [ln.get_data() for ln in losses.get_lines() if ln.get_marker() == "X"]
    assert [(float(x[0]), float(y[0])) for x, y in crosses] == [(20, 21)]  # not a step before
    assert "none = value = norm ×" in words(losses)  # the same course under all of them


def test_panels_without_a_number_say_so():
    assert "no loss is finite" in words(shown("clip diverged at once")[2])
    assert "no gradient arrives" in words(shown("clip dead sequence")[3])


def test_equal_courses_are_one_line_in_the_colours_of_all_that_go_it():
    *_, losses = panels(clipped())
    lines = [ln for ln in losses.get_lines() if len(ln.get_xdata()) == 20]
    assert len({ln.get_color() for ln in lines}) == 3
    assert len({str(ln._dash_pattern) for ln in lines}) == 3  # none hides another
    assert "none = value = norm" in words(losses)


def test_a_policy_that_diverges_ends_in_a_cross_where_the_others_can_still_be_read():
    _, _, losses, _ = shown("clip sequence")
    _, y = drawn(line(losses, "none"))
    assert np.nanmax(y) <= 100 * 21  # of at most 21 under the other policies
    (cross,) = [ln.get_data() for ln in losses.get_lines() if ln.get_marker() == "X"]
    assert float(cross[0][0]) == 14  # where it ended, not where it left the page
    assert "none ×" in words(losses)
    assert "input ignored" in words(losses)


def test_the_bands_are_the_range_over_seeds():
    _, _, losses, _ = panels(clipped_sequence())
    band = losses.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.5)
    assert band[:, 1].max() == pytest.approx(42)


def test_the_gradient_over_a_sequence_is_drawn_by_its_steps():
    flow = panels(clipped_sequence())[3]
    (course,) = flow.get_lines()
    assert list(course.get_ydata())[-1] == 0
    assert flow.get_xlabel() == "step of the sequence"


def test_a_suggestion_draws_the_norms_and_every_threshold_tried():
    norms, losses, engaged = panels(clip_suggested())
    assert [bar.get_height() for bar in norms.patches] == [7] * 4
    lines = sorted(float(ln.get_xdata()[0]) for ln in norms.get_lines())
    assert lines == [1, 2, 4]
    assert "suggested 2" in words(norms)
    assert "heavy tail (index 0.9)" in words(norms)
    assert drawn(line(losses, "clipped"))[1] == [0.5, 0.1, 0.5]
    assert drawn(line(engaged, "clipped"))[1] == pytest.approx([0.6, 0.3, 0.15])
    assert "unclipped" in words(losses)
    assert "unclipped training diverges" in words(panels(clip_suggested(2.0, math.inf))[1])


# theory


def test_theory_draws_the_edge_and_puts_the_network_beside_it():
    phases, _ = shown("theory")
    weight, bias = line(phases, "edge of chaos").get_data()
    assert list(weight) == pytest.approx([1 + b for b in bias])
    dot = line(phases, "this network")
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([0.7], [0])
    for said in ("ordered: gradients vanish", "chaotic: gradients explode", "(ordered)"):
        assert said in words(phases)


def test_theory_draws_the_gradient_by_layer():
    flow = shown("theory")[1]
    assert ([1, 2, 3], [-2, -1, 0]) in [drawn(ln) for ln in flow.get_lines()]
    assert "χ = 0.8" in words(flow)


def test_theory_without_an_edge_still_shows_the_network():
    phases, _ = shown("theory far")
    assert "no edge of chaos here" in words(phases)
    assert line(phases, "this network")


# benchmark


def test_benchmark_draws_the_mean_over_seeds_and_names_it_with_its_last_value():
    accuracy, loss = panels(trained(5))
    x, y = drawn(line(accuracy, "elu"))
    assert x == [1, 2, 3, 4, 5]
    assert y == pytest.approx([0.973] * 5)  # of 0.972 and 0.974
    assert "elu 97.30 %" in words(accuracy)
    assert "range over 2 seeds" in words(accuracy)
    assert loss.get_yscale() == "log"


def test_benchmark_leaders_lie_apart_although_one_activation_learns_nothing():
    accuracy = panels(trained(5))[0]
    assert accuracy.get_ylim()[0] < 0.1
    bottom, nearly, top = accuracy.transData.transform([(1, 0.1), (1, 0.971), (1, 0.976)])[:, 1]
    assert (top - nearly) / (top - bottom) > 0.05  # 0.6 % on a linear axis


def test_benchmark_after_one_epoch_is_a_point_per_activation():
    accuracy, loss = panels(trained(1))
    assert [list(ln.get_xdata()) for ln in accuracy.get_lines()] == [[i] for i in range(6)]
    assert [t.get_text() for t in loss.get_xticklabels()] == list(ACTIVATIONS)[:6]


def test_benchmark_says_where_nothing_was_trained_or_nothing_is_finite():
    assert "no epoch was finished" in words(panels(BenchmarkResult())[0])
    assert "no value is finite" in words(shown("benchmark diverged")[1])


def test_benchmark_s_flow_is_a_heat_map_of_layer_by_epoch():
    _, _, *maps = shown("benchmark flow")
    images = [axes.get_images()[0] for axes in maps if axes.get_images()]
    assert len(images) == 2 * len(benchmark_flow.HEAT_MAPS)  # for each of the two settings
    norms = images[0].get_array()
    assert norms.shape == (4, 3)
    assert list(norms[:, 0]) == pytest.approx([0.0055, 0.055, 0.55, 5.5])  # means over two seeds
    assert np.isnan(
        benchmark_flow.table(flowing(1, Setting()).flow, "activation_variance")[3]
    ).all()


def test_a_benchmark_s_grid_is_named_by_what_varies_in_colours_of_its_own():
    accuracy, *_ = shown("benchmark grid")
    lines = [ln for ln in accuracy.get_lines() if ln.get_label().startswith("lr")]
    assert [ln.get_label() for ln in lines[:2]] == ["lr 1", "lr 0.1"]
    assert len({(ln.get_color(), ln.get_linestyle()) for ln in lines}) == 8
    fig = draw(EXAMPLES["benchmark grid"])
    assert "2 more are not drawn" in fig.subfigs[1].get_suptitle()


def test_a_grid_of_activations_keeps_their_colours_lighter_for_further_settings():
    settings = [Setting(activation=n, lr=lr) for lr in (0.1, 0.01) for n in ("relu", "elu")]
    accuracy = panels(flowing(3, *settings))[0]
    tints = {ln.get_label(): ln.get_color() for ln in accuracy.get_lines()}
    assert tints["relu, lr 0.1"] == to_hex(colour("relu"))
    assert tints["elu, lr 0.1"] == to_hex(colour("elu"))
    assert contrast(tints["relu, lr 0.01"]) < contrast(tints["relu, lr 0.1"])
    assert len({tints[name] for name in tints if "lr" in name}) == 4


def test_heat_maps_name_their_first_and_last_epoch():
    *_, last = [axes for axes in shown("benchmark flow") if axes.get_images()]
    assert list(last.get_xticks()) == [1, 3]


def test_an_axis_of_errors_says_that_it_is_one():
    assert "accuracy by its errors, on a log axis" in words(shown("benchmark")[0])


# watch


def test_watch_tells_a_gradient_of_0_from_one_that_is_not_finite_and_from_none():
    result = watched(3)
    values = {1: -INF, 2: NAN, 3: INF, 4: None}
    history = [
        replace(row, gradient_log10_norm=values[row.index]) if row.step == 2 else row
        for row in result.history
    ]
    norms = [replace(row, norm_before=INF if row.step == 3 else 1.0) for row in result.steps]
    top, heat, _ = panels(replace(result, history=tuple(history), steps=tuple(norms)))
    assert words(heat) == "black: gradient exactly 0; orange: not finite; grey: not recorded"
    _, black, red = (np.ma.getdata(image.get_array()) for image in heat.get_images())
    assert np.argwhere(black == 1).tolist() == [[0, 1]]
    assert np.argwhere(red == 1).tolist() == [[1, 1], [2, 1]]
    (cross,) = [ln for ln in top.get_lines() if ln.get_marker() == "X"]
    assert float(cross.get_xdata()[0]) == 3
