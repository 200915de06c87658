"""Checks of what is exactly 0, of what could not be judged, and of too few examples.

Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.batches import no_choice, of_batch
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import DEAD, NO_GRADIENT
from gradflow.findings.words import dead_rows, indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow

#: log₁₀ of a magnitude that is exactly 0.
_ZERO = -math.inf


@check("unjudged")
def unjudged(result: DiagnosisResult) -> Iterator[Finding]:
    """δ was read nowhere, so that no verdict rests on anything."""
    trained = any(row.gradient_log10_norm is not None for row in result.records)
    if result.facts.unreached or (trained and _seen(result)):
        return
    if result.records and not trained:
        yield finding(
            "unjudged",
            f"none of {len(result.records)} layers is trained; what is trained beside them was not "
            "measured",
            "diagnose the model with the layers that it trains",
        )
        return
    yield finding(
        "unjudged",
        f"δ was read at none of {len(result.records)} layers: how the gradient flows is not known",
        "measure the modules inside one by one, or a model that is not scripted",
    )


def _seen(result: DiagnosisResult) -> bool:
    return any(row.delta_log10_rms is not None for row in result.records)


@check("batch")
def one_example(result: DiagnosisResult) -> Iterator[Finding]:
    """A batch of one tells nothing of what differs between examples."""
    if result.facts.examples != 1:
        return
    if result.facts.batch_norm:
        yield finding(
            "batch",
            "the batch holds one example, and batch normalisation takes away its own mean and "
            "scale: what tells examples apart is lost",
            "larger batches, or GroupNorm or LayerNorm",
            severity="warning",
        )
        return
    yield finding(
        "batch",
        "the batch holds one example: nothing is said of dead units, or of the difference between "
        "examples",
        "a batch of 16 examples or more",
    )


@check("no-gradient")
def no_gradient(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers whose gradient is exactly 0: a fault, unless a weight that starts at 0 explains it."""
    rows = [row for row in result.records if row.gradient_log10_norm == _ZERO]
    at_start = frozenset(result.facts.started)
    started = [row for row in rows if row.index in at_start]
    if started:
        yield _started(result, started)
    stuck = [row for row in rows if row.index not in at_start]
    if not stuck or _dead_explains(result) or no_choice(of_batch(result)):
        return
    hidden = [row for row in result.records[: result.hidden] if row.gradient_log10_norm is not None]
    both = {row.index for row in hidden} & {row.index for row in stuck}
    share = len(both) / len(hidden) if hidden else 1.0
    if share < NO_GRADIENT:  # the others have no gradient because what they get is 0
        stuck = [row for row in stuck if row.delta_log10_rms == _ZERO]
    if not stuck:
        return
    yield finding(
        "no-gradient",
        f"the gradient of {named_layers(stuck)} is exactly 0: {_reason(result)}",
        _advice(result),
        layers=indices(stuck),
        severity="error" if share >= NO_GRADIENT else "warning",
    )


def _started(result: DiagnosisResult, rows: list[LayerRow]) -> Finding:
    names = result.facts.zero_weights
    listed = ", ".join(names[:3] or ("biases",)) + (" and others" if len(names) > 3 else "")
    starts = "starts" if len(names) == 1 else "start"
    return finding(
        "no-gradient",
        f"the gradient of {named_layers(rows)} is 0 because {listed} "
        f"{starts} at 0; after one step it no longer is",
        layers=indices(rows),
        severity="info",
    )


def _dead_explains(result: DiagnosisResult) -> bool:
    """Whether dead units of a hidden layer stop a gradient that the output has."""
    hidden = result.records[: result.hidden]
    excused = {*result.facts.started, *result.facts.zero_layers}
    dead = [row for row in dead_rows(hidden) if row.index not in excused]
    return bool(dead) and result.output.delta_log10_rms != _ZERO


def _reason(result: DiagnosisResult) -> str:
    """Say where, counted from the loss, δ became 0."""
    zeros = [row for row in result.records if row.delta_log10_rms == _ZERO]
    if not zeros:
        return "what the layers get is 0"
    first = zeros[-1]
    if first is not result.output:
        return f"δ is 0 from {named_layers([first])} backwards"
    if (first.dead_fraction or 0) >= DEAD:
        return f"the activation after the output, {named_layers([first])}, has slope 0"
    return f"the loss does not change with the output, {named_layers([first])}"


def _advice(result: DiagnosisResult) -> str:
    last = result.output
    if last.delta_log10_rms != _ZERO:
        return "weights that do not all start at 0, one layer after the other"
    if (last.dead_fraction or 0) >= DEAD:
        return "no ReLU after the output layer"
    return "a loss that is not met, clamped or rounded already"
