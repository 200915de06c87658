"""What a loss of torch's was given when it raised."""

from __future__ import annotations

from gradflow.measurement.batch.criteria import CriterionCall
from gradflow.measurement.batch.terms import HEARD
from gradflow.results.facts import RefusedFacts


def refused_facts(call: CriterionCall) -> RefusedFacts:
    """Return the plain numbers of a call that raised."""
    labels, target = None, call.target
    if target is not None and target.numel() and not target.is_floating_point():
        ignored = int(call.options.get("ignore_index", -100))
        counted = target[target != ignored]
        labels = (int(counted.min()), int(counted.max())) if counted.numel() else None
    return RefusedFacts(
        HEARD.get(call.name, call.name),
        tuple(call.input.shape),
        () if target is None else tuple(target.shape),
        labels,
        call.refused,
    )
