"""Checks of what was measured of a model, and how. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.diagnosis.checks.layers import hidden_rows, named_at
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import UNCOVERED
from gradflow.findings.words import first_few
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult


@check("compiled")
def compiled(result: DiagnosisResult) -> Iterator[Finding]:
    """A compiled model was measured as it was written."""
    if result.facts.compiled:
        yield finding(
            "compiled",
            "the model goes through torch.compile; it was measured through the original module",
        )


@check("lazy")
def lazy(result: DiagnosisResult) -> Iterator[Finding]:
    """A model without shapes was measured on a copy."""
    if result.facts.lazy:
        yield finding(
            "lazy", "the model has lazy parameters; a copy of it was initialised and measured"
        )


@check("unreached")
def unreached(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers that could be trained and that no gradient reaches."""
    layers = result.facts.unreached
    if layers:
        every = all(row.index in layers for row in hidden_rows(result) or result.records)
        yield finding(
            "unreached",
            f"no gradient reaches {named_at(result, layers)}, which could be trained",
            "is there a no_grad(), a detach() or a reentrant checkpoint (use_reentrant=False)?",
            layers=layers,
            severity="error" if every else "warning",
        )


@check("shared")
def shared(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers with one and the same weight."""
    for layers in result.facts.shared:
        yield finding(
            "shared",
            f"{named_at(result, layers)} share a weight: each shows its gradient over all of them",
            layers=layers,
        )


@check("shared")
def repeated(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers that were called several times, as a cell is once per time step."""
    if result.facts.repeated:
        rows, calls = zip(*result.facts.repeated, strict=True)
        times = f"{min(calls)}" if min(calls) == max(calls) else f"{min(calls)} to {max(calls)}"
        yield finding(
            "shared",
            f"{named_at(result, rows)} {'are' if len(rows) > 1 else 'is'} called {times} times in "
            "one pass: a row is over all calls",
            layers=rows,
        )


@check("uncovered")
def uncovered(result: DiagnosisResult) -> Iterator[Finding]:
    """Trained entries that no row shows, and parts that could not be looked into."""
    names, share = result.facts.uncovered, result.facts.uncovered_share
    if names:
        yield finding(
            "uncovered",
            f"{100 * share:.2g} % of the trained entries are in no row, since no gradient reaches "
            f"them: {first_few(names, _NAMED)}",
            "are they used in this pass? else leave them out, or requires_grad_(False)",
            severity="warning" if share > UNCOVERED else "info",
        )
    if result.facts.scripted:
        yield finding(
            "uncovered",
            "a part of the model is a script (torch.jit): its layers cannot be looked into, and "
            "their rows show gradients alone",
            "diagnose the module that it was made from",
            severity="info",
        )


#: Names that a finding lists.
_NAMED = 4
