"""The checks of a chain of single neurons. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.results.base import Finding
from gradflow.results.chain import ChainResult


@check("dead")
def dead(result: ChainResult) -> Iterator[Finding]:
    """A slope of 0, which makes the whole product 0."""
    slopes = dict(enumerate(result.records[:-1:2], start=1))  # weights stand between them
    zeros = {layer: row for layer, row in slopes.items() if row.value == 0}
    if zeros:
        names = ", ".join(row.symbol for row in zeros.values())
        neurons = " and ".join(map(str, zeros))
        yield finding(
            "dead",
            f"{names} = 0: neuron {neurons} is dead, so nothing before it learns",
            "move its pre-activation to where the slope is not 0 (a smaller bias, Leaky ReLU)",
            layers=zeros,
        )


@check("underflow")
def underflow(result: ChainResult) -> Iterator[Finding]:
    """A product that is not 0 but too small for float64."""
    log10 = result.gradient_log10
    if result.records and result.gradient == 0 and log10 > -math.inf:
        yield finding(
            "underflow",
            f"the product is 10^{log10:.2f}, which float64 rounds to 0",
            "read the log₁₀ column",
        )


#: In the order in which they are said; a new check is one entry.
CHECKS: tuple[Check[ChainResult], ...] = (dead, underflow)
