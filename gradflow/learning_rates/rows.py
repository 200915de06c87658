"""Range tests of several seeds -> rows, and what they say of the rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from gradflow.learning_rates.range_test import RangeTest
from gradflow.learning_rates.suggestion import largest_stable, suggested
from gradflow.results.learning_rate import RateRow


def rate_rows(tests: Sequence[RangeTest]) -> tuple[RateRow, ...]:
    """Return a row per step: medians over the seeds, in which one that has diverged counts as ∞."""
    rows, several = [], len(tests) > 1
    for step in range(max(len(test.losses) for test in tests)):
        own = [test for test in tests if len(test.losses) > step]
        losses = [_finite(test.losses[step]) for test in own]
        losses += [math.inf] * (len(tests) - len(own))
        rows.append(
            RateRow(
                step=step + 1,
                rate=_middle([test.rates[step] for test in own]),
                loss=median(losses),
                loss_low=min(losses) if several else None,
                loss_high=max(losses) if several else None,
                seeds=len(own),
            )
        )
    return tuple(rows)


def rate_fields(tests: Sequence[RangeTest]) -> dict[str, Any]:
    """Return the result's fields beside the rows."""
    found: dict[str, list[Any]] = {
        "suggested": [suggested(test) for test in tests],
        "largest_stable": [largest_stable(test) for test in tests],
        "estimate": [test.estimate.rate for test in tests],
    }
    fields: dict[str, Any] = {"start": median(test.start for test in tests)}
    for name, values in found.items():
        known = [value for value in values if value is not None]
        fields[name] = _middle(known) if known else None
        if len(known) > 1:
            fields |= {f"{name}_low": min(known), f"{name}_high": max(known)}
    lost = [test.estimate.lost for test in tests if test.estimate.lost is not None]
    fields["lost_decades"] = median(lost) if lost else None
    fields["passes"] = max(test.passes for test in tests)
    return fields


def _finite(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _middle(rates: Sequence[float]) -> float:
    """The median on a scale of factors."""
    return float(10 ** median(math.log10(rate) for rate in rates))
