"""How ‖g‖ grows over the steps of a run, and in which layer first. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from gradflow.findings.thresholds import FEW_STEPS
from gradflow.findings.words import at, named_layers
from gradflow.results.watching import WatchResult

#: Steps at either end whose median is taken.
ENDS = 5


@dataclass(frozen=True)
class Growth:
    """From the first steps to the last.

    Attributes
    ----------
    first, last
        Medians of ‖g‖.
    layer, step
        Whose gradient was the first to come half of the way, and when; None where none did.
    """

    first: float
    last: float
    layer: int | None = None
    step: int | None = None

    @property
    def decades(self) -> float:
        """By how many powers of ten it grew."""
        return math.log10(self.last / self.first)


def growth(result: WatchResult) -> Growth | None:
    """Return how ‖g‖ grew; None of few steps, or where it was 0 or not finite."""
    known = [s.norm_before for s in result.steps]
    norms = [n for n in known if n is not None and 0 < n < math.inf]
    if len(norms) < max(FEW_STEPS, len(known)):
        return None
    first, last = median(norms[:ENDS]), median(norms[-ENDS:])
    half = math.log10(last / first) / 2
    found = min(_half_way(result, half), default=None) if half > 0 else None
    return Growth(first, last, *((None, None) if found is None else (found[1], found[0])))


def _half_way(result: WatchResult, half: float) -> list[tuple[int, int]]:
    """Return the first step at which each layer's gradient had grown so far, with its number."""
    logs: dict[int, list[tuple[int, float]]] = {}
    for row in result.history:
        log = row.gradient_log10_norm
        if log is not None and math.isfinite(log):
            logs.setdefault(row.index, []).append((row.step, log))
    found = []
    for index, seen in logs.items():
        start = median(log for _, log in seen[:ENDS])
        step = next((step for step, log in seen if log > start + half), None)
        if step is not None:
            found.append((step, index))
    return found


def growth_said(result: WatchResult, grown: Growth) -> str:
    """Return a growth in words."""
    where = ""
    if grown.layer is not None:
        where = (
            f", first in {named_layers(at(result.records, (grown.layer,)))} at step {grown.step}"
        )
    return (
        f"‖g‖ grew by {grown.decades:.1f} decades, from {grown.first:.3g} in the first steps to "
        f"{grown.last:.3g} in the last{where}"
    )
