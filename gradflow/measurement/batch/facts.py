"""From a step that is held to plain numbers."""

from __future__ import annotations

from gradflow.measurement.batch.seen import SeenBatch
from gradflow.results.facts import BatchFacts


def batch_facts(seen: SeenBatch) -> BatchFacts:
    """Return what can be told of one batch before the backward pass frees its graph.

    Changes nothing and never raises: what cannot be read is None.
    """
    try:
        return BatchFacts(loss=seen.loss.detach().double().sum().item() / seen.scale)
    except Exception:
        return BatchFacts()
