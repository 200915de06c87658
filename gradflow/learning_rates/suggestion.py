"""What a range test says: the rate to start from, and the largest stable one."""

from __future__ import annotations

import math

from gradflow.learning_rates.range_test import RangeTest

_NOISE = 0.02


def suggested(test: RangeTest) -> float:
    """Return the rate to start from: the estimate, drawn towards where the loss was lowest."""
    return test.estimate.rate


def largest_stable(test: RangeTest) -> float | None:
    """Return the largest rate up to which no step took the loss above its start.

    A rise by less than `_NOISE` of it may be chance: dropout, or a batch of another step.
    """
    stable = None
    for rate, loss in zip(test.rates, test.losses, strict=True):
        if not math.isfinite(loss) or loss - test.start > _NOISE * abs(test.start):
            break
        stable = rate
    return stable
