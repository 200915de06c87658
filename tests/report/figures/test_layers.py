"""Layers in figures: named, at any number of them, and a line for each role."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from support.figure_results import (
    ROLES,
    diagnosed,
    line,
    long_names,
    named_diagnosis,
    named_watch,
    panels,
    shown,
    transformer,
    words,
)

from gradflow.report.figures import layers


def labels(axes: Axes, axis: str) -> list[str]:
    return [t.get_text() for t in getattr(axes, f"{axis}axis").get_ticklabels()]


def role_lines(axes: Axes) -> list[list[float]]:
    """The lines through more than a layer, each as the layers' numbers."""
    return [list(x.get_xdata()) for x in axes.get_lines() if x.get_linestyle() == "-"]


@pytest.mark.parametrize("name", ["diagnose long names", "diagnose roles"])
def test_diagnose_names_layers_however_many_there_are(name: str) -> None:
    said = labels(shown(name)[-1], "x")
    assert 12 <= len(set(said)) == len(said) <= layers.MOST
    assert said[0].startswith("1 ")
    assert max(map(len, said)) <= layers.LETTERS + 4


def test_a_name_that_is_a_number_has_no_second_one_beside_it() -> None:
    assert labels(panels(named_diagnosis(["0", "2", "head"]))[-1], "x") == ["0", "2", "3 head"]


def test_names_that_count_the_layers_are_numbers() -> None:
    assert layers.lines(diagnosed(-1.0, -2.0).records)[1].size == 0
    assert all(text.isdigit() for text in labels(panels(diagnosed(-3.0, -2.0, -1.0))[-1], "x"))


def test_diagnose_draws_a_line_for_each_role() -> None:
    result = named_diagnosis(transformer(50))
    flow = panels(result)[0]
    found = [x for x in role_lines(flow) if len(x) > 2]
    assert sorted(x for x in found if x) == [list(range(2 + i, 202, 4)) for i in range(len(ROLES))]
    for x in flow.get_lines():
        if x.get_linestyle() == "-" and len(x.get_xdata()) == 50:
            assert (np.diff(np.asarray(x.get_ydata(), dtype=float)) > 0).all()  # no zigzag
    assert {text.get_text() for text in flow.texts} >= set(ROLES)
    assert "a line for each role" in words(flow)


def test_layers_one_after_the_other_are_one_line() -> None:
    convolutions = [f"features.{i}" for i in range(8)] + ["classifier.0", "classifier.3"]
    flow = panels(named_diagnosis(convolutions))[0]
    assert list(line(flow, "measured").get_xdata()) == list(range(1, 11))
    assert "role" not in words(flow)


def test_what_is_measured_in_some_layers_alone_is_still_a_line() -> None:
    result = named_diagnosis(transformer(50), activation_mean=None)
    some = [
        row if "fc1" not in row.name else row.__class__(**{**vars(row), "activation_mean": 0.5})
        for row in result.records
    ]
    units = panels(result.__class__(**{**vars(result), "records": tuple(some)}))[1]
    assert list(line(units, "mean").get_xdata()) == list(range(5, 202, 4))


def test_watch_puts_the_layers_of_a_role_together() -> None:
    heat = panels(named_watch(transformer(50)))[1]
    assert labels(heat, "y") == list(ROLES)
    table = np.asarray(heat.get_images()[0].get_array())[:, 0]
    of_queries = np.arange(2, 202, 4) / 1e3
    assert table[:50] == pytest.approx(of_queries)
    assert table[-2:] == pytest.approx([0.001, 0.202])  # embedding and head
    (dead,) = [x for x in heat.get_lines() if x.get_marker() == "X"]
    assert list(dead.get_ydata()) == [51]  # layer 3, the first of the keys


def test_watch_keeps_few_layers_in_their_order() -> None:
    assert labels(shown("watch few roles")[1], "y")[:2] == [
        "1 embed",
        "2 model.layers.0.attn.q_proj",
    ]


def test_watch_names_every_so_many_of_layers_that_are_alike() -> None:
    said = labels(panels(named_watch(long_names(300)))[1], "y")
    assert 12 <= len(set(said)) == len(said) <= layers.MOST
    assert said[0].startswith("1 a_block")


def test_roles_are_told_by_what_differs() -> None:
    joined, _ = layers.lines(named_watch(transformer(50)).records)
    assert layers.role_words(joined, 20) == list(ROLES)
    assert layers.role_words(joined[:1], 30) == ["model.layers.*.attn.q_proj"]
