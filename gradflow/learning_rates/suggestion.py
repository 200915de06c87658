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
#: The others: by how much it lies below the rate of the test with the lowest loss.
BELOW_LOWEST = 3.5


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
    """Any other: between the estimate, which counts three fifths, and what the test says."""
    rate: float = test.estimate.rate**0.6 * (lowest(test) / BELOW_LOWEST) ** 0.4
    return min(rate, LARGEST_STEP / max(test.estimate.step, 1.0))


def lowest(test: RangeTest) -> float:
    """Return the rate after whose step the loss was lowest."""
    known = [(loss, rate) for rate, loss in zip(test.rates, test.losses, strict=True)]
    return min((pair for pair in known if math.isfinite(pair[0])), default=(0.0, test.rates[0]))[1]


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
