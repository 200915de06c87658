"""Figures: titled with the answer, readable, in one style, the same every time."""

from __future__ import annotations

import itertools
import pkgutil
import subprocess
import sys
from importlib import import_module

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from support.figure_results import (
    ALL,
    EXAMPLES,
    catalogue,
    laid_out,
    line,
    panels,
    plot,
    shown,
    trained,
)

import gradflow.results
from gradflow import report
from gradflow.activations import ACTIVATIONS
from gradflow.errors import GradflowError
from gradflow.report import figures
from gradflow.report.figures import page
from gradflow.report.style import PALETTE, colour, contrast, ink
from gradflow.report.writers import SOFTWARE
from gradflow.results.base import Result


def test_every_command_that_has_a_result_has_a_figure():
    for module in pkgutil.iter_modules(gradflow.results.__path__):
        import_module(f"gradflow.results.{module.name}")
    own = {c for c, cls in Result.REGISTRY.items() if cls.__module__.startswith("gradflow.")}
    own -= {"explain", "explain-list"}  # words alone
    assert own == set(figures.FIGURES)
    assert {result.command for result in EXAMPLES.values()} == own


def test_a_command_without_a_figure_is_refused_in_a_line():
    with pytest.raises(GradflowError, match="no figure of ''"):
        figures.draw(Result())


@pytest.mark.parametrize("name", ALL)
def test_the_title_is_the_answer(name):
    heading = laid_out(name).get_suptitle()
    assert heading.replace("\n", " ") == page.minus_signs(ALL[name].title)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_axis_is_labelled(name):
    for axes in shown(name):
        place = axes.get_subplotspec()
        if place is None:  # a colour bar: what it measures stands at its row
            continue
        named = {text.get_text() for text in axes.get_yticklabels()} & set(ACTIVATIONS)
        shared = not place.is_first_col() or name in (
            "plot grid",
            "plot crowded",
        )  # whose key names the lines
        assert axes.get_xlabel() or not place.is_last_row()
        assert axes.get_ylabel() or named or shared


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_cut_off(name):
    figure = laid_out(name)
    drawn, size = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 > -0.02
    assert drawn.y0 > -0.02
    assert drawn.x1 < size[0] + 0.02
    assert drawn.y1 < size[1] + 0.02


@pytest.mark.parametrize("name", ALL)
def test_no_words_overlap(name):
    figure = laid_out(name)
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in written(figure)]  # no leaders
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1 or height < 2, (first, second)


def written(figure: Figure) -> list[Text]:
    """Every text of a figure that is seen."""
    texts = [figure._suptitle, *(t for legend in figure.legends for t in legend.get_texts())]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        legend = axes.get_legend()
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        texts += legend.get_texts() if legend else []
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


# Files


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("plot overlaid", ".svg"), ("diagnose", ".svg"), ("benchmark", ".png"), ("chain", ".pdf")],
)
def test_the_same_result_makes_the_same_file(tmp_path, name, suffix):
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    report.save(EXAMPLES[name], one)
    report.save(EXAMPLES[name], two)
    assert one.read_bytes() == two.read_bytes()


def test_a_png_says_early_who_made_it(tmp_path):
    path = tmp_path / "relu.PNG"
    report.save(EXAMPLES["plot"], path)
    head = path.read_bytes()[:4096]
    assert head.startswith(b"\x89PNG")
    assert b"tEXtSoftware\0" + SOFTWARE.encode() in head


def test_a_png_is_sharp_enough_for_print(tmp_path):
    path = tmp_path / "relu.png"
    report.save(EXAMPLES["plot"], path)
    assert int.from_bytes(path.read_bytes()[16:20], "big") >= 1200  # width, in IHDR


def test_svg_and_pdf_name_gradflow_and_no_date(tmp_path):
    for suffix in (".svg", ".pdf"):
        report.save(EXAMPLES["plot"], tmp_path / f"relu{suffix}")
    svg, pdf = (tmp_path / "relu.svg").read_bytes(), (tmp_path / "relu.pdf").read_bytes()
    assert SOFTWARE.encode() in svg
    assert SOFTWARE.encode() in pdf
    assert b"<dc:date>" not in svg
    assert b"CreationDate" not in pdf


def test_drawing_needs_neither_pyplot_nor_torch_nor_scipy():
    code = """
import sys
from gradflow import report
from gradflow.report import figures
from gradflow.results.activations import CurveInfoRow, CurveRow, PlotResult
rows = tuple(CurveRow("relu", x, x, 1.0) for x in (1.0, 2.0))
figures.draw(PlotResult(records=rows, curves=(CurveInfoRow("relu", "x", {}, 1.0, (), ()),)))
print({"matplotlib.pyplot", "torch", "scipy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Style


def test_the_users_own_settings_neither_change_a_figure_nor_are_changed(tmp_path):
    report.save(EXAMPLES["plot"], tmp_path / "plain.svg")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        report.save(EXAMPLES["plot"], tmp_path / "own.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "own.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_no_two_activations_look_the_same():
    assert len({colour(name) for name in ACTIVATIONS}) == len(ACTIVATIONS)
    tints = [np.array(to_rgb(colour(name))) for name in ACTIVATIONS]
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(tints, 2)) > 0.15


@pytest.mark.parametrize("name", ALL)
def test_no_marker_is_cut_at_an_edge(name):
    for axes in shown(name):
        box = axes.get_window_extent()
        for drawn in axes.get_lines():
            if drawn.get_marker() in ("", "None") or not drawn.get_clip_on():
                continue
            points = drawn.get_transform().transform(drawn.get_xydata())
            x, y = points[np.isfinite(points).all(axis=1)].T
            seen = (x > box.x0 - 1) & (x < box.x1 + 1) & (y > box.y0 - 1) & (y < box.y1 + 1)
            half = 0.4 * drawn.get_markersize() / 72 * axes.figure.dpi
            room = np.minimum.reduce([x - box.x0, box.x1 - x, y - box.y0, box.y1 - y])
            assert (room[seen] > half).all(), (axes.get_ylabel(), drawn.get_label())


@pytest.mark.parametrize("name", ALL)
def test_no_line_strikes_words_through(name):
    """Words stand clear of the lines, or on a white ground or with a white rim."""
    for axes in shown(name):
        for text in axes.texts:
            if text.get_path_effects() or text.get_bbox_patch() or not text.get_text().strip():
                continue
            box = Text.get_window_extent(text)
            if getattr(text, "arrow_patch", None) is not None or not axes.bbox.overlaps(box):
                continue  # at a line's end, outside
            height = box.height
            for drawn in axes.get_lines():
                path = drawn.get_path().transformed(drawn.get_transform())
                inner = Bbox.from_extents(
                    box.x0 + 1, box.y0 + 0.25 * height, box.x1 - 1, box.y1 - 0.25 * height
                )
                struck = drawn.get_linestyle() != "None" and path.intersects_bbox(inner, False)
                assert not struck, (text.get_text(), drawn.get_label())


@pytest.mark.parametrize("name", ALL)
def test_a_colour_bar_has_two_numbers_at_least(name):
    for axes in shown(name):
        if axes.get_label() != "<colorbar>":
            continue
        low, high = sorted(axes.yaxis.get_view_interval())
        pad = 1e-6 * (high - low)
        ticks = [t for t in axes.yaxis.get_majorticklocs() if low - pad <= t <= high + pad]
        assert len(ticks) >= 2


def test_an_activation_has_the_same_colour_in_every_figure():
    (dot,) = [x for x in panels(catalogue())[0].get_lines() if list(x.get_xdata()) == [1.13]]
    lines = [
        line(panels(plot("relu", "gelu"))[1], "gelu"),
        line(panels(trained(3))[0], "gelu"),
        dot,
    ]
    assert {x.get_color() for x in lines} == {colour("gelu")}


@pytest.mark.parametrize("tint", PALETTE)
def test_coloured_words_are_dark_enough_to_read(tint):
    assert contrast(ink(tint)) >= 4.5  # WCAG 2.1 AA


def test_contrast_is_wcags():
    assert contrast("black") == pytest.approx(21)
    assert contrast("white") == pytest.approx(1)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.005)  # WCAG's well-known near miss
