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
from gradflow.results.base import Finding, Result
from gradflow.results.facts import BatchFacts, TensorFacts

__all__ = ["BATCH_CHECKS", "of_batch"]


@check("inputs")
def inputs(result: Result) -> Iterator[Finding]:
    """Inputs that are not finite, or the same for every example."""
    facts = of_batch(result)
    found = _not_finite(facts) or _all_alike(facts)
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


def _constant(one: TensorFacts) -> bool:
    return not one.integer and one.examples >= 4 and one.constant_share == 1.0


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
    linear,
)
