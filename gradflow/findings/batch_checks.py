"""Checks of one batch: its inputs, targets, output, loss and graph. Standard library only.

They read `BatchFacts`, which a diagnosis has of its batch, and a watched run of its first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gradflow.findings.batches import lost_at, of_batch
from gradflow.findings.check import Check, check, finding
from gradflow.findings.graph_checks import cut_off, dropout, linear, symmetric, unregistered
from gradflow.findings.output_checks import (
    initial_loss,
    loss,
    output_activation,
    shapes,
    targets,
)
from gradflow.findings.thresholds import FAINT, FIRST_MOVE, SLOW, WHOLE_STEP
from gradflow.results.base import Finding, Result
from gradflow.results.facts import BatchFacts, FirstLayerFacts, TensorFacts

__all__ = ["BATCH_CHECKS", "of_batch"]


@check("inputs")
def inputs(result: Result) -> Iterator[Finding]:
    """Inputs that are not finite, or the same for every example."""
    facts = of_batch(result)
    found = _not_finite(facts) or _all_alike(facts) or _scale(facts)
    if found is not None:
        yield found


def _not_finite(facts: BatchFacts) -> Finding | None:
    bad = any(one.nonfinite for one in facts.inputs)
    cause = lost_at(facts)
    if not bad or cause is None or (facts.loss is not None and math.isfinite(facts.loss)):
        return None
    return finding("inputs", *cause, severity="error")


def _all_alike(facts: BatchFacts) -> Finding | None:
    if not facts.inputs or not all(map(_constant, facts.inputs)):
        return None
    return finding(
        "inputs",
        f"all {facts.inputs[0].examples} examples of the batch have the same inputs: nothing can "
        "be told from them",
        "look at what the data pipeline returns: is one example repeated, or all of them 0?",
    )


def _scale(facts: BatchFacts) -> Finding | None:
    """Inputs so large, so far from the origin or so small that the first update shows it."""
    layer, update = facts.first_layer, facts.update
    if layer is None or update is None or layer.normalised or not layer.spread:
        return None
    if layer.input_offset is None or not layer.input_spread or not update.moved:
        return None
    square = layer.input_offset**2 + layer.input_spread**2
    unit = square if update.optimizer in (None, "SGD") else math.sqrt(square)
    standard, apart = update.moved / unit, layer.spread / layer.input_spread
    if update.moved > FIRST_MOVE * layer.spread and standard < apart and square > 1:
        return finding(
            "inputs",
            f"the inputs {_size(layer)}: the first update changes what layer {layer.name} makes of "
            f"them by {update.moved / layer.spread:.3g} times what tells examples apart there; of "
            f"standardised inputs it would be {standard / apart:.2g} times",
            "standardise the inputs, (x - mean) / std, or divide images by 255",
        )
    if layer.spread < FAINT and update.moved < SLOW <= standard:
        return finding(
            "inputs",
            f"the inputs {_size(layer)}: what layer {layer.name} makes of them differs by "
            f"{layer.spread:.2g} between examples, and one update changes it by "
            f"{update.moved:.1g}; of standardised inputs it would be {standard:.1g}",
            "standardise the inputs, (x - mean) / std",
        )
    return None


def _size(layer: FirstLayerFacts) -> str:
    return f"have mean {layer.input_offset:.3g} and standard deviation {layer.input_spread:.3g}"


def _constant(one: TensorFacts) -> bool:
    return not one.integer and one.examples >= 4 and one.constant_share == 1.0


@check("step-size")
def summed(result: Result) -> Iterator[Finding]:
    """A loss summed over the examples at a learning rate for their mean."""
    facts = of_batch(result)
    update, examples = facts.update, facts.examples or 0
    sums = any(criterion.summed for criterion in facts.criteria)
    if update is None or update.relative is None or update.lr is None or not sums:
        return
    if update.relative < WHOLE_STEP or examples < 2 or update.optimizer not in (None, "SGD"):
        return
    yield finding(
        "step-size",
        f"the loss is a sum over {examples} examples, and at a learning rate of {update.lr:.3g} "
        f"the first update of {update.layer} is {update.relative:.2g} times as large as the "
        "weights themselves",
        f"the mean over the examples (reduction='mean'), or a learning rate of "
        f"{update.lr / examples:.1g}",
    )


#: In the order in which they decide a verdict, those that are errors at once first.
BATCH_CHECKS: tuple[Check[Any], ...] = (
    inputs,
    targets,
    cut_off,
    output_activation,
    shapes,
    unregistered,
    symmetric,
    dropout,
    loss,
    initial_loss,
    summed,
    linear,
)
