"""What a range test says: the rate to start from, and the largest stable one."""

from __future__ import annotations

import math

from gradflow.findings.first_rate import LARGEST_STEP
from gradflow.learning_rates.range_test import RangeTest

#: A rise of the loss by less than this share may be chance: dropout, say.
_NOISE = 0.02
#: Gradient descent: a rate that suits many networks, at a momentum of 0.9.
USUAL = 0.03
#: By how much the best rate of a training lies below that at which the test's loss rises.
BELOW_RISE = 32.0
#: The others: steps of an entry, of the estimate times where the loss rises, that are cautious.
CAUTIOUS = 1.7e-4


def suggested(test: RangeTest) -> float:
    """Return the rate to start from, never above the largest stable one."""
    found = test.estimate
    rate = _of_descent(test, found.momentum) if found.momentum is not None else _of_scaled(test)
    return min(rate, largest_stable(test) or test.rates[0])


def _of_descent(test: RangeTest, momentum: float) -> float:
    """Gradient descent: between the estimate, what the test says and the usual rate.

    The estimate counts half, the others a quarter each, as logarithms: each alone is off by a
    factor of 10 now and then.
    """
    usual = USUAL * (1 - momentum) / 0.1
    return math.sqrt(test.estimate.rate * math.sqrt(rise(test) / BELOW_RISE * usual))


def _of_scaled(test: RangeTest) -> float:
    """Any other: the estimate, and more where the loss rises far above it alone."""
    rate, step = test.estimate.rate, test.estimate.step
    room = rate * rise(test) * step**2 / CAUTIOUS
    return min(rate * max(1.0, room), LARGEST_STEP / step)


def rise(test: RangeTest) -> float:
    """Return the first rate after which the loss lay above its start; one more where none did."""
    for rate, loss in zip(test.rates, test.losses, strict=True):
        if _above(loss, test.start):
            return rate
    return test.rates[-1] * test.rates[-1] / test.rates[-2]


def largest_stable(test: RangeTest) -> float | None:
    """Return the largest rate up to which no step took the loss above its start."""
    stable = None
    for rate, loss in zip(test.rates, test.losses, strict=True):
        if _above(loss, test.start):
            break
        stable = rate
    return stable


def _above(loss: float, start: float) -> bool:
    return not math.isfinite(loss) or loss - start > _NOISE * abs(start)
