"""Checks of one batch: its inputs, targets, output, loss and graph. Standard library only.

They read `BatchFacts`, which a diagnosis has of its batch, and a watched run of its first one.
"""

from __future__ import annotations

from typing import Any

from gradflow.findings.check import Check
from gradflow.results.base import Result
from gradflow.results.facts import BatchFacts


def of_batch(result: Result) -> BatchFacts:
    """Return the facts of a result's batch; empty ones where it has none."""
    found = getattr(getattr(result, "facts", None), "batch", None)
    return found if isinstance(found, BatchFacts) else BatchFacts()


#: In the order in which they decide a verdict, those that are errors at once first.
BATCH_CHECKS: tuple[Check[Any], ...] = ()
