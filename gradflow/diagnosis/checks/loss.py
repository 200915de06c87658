"""Checks of the first loss, with the gradients that it has. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.batches import of_batch
from gradflow.findings.check import check, finding
from gradflow.findings.output_checks import high_first_loss
from gradflow.findings.thresholds import (
    AGREE,
    DISAGREEING_LOSS,
    DROWNED_LOSS,
    ENDLESS_LOSS,
    ENOUGH_EXAMPLES,
    HOPELESS_LOSS,
)
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult


@check("initial-loss")
def first_loss(result: DiagnosisResult) -> Iterator[Finding]:
    """A first loss that is too large to be undone, or far above a constant prediction's.

    A step undoes a large loss where it is the same step for all examples.
    """
    drowned = _drowned(result)
    if drowned is not None:
        yield drowned
        return
    agree = agreement(result)
    if agree is None or agree >= AGREE:
        yield from high_first_loss(result, HOPELESS_LOSS)
        return
    why = (
        ", and the examples do not agree on how: what their gradients at the first layer have in "
        f"common is {max(agree, 0.0):.1%} of their size"
    )
    yield from high_first_loss(result, DISAGREEING_LOSS, why)


def agreement(result: DiagnosisResult) -> float | None:
    """Return the share of an example's gradient that is the batch's, at the first layer.

    From the root mean squares of that layer's gradient, of δ and of its inputs, as of a layer that
    is used once for an example; of others it is too large. None: not known.
    """
    first = of_batch(result).first_layer
    row = next((r for r in result.records if first is not None and r.name == first.name), None)
    examples = result.facts.examples or 0
    if first is None or row is None or examples < ENOUGH_EXAMPLES:
        return None
    if row.gradient_rms is None or row.delta_log10_rms is None or first.input_offset is None:
        return None
    own = math.pow(10, row.delta_log10_rms) * math.hypot(
        first.input_offset, first.input_spread or 0.0
    )
    if not 0 < own < math.inf or not math.isfinite(row.gradient_rms):
        return None
    chance = 1 / examples
    return (math.pow(row.gradient_rms / own, 2) - chance) / (1 - chance)


def _drowned(result: DiagnosisResult) -> Finding | None:
    """A loss so large that float32 rounds away what is to be learnt."""
    facts = of_batch(result)
    if facts.loss is None or not math.isfinite(facts.loss):
        return None
    known = [one.first_loss for one in facts.criteria if one.first_loss is not None]
    size, rest = abs(facts.loss), sum(map(abs, known))
    if size < ENDLESS_LOSS or rest >= DROWNED_LOSS * size:
        return None
    what = f", and float32 rounds away its known part, {rest:.3g}" if known else ""
    return finding(
        "initial-loss",
        f"the first loss is {facts.loss:.3g}{what}: no step can undo that",
        "smaller weights before an exponential (a log-variance that starts near 0), or a bound "
        "(clamp, tanh) on what it takes",
        severity="error",
    )
