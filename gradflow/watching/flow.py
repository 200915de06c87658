"""How far δ shrinks or grows on its way back through a watched model. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gradflow.findings.thresholds import bearable_decades, of_a_run
from gradflow.findings.words import Graded, graded, lost_decades, near
from gradflow.results.watching import WatchResult


@dataclass(frozen=True)
class Flow:
    """A fall or a rise of δ that is too large.

    Attributes
    ----------
    lost
        Decades over the hidden layers; below 0 where it grows.
    when
        In words: at which step.
    """

    rate: float
    lost: float
    hidden: int
    when: str
    grade: Graded


def bad_flow(result: WatchResult) -> Flow | None:
    """Return how δ shrinks or grows: at the first step, as `diagnose` says, or the median."""
    return next(_bad_flows(result), None)


def vanishes(result: WatchResult) -> bool:
    """Return whether δ shrinks too far for some optimizer: no learning rate evens that out."""
    found = bad_flow(result)
    return found is not None and found.lost > 0


def _bad_flows(result: WatchResult) -> Iterator[Flow]:
    hidden = len(result.records) - 1 if result.facts.span is None else result.facts.span
    for rate, when in ((result.first_rate, "first"), (result.rate, "median")):
        lost = lost_decades(rate, hidden)
        grade = None if lost is None else _grade(result, lost, hidden)
        if rate is not None and lost is not None and grade is not None:
            yield Flow(rate, lost, hidden, when, grade)


def _grade(result: WatchResult, lost: float, hidden: int) -> Graded | None:
    """How bad it is that δ shrinks, for the run's optimizer; or that it grows."""
    if lost > 0:
        known = result.facts.optimizer
        optimizer = of_a_run(None if known is None else known.kind)
        return graded(lost, lambda t: t.bearable_decades(hidden), optimizer)
    bound = bearable_decades(hidden, batch_norm=result.facts.batch_norm)
    return Graded("error", near(-lost, bound)) if -lost >= bound else None
