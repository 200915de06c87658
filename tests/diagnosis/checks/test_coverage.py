"""What was measured of a model and how, said from facts made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks.coverage import repeated, uncovered, unreached
from gradflow.findings.thresholds import UNCOVERED

ROWS: list[dict[str, Any]] = [{}, {}, {}]


@pytest.mark.parametrize(
    ("layers", "hidden", "severity"),
    [
        ((1, 2), 2, "error"),
        ((2,), 2, "warning"),
        ((1, 3), 2, "warning"),
        ((1, 2), 0, "warning"),  # without hidden layers, of all
        ((1, 2, 3), 0, "error"),
        ((), 2, None),
    ],
)
def test_unreached_layers_are_an_error_where_they_are_all(
    layers: tuple[int, ...], hidden: int, severity: str | None
) -> None:
    found = list(unreached(network(*ROWS, hidden=hidden, unreached=layers)))
    assert [(one.severity, one.layers) for one in found] == ([(severity, layers)] if layers else [])


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (((1, 5),), "l1 is called 5 times"),
        (((1, 5), (2, 5)), "l1 to l2 are called 5 times"),
        (((1, 5), (2, 3), (3, 4)), "l1 to l3 are called 3 to 5 times"),
    ],
)
def test_layers_called_several_times(calls: tuple[tuple[int, int], ...], words: str) -> None:
    (found,) = repeated(network(*ROWS, repeated=calls))
    assert words in found.message
    assert found.layers == tuple(number for number, _ in calls)


@pytest.mark.parametrize(
    ("share", "severity"), [(UNCOVERED, "info"), (1.01 * UNCOVERED, "warning"), (0.0, "info")]
)
def test_trained_entries_in_no_row_are_a_warning_where_they_are_many(
    share: float, severity: str
) -> None:
    (found,) = uncovered(network(*ROWS, uncovered=("a",), uncovered_share=share))
    assert found.severity == severity


@pytest.mark.parametrize(
    ("names", "words"),
    [("abcd", "them: a, b, c, d"), ("abcde", "them: a, b, c, d and 1 more")],
)
def test_the_share_and_a_few_names_are_said(names: str, words: str) -> None:
    (found,) = uncovered(network(*ROWS, uncovered=tuple(names), uncovered_share=0.1))
    assert found.message.startswith("10 % ")
    assert found.message.endswith(words)


def test_a_script_is_said_whether_all_is_covered_or_not() -> None:
    assert [one.severity for one in uncovered(network(*ROWS, scripted=True))] == ["info"]
    assert len(list(uncovered(network(*ROWS, scripted=True, uncovered=("a",))))) == 2
    assert not list(uncovered(network(*ROWS)))
