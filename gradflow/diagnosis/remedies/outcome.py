"""What trying remedies gave: rows, the best first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gradflow.diagnosis.checks.decades import decades
from gradflow.diagnosis.remedies.grid import CLOCK, Trial
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

#: Called with how many remedies were tried, and of how many.
Progress = Callable[[int, int], None]
#: Why some were not tried, or not trained.
SLOW = "since a step of this network is slow (--trial-steps trains all)"
OVER = f"after {CLOCK:.0f} s of processor time"
#: Verdicts under which a low loss is no good sign: the loss itself is wrong.
_WRONG_LOSS = frozenset({"loss", "output-activation", "targets", "shapes"})


@dataclass(frozen=True)
class Outcome:
    """Remedies that were tried, the best first.

    Attributes
    ----------
    rows
        One for each.
    untreated
        What the same training makes of the network as it is; None: nothing was trained.
    steps
        Of each training.
    note
        What was left out and why, or why nothing could be tried.
    interrupted
        Whether Ctrl-C ended it.
    copied
        Whether the model could be copied at all.
    """

    rows: tuple[RemedyRow, ...] = ()
    untreated: float | None = None
    steps: int = 0
    note: str | None = None
    interrupted: bool = False
    copied: bool = True


class OutOfTimeError(Exception):
    """The clock has run out."""


class Clock:
    """The last guard where work was counted wrong: processor time; what it stops is said."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, time.process_time()

    def check(self) -> None:
        """Raise if time is over."""
        if time.process_time() - self.start > self.seconds:
            raise OutOfTimeError


def row(
    name: str, result: DiagnosisResult, trial: Trial | None, *, options: str = "", lines: str = ""
) -> RemedyRow:
    """Return the row of one remedy."""
    return RemedyRow(
        remedy=name,
        verdict=result.verdict,
        rate=result.rate,
        decades=decades(result),
        trained_loss=None if trial is None else trial.loss,
        optimizer=None if trial is None else trial.rate.optimizer,
        learning_rate=None if trial is None else trial.rate.lr,
        steps=None if trial is None else trial.steps,
        options=options,
        torch=lines,
    )


def ranked(rows: Iterable[RemedyRow]) -> tuple[RemedyRow, ...]:
    """Return rows in the order of what trained; without training, of health and decades."""

    def key(row: RemedyRow) -> tuple[bool, bool, float, bool, float]:
        trained = math.inf if row.trained_loss is None else row.trained_loss
        wrong, sick = row.verdict in _WRONG_LOSS, row.verdict != "healthy"
        return wrong, math.isinf(trained), trained, sick, row.decades

    return tuple(sorted(rows, key=key))


def left_out(what: str, names: Iterable[str], why: str) -> str | None:
    """Say of which remedies something was left out."""
    names = list(names)
    return f"{what}, {why}: {', '.join(names)}" if names else None


def joined(notes: Iterable[str | None]) -> str | None:
    """Return what was said, as one text."""
    return "; ".join(note for note in notes if note is not None) or None
