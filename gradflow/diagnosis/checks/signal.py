"""Checks of the difference between examples, on its way to the output. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.diagnosis.checks.decades import (
    faded,
    lost_around,
    seen_output,
    signal_decades,
    signal_grade,
    together,
)
from gradflow.diagnosis.checks.layers import dead_layers, depth, hidden_rows, signal_of, spanned
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import SIGNAL_DECADES, tolerances
from gradflow.findings.words import graded, indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


@check("collapse")
def collapsing(result: DiagnosisResult) -> Iterator[Finding]:
    """Every example is mapped to nearly the same point: there is no signal to learn from."""
    lost, grade = signal_decades(result), signal_grade(result)
    if lost is None or grade is None or dead_layers(result):
        return
    bound = tolerances(result.facts.optimizer)[0].bearable_signal(result.hidden)
    rows = [row for row in hidden_rows(result) if signal_of(row) >= bound]
    sudden = _sudden(result, rows[0])
    if sudden and result.facts.small_gains:  # what the branch adds to is there
        return
    beside = sudden or lost_around(result) is not None
    how = "to 0" if lost == math.inf else f"by {lost:.1f} decades"
    yield finding(
        "collapse",
        f"the difference between examples shrinks {how} on its way forwards{grade.near}: "
        f"in {named_layers(rows)} every example is nearly the same point{grade.whom}",
        "smaller biases, weights at the critical variance, or normalisation over the batch",
        layers=indices(rows),
        severity="warning" if beside else grade.severity,
    )


def _sudden(result: DiagnosisResult, first: LayerRow) -> bool:
    """Whether the signal is good right before the first layer without one.

    So it is in a branch of its own, on a token of its own, say, behind a gain that starts small.
    """
    before = [row for row in hidden_rows(result) if row.index < first.index]
    known = [signal_of(row) for row in before if row.example_spread is not None]
    return bool(known) and known[-1] < 1 and signal_of(first) - known[-1] >= SIGNAL_DECADES


@check("collapse")
def same_outputs(result: DiagnosisResult) -> Iterator[Finding]:
    """What the loss judges is nearly the same for every example.

    Seen at the output where no activation is, as behind a recurrent layer that forgets.
    """
    seen = seen_output(result)
    if seen is None:
        return
    grade = graded(seen.decades, seen.bound, result.facts.optimizer)
    said = [found for found in (faded(result)[0], signal_grade(result)) if found is not None]
    if grade is None or lost_around(result) is not None or any(one >= grade for one in said):
        return
    how = "exactly" if seen.decades == math.inf else f"to 1 part in 10^{seen.decades:.1f}"
    yield finding(
        "collapse",
        f"the outputs of all examples are the same {how}{grade.near}: what tells them apart does "
        f"not reach the output{_LINE if seen.on_a_line else ''}{grade.whom}",
        "weights at the critical variance, normalisation, a gate that stays open (a forget bias "
        "of 1 to 4), or a shorter way from the inputs",
        severity=grade.severity,
    )


_LINE = ", and what is left lies on one line, so that no more than two classes differ"


@check("vanishing", "collapse")
def lost_together(result: DiagnosisResult) -> Iterator[Finding]:
    """δ on its way back and the difference between examples on its way forwards lose too much.

    Each alone may be bearable: a step changes the first layers by the one, and that changes the
    output by the other.
    """
    seen, both = seen_output(result), together(result)
    if seen is None or both is None or both == math.inf:
        return
    grade = graded(both, seen.bound_together, result.facts.optimizer)
    alone = graded(seen.decades, seen.bound, result.facts.optimizer)
    said = [one for one in (faded(result)[0], signal_grade(result), alone) if one is not None]
    if grade is None or any(one >= grade for one in said):
        return
    lost = both - seen.decades
    yield finding(
        "vanishing" if lost >= seen.decades else "collapse",
        f"δ shrinks by {lost:.1f} decades over {depth(result)} {spanned(result)}, and the outputs "
        f"of all examples are the same to 1 part in 10^{seen.decades:.1f}: together {both:.1f} "
        f"decades{grade.near}{grade.whom}",
        "weights at the critical variance, normalisation, or residual connections",
        severity=grade.severity,
    )
