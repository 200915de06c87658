"""What a paper says in numbers, what theory says of it, and how it is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def short(number: float, digits: int = 4) -> str:
    """Return a number of so many digits, without an exponent where it needs none."""
    return f"{float(f'{number:.{digits}g}'):g}"


@dataclass(frozen=True)
class Measured:
    """Repeated measurements: their mean, its standard error and their number."""

    mean: float
    error: float
    count: int

    def __str__(self) -> str:
        if self.count == 1:
            return short(self.mean)
        return f"{short(self.mean)} ± {short(1.96 * self.error, 2)} (n = {self.count})"


@dataclass(frozen=True)
class Claim:
    """One number of one paper.

    Attributes
    ----------
    paper
        Authors, year, and where it stands.
    what
        What is measured.
    published
        As the paper has it.
    expected
        The number that theory gives for what is measured, or the least and the largest; it shares
        no code with what measures.
    within
        How far the mean may be from it: a share of it, of 1 where it is 0.
    measure
        Returns one number per network, or per group of networks.
    """

    paper: str
    what: str
    published: str
    expected: float | tuple[float, float]
    within: float
    measure: Callable[[], Sequence[float]]

    def measured(self) -> Measured:
        """Measure it."""
        values = list(self.measure())
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return Measured(statistics.fmean(values), spread / math.sqrt(len(values)), len(values))

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest mean that agree with it."""
        low, high = self.expected if isinstance(self.expected, tuple) else (self.expected,) * 2
        margin = self.within * (max(abs(low), abs(high)) or 1.0)
        return low - margin, high + margin

    @property
    def theory(self) -> str:
        """What is expected, in a cell of a table."""
        if isinstance(self.expected, tuple):
            return " to ".join(map(short, self.expected))
        return short(self.expected)
