"""Remedies in training side by side: what is clearly worse is given up early."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gradflow.diagnosis.remedies.grid import HALF, Pace, Plan, Trial
from gradflow.diagnosis.remedies.outcome import (
    OVER,
    SLOW,
    Outcome,
    OutOfTimeError,
    Progress,
    joined,
    left_out,
    ranked,
)
from gradflow.results.diagnosis import RemedyRow

#: By what share of the untreated network's loss a loss has to be lower to have fallen.
_FALLEN = 0.05
#: Share of the steps after which a first rate is given up where all networks go to the end.
_RATES = 0.2


class Contest(Protocol):
    """A network in training at several rates."""

    def until(self, share: float) -> None:
        """Go on until so large a share of the steps is taken."""

    def trial(self) -> Trial:
        """Return what the training has come to."""


@dataclass(frozen=True)
class Entrant:
    """A remedy that was measured, and its training; None: it is not trained."""

    row: Callable[[Trial | None], RemedyRow]
    contest: Contest | None
    healthy: bool


@dataclass(frozen=True)
class Race:
    """What came of it: rows, how many remedies were begun in time, whether Ctrl-C ended it."""

    rows: list[RemedyRow]
    begun: int
    interrupted: bool

    @property
    def why(self) -> str:
        """Why the rest was not begun."""
        return "after Ctrl-C" if self.interrupted else OVER


def raced(
    starts: Sequence[Callable[[], Entrant | None]],
    pace: Pace,
    progress: Progress,
    untreated: Contest | None,
) -> Race:
    """Train remedies to the end, or the best of them, until time is over, or Ctrl-C.

    Parameters
    ----------
    starts
        Measures a remedy and begins its training; what gives None cannot be tried.
    untreated
        The training of the network as it is, which goes to its end.
    """
    entrants: list[Entrant] = []
    begun, interrupted = 0, False
    total = len(starts) + _further(pace)
    try:
        if untreated is not None:
            begin(untreated, pace)
            if pace.first < 1:
                _finish(untreated)
        for number, start in enumerate(starts):
            progress(number, total)
            entrant = start()
            entrants += [] if entrant is None else [entrant]
            begun += 1
        for number, go_on in enumerate(_rounds(entrants, pace, untreated), start=len(starts)):
            progress(number, total)
            go_on()
    except OutOfTimeError:
        pass
    except KeyboardInterrupt:
        interrupted = True
    rows = [e.row(None if e.contest is None else e.contest.trial()) for e in entrants]
    if not interrupted:
        progress(total, total)
    return Race(rows, begun, interrupted)


def decided(
    names: Sequence[str],
    starts: Sequence[Callable[[], Entrant | None]],
    how: tuple[Plan, Pace],
    progress: Progress,
    untreated: Contest | None,
) -> Outcome:
    """Race remedies, and say which were left out.

    Parameters
    ----------
    names
        Of all remedies there are, of which `starts` are the first.
    how
        How they were to be tried, and how far they may go.
    """
    plan, pace = how
    race = raced(starts, pace, progress, untreated)
    notes = (
        left_out("not trained", names[max(pace.networks - 1, 0) : race.begun], SLOW),
        left_out("not tried", names[race.begun :], race.why if race.begun < len(starts) else SLOW),
    )
    loss = None if untreated is None or not race.rows else untreated.trial().loss
    note = joined(notes if plan.steps != 0 else ())
    return Outcome(ranked(race.rows), loss, pace.steps, note, race.interrupted)


def begin(contest: Contest, pace: Pace) -> None:
    """Take the first part of the steps, or all where no network is to be given up."""
    contest.until(pace.first if pace.first < 1 else _RATES)
    if pace.first == 1:
        _finish(contest)


def _finish(contest: Contest) -> None:
    """Take all steps; rates are given up on the way."""
    contest.until(HALF)
    contest.until(1.0)


def _further(pace: Pace) -> int:
    """How often a network goes on, after the first part of the steps."""
    if pace.first == 1:
        return 0
    kept = pace.kept(max(pace.networks - 1, 0))
    return kept + pace.finalists(kept)


def _rounds(
    entrants: Sequence[Entrant], pace: Pace, untreated: Contest | None
) -> Iterator[Callable[[], None]]:
    """Yield what goes on: the better half to the half of the steps, the best to the end."""
    if pace.first == 1:
        return
    trained = [entrant for entrant in entrants if entrant.contest is not None]
    better = _best(trained, pace.kept(len(trained)), untreated)
    for share, count in ((HALF, len(better)), (1.0, pace.finalists(len(better)))):
        for entrant in _best(better, count, untreated):
            assert entrant.contest is not None
            yield functools.partial(entrant.contest.until, share)


def _best(entrants: Sequence[Entrant], count: int, untreated: Contest | None) -> list[Entrant]:
    """The best so far.

    Where the loss has not fallen yet, it says little, and a healthy network may still begin to
    learn.
    """
    start = math.inf if untreated is None else untreated.trial().loss
    start -= _FALLEN * abs(start) if math.isfinite(start) else 0.0

    def key(entrant: Entrant) -> tuple[bool, bool, float]:
        loss = math.inf if entrant.contest is None else entrant.contest.trial().loss
        return loss >= start, loss >= start and not entrant.healthy, loss

    return sorted(entrants, key=key)[:count]
