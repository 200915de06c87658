"""The learning rate in use, beside the one that the first gradient suggests. Standard library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gradflow.findings import first_rate
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    FAR_ABOVE_ADAM,
    FAR_ABOVE_SGD,
    FAR_BELOW_ADAM,
    FAR_BELOW_SGD,
    is_adaptive,
)
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, RateInUse

#: Whose first update is as long for every gradient; of their kin it is another one.
_ADAMS = frozenset({"adam", "adamw", "adamax", "nadam", "radam", "adam8bit", "adamw8bit"})
#: Momenta that are usual, where it is not known.
_NONE, _USUAL = 0.0, 0.9


@dataclass(frozen=True)
class Suggested:
    """What the first gradient suggests for a kind of optimizer, and the rates that are far off."""

    optimizer: str
    rate: float
    below: float
    above: float


@check("step-size")
def far_rate(result: DiagnosisResult) -> Iterator[Finding]:
    """A learning rate that is far from what the first gradient suggests."""
    used = result.facts.rate
    known = [] if used is None else suggested(result, used)
    if used is None or not known:
        return
    if not (all(used.rate > s.above for s in known) or all(used.rate < s.below for s in known)):
        return
    nearest = min(known, key=lambda s: abs(math.log(used.rate / s.rate)))
    yield finding(
        "step-size",
        f"a learning rate of {used.rate:.2g} is {first_rate.factor(used.rate, nearest.rate)} the "
        f"{nearest.rate:.2g} that the first gradient suggests for {nearest.optimizer}",
        f"a learning rate near {nearest.rate:.1g}; gradflow lr tests it",
    )


def suggested(result: DiagnosisResult, used: RateInUse) -> list[Suggested]:
    """Return what suits the optimizer in use; SGD and Adam, where none is known."""
    if result.facts.sizes is None:
        return []
    (weights, entries), gradient = result.facts.sizes, _gradient(result)
    adaptive, found = is_adaptive(used.optimizer), list[Suggested]()
    if adaptive is not True:
        found += _of_descent(weights, gradient, entries, used.momentum)
    by_adam = used.optimizer is None or used.optimizer.lower() in _ADAMS
    if entries and by_adam:
        rate = first_rate.of_scaled(math.sqrt(entries), 1.0)
        found.append(Suggested("Adam", rate, rate / FAR_BELOW_ADAM, rate * FAR_ABOVE_ADAM))
    return found


def _of_descent(
    weights: float, gradient: float, entries: int, momentum: float | None
) -> Iterator[Suggested]:
    likely = (_NONE, _USUAL) if momentum is None else (momentum, momentum)
    high, low = (first_rate.of_descent(weights, gradient, entries, m) for m in likely)
    if high is not None and low is not None:
        middle = math.sqrt(high * low)
        yield Suggested("SGD", middle, low / FAR_BELOW_SGD, high * FAR_ABOVE_SGD)


def _gradient(result: DiagnosisResult) -> float:
    """Return the norm of the gradient that a step is taken along."""
    norms = [n or 0.0 for r in result.records for n in (r.gradient_norm, r.bias_gradient_norm)]
    return math.hypot(*norms) * result.facts.given_scale
