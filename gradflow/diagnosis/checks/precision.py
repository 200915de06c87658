"""Checks of values that a dtype loses, and of copies in another. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.diagnosis.checks.layers import named_at
from gradflow.findings.batches import lost_at, of_batch
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import UNDERFLOW
from gradflow.findings.unfinished import stopped
from gradflow.findings.words import indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow
from gradflow.results.names import told


@check("broken")
def broken(result: DiagnosisResult) -> Iterator[Finding]:
    """A value that is not finite, and the layer where it arose."""
    forward = [row for row in result.records if row.forward_nonfinite]
    backward = [row for row in result.records if row.backward_nonfinite]
    lost = result.loss is not None and not math.isfinite(result.loss)
    if not (forward or backward or lost):
        return
    advice = "smaller weights (--gain, --init), or a wider dtype"
    cause = lost_at(of_batch(result))
    if cause is not None:
        where, advice = cause
    elif forward:
        where = f"{told(forward[0])} is the first whose activations are not finite"
        where += _overflow(result)
    elif backward and backward[-1] is result.output and not lost:
        where = (
            f"the loss is finite ({result.loss:.3g}) and its gradient is not, already at the "
            f"output, {told(backward[-1])}: it arises in the loss, or behind that layer"
        )
        advice = "a small ε in every sqrt, norm, log and division there; none where 0 can come"
    elif backward:
        where = f"gradients are not finite from {told(backward[-1])} backwards"
    else:
        where = f"the loss is {result.loss}"
    yield finding(
        "broken",
        where,
        advice,
        layers=sorted({*indices(forward), *indices(backward)}),
    )


def _overflow(result: DiagnosisResult) -> str:
    """Say what overflowed where the magnitudes are known all the same."""
    if result.rate is None or result.meta.dtype is None:
        return ""
    return f": they overflow {result.meta.dtype} (the magnitudes here do not)"


@check("underflow")
def underflow(result: DiagnosisResult) -> Iterator[Finding]:
    """Entries of the gradient that half precision loses, and the loss scale against it."""
    rows = [row for row in result.records if _lost(row) > UNDERFLOW]
    if not rows:
        return
    worst = max(_lost(row) for row in rows)
    yield finding(
        "underflow",
        f"in {named_layers(rows)} up to {worst:.1%} of the gradient's entries are 0 in "
        f"{result.facts.half or result.meta.dtype} though not in float32",
        _loss_scale(result.suggested_loss_scale),
        layers=indices(rows),
    )


def _loss_scale(scale: float | None) -> str:
    if scale is None:
        return "bfloat16, which has float32's range: no loss scale brings 99.9 % into this one's"
    return (
        f"a loss scale of {scale:.0f} (2^{math.log2(scale):.0f}) brings 99.9 % of them into "
        f"range: GradScaler(init_scale={scale:.0f}.0); or bfloat16"
    )


def _lost(row: LayerRow) -> float:
    return max(row.underflow_fraction or 0.0, row.delta_underflow_fraction or 0.0)


@check("precision")
def widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ left the model's own dtype, and float64 was measured instead."""
    layers = result.facts.widened
    if layers:
        yield finding(
            "precision",
            f"δ under- or overflows the model's own dtype in {named_at(result, layers)}; "
            "the magnitudes here were measured again where they are not lost",
            "a wider dtype, or loss scaling",
            layers=layers,
        )


@check("no-copy")
def not_widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ is 0 or left the model's own dtype, and float64 could not be measured instead."""
    layers = result.facts.not_widened
    if layers:
        yield finding(
            "no-copy",
            f"in {named_at(result, layers)} δ is 0, too small or too large for the model's own "
            f"dtype, and a float64 copy could not be measured: {result.facts.no_float64}",
            "a model that runs in float64, too: no dtype written into its forward",
            layers=layers,
        )


@check("no-copy")
def not_compared(result: DiagnosisResult) -> Iterator[Finding]:
    """What half precision loses is not known, since a float32 copy could not be measured."""
    if result.facts.no_float32 is not None:
        yield finding(
            "no-copy",
            "what half precision loses of the gradient is not known: a float32 copy could not be "
            f"measured: {result.facts.no_float32}",
            "a model that runs in float32, too: no dtype written into its forward",
        )


def no_remedies(why: str | None) -> Iterator[Finding]:
    """Say that no remedy could be tried, since the model cannot be copied or run as a copy."""
    yield finding(
        "no-copy",
        f"remedies could not be tried: a copy of the model could not be run: {why}",
        "a model that copy.deepcopy() can copy",
    )


def interrupted() -> Iterator[Finding]:
    """Say that Ctrl-C came before every remedy was tried to its end."""
    yield from stopped(True, "not every remedy was trained to its end")
