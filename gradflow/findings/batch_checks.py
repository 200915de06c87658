"""Checks of one batch: its inputs, targets, output, loss and graph. Standard library only.

They read `BatchFacts`, which a diagnosis has of its batch, and a watched run of its first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gradflow.findings.batches import DISTANCES, lost_at, of_batch
from gradflow.findings.check import Check, check, finding
from gradflow.findings.graph_checks import cut_off, dropout, linear, mixed, symmetric, unregistered
from gradflow.findings.output_checks import (
    initial_loss,
    loss,
    output_activation,
    shapes,
    targets,
)
from gradflow.findings.thresholds import (
    FAINT,
    FAR,
    FIRST_LOSS,
    FIRST_MOVE,
    LARGE,
    SATURATED,
    SLOW,
    WHOLE_STEP,
)
from gradflow.results.base import Finding, Result
from gradflow.results.facts import BatchFacts, FirstLayerFacts, TensorFacts, UpdateFacts

__all__ = ["BATCH_CHECKS", "LATE_BATCH_CHECKS", "of_batch"]


@check("inputs")
def inputs(result: Result) -> Iterator[Finding]:
    """Inputs that are not finite, or the same for every example."""
    facts = of_batch(result)
    found = _not_finite(facts) or _all_alike(facts) or _sentinel(facts) or _scale(facts)
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


def _sentinel(facts: BatchFacts) -> Finding | None:
    """A number that stands for missing values and is taken for a measurement."""
    found = next((one.sentinel for one in facts.inputs if one.sentinel is not None), None)
    if found is None:
        return None
    return finding(
        "inputs",
        f"several entries of the inputs are {found:g}, more than a hundred times as large as all "
        "others: is it a code for missing values?",
        "put the column's mean in its place, and whether the value was there into a column of "
        "its own",
    )


def _scale(facts: BatchFacts) -> Finding | None:
    """Inputs so large, so far from the origin or so small that the first step shows it."""
    layer = facts.first_layer
    if layer is None or layer.normalised or layer.input_offset is None or not layer.input_spread:
        return None
    said = (
        _enormous(facts, layer)
        or _drowned(facts, layer)
        or _squashed(layer)
        or _far(layer)
        or _confident(facts, layer)
    )
    if said is None:
        return None
    return finding(
        "inputs",
        f"the inputs {_size(layer)}: {said}",
        "standardise the inputs, (x - mean) / std, or divide images by 255",
    )


def _standard(layer: FirstLayerFacts, update: UpdateFacts) -> float:
    """How far the first update would move the first layer's outputs of standardised inputs."""
    square = _square(layer)
    plain = update.optimizer in (None, "SGD")
    return (update.moved or 0.0) / (square if plain else math.sqrt(square))


def _square(layer: FirstLayerFacts) -> float:
    return (layer.input_offset or 0.0) ** 2 + (layer.input_spread or 0.0) ** 2


def _enormous(facts: BatchFacts, layer: FirstLayerFacts) -> str | None:
    """The first update moves the first layer's outputs by far more than examples differ there."""
    update = facts.update
    if update is None or not update.moved or not layer.spread or not layer.input_spread:
        return None
    standard, apart = _standard(layer, update), layer.spread / layer.input_spread
    if update.moved <= FIRST_MOVE * layer.spread or standard >= apart or _square(layer) <= 1:
        return None
    return (
        f"the first update changes what layer {layer.name} makes of them by "
        f"{update.moved / layer.spread:.3g} times what tells examples apart there; of standardised "
        f"inputs it would be {standard / apart:.2g} times"
    )


def _drowned(facts: BatchFacts, layer: FirstLayerFacts) -> str | None:
    """What tells examples apart is small, and an update hardly changes it."""
    update = facts.update
    if update is None or not update.moved or not layer.spread:
        return None
    standard = _standard(layer, update)
    if layer.spread >= FAINT or not update.moved < SLOW <= standard:
        return None
    return (
        f"what layer {layer.name} makes of them differs by {layer.spread:.2g} between examples, "
        f"and one update changes it by {update.moved:.1g}; of standardised inputs it would be "
        f"{standard:.1g}"
    )


def _squashed(layer: FirstLayerFacts) -> str | None:
    """Inputs, not weights, put the first layer's outputs on a plateau."""
    saturating = layer.activation in ("sigmoid", "tanh", "softmax", "hardtanh")
    large = (layer.input_spread or 0.0) > LARGE and (layer.weight_gain or 9.0) < 2
    if not saturating or not large or (layer.saturated or 0.0) < SATURATED:
        return None
    return (
        f"{layer.saturated:.0%} of what layer {layer.name} makes of them is further than 4 from 0, "
        f"where the {layer.activation} behind it has nearly no slope"
    )


def _far(layer: FirstLayerFacts) -> str | None:
    """What all examples have in common is far larger than what tells them apart."""
    offset, spread = layer.input_offset or 0.0, layer.input_spread or 0.0
    if offset < FAR * spread or offset < 1:
        return None
    return (
        f"what they have in common is {offset / spread:.0f} times what tells them apart, so that a "
        f"gradient step moves all examples alike {(offset / spread) ** 2:.0f} times as fast as it "
        "tells them apart"
    )


def _confident(facts: BatchFacts, layer: FirstLayerFacts) -> str | None:
    """Large inputs make large first outputs, and so a first loss far above a constant's."""
    if math.sqrt(_square(layer)) < LARGE:
        return None
    for one in facts.criteria:
        first, constant = one.first_loss, one.constant_loss
        output = one.output.rms if one.output is not None else None
        if first is None or not constant or output is None or output < LARGE or one.sign < 0:
            continue
        of_numbers = one.kind in DISTANCES
        target = one.target.rms if of_numbers and one.target is not None else None
        if of_numbers and (target is None or output < LARGE * target):
            continue
        if first > FIRST_LOSS * constant:
            return (
                f"the first outputs have a root mean square of {output:.3g}, and the first loss of "
                f"an example is {first:.3g}, where a constant prediction has {constant:.3g}"
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
    mixed,
    dropout,
    loss,
    summed,
    linear,
)
#: After those of the layers: what comes of them.
LATE_BATCH_CHECKS: tuple[Check[Any], ...] = (initial_loss,)
