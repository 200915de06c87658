"""What a range test says: the rate to start from, and the largest stable one."""

from __future__ import annotations

import math

from gradflow.learning_rates.range_test import RangeTest

#: A rise of the loss by less than this share may be chance: dropout, say.
_NOISE = 0.02
#: Gradient descent: the estimate counts half, the other two a quarter each, as logarithms.
#: A rate that suits many networks, at a momentum of 0.9.
USUAL = 0.03
#: By how much the best rate of a training lies below that at which the test's loss rises.
BELOW_RISE = 32.0


def suggested(test: RangeTest) -> float:
    """Return the rate to start from, never above the largest stable one.

    Of gradient descent it lies between the estimate, what the test says and the usual rate: each
    alone is off by a factor of 10 now and then. Of the others it is the estimate.
    """
    rate = test.estimate.rate
    if test.estimate.momentum is not None:
        usual = USUAL * (1 - test.estimate.momentum) / 0.1
        rate = rate**0.5 * (rise(test) / BELOW_RISE) ** 0.25 * usual**0.25
    return min(rate, largest_stable(test) or test.rates[0])


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
