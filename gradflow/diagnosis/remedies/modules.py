"""Remedies tried on copies of the user's own module."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.remedies.anatomy import Anatomy, anatomy
from gradflow.diagnosis.remedies.catalogue import in_order
from gradflow.diagnosis.remedies.code import applied
from gradflow.diagnosis.remedies.cost import step_cost
from gradflow.diagnosis.remedies.grid import CLOCK, Plan, Trial
from gradflow.diagnosis.remedies.outcome import (
    Clock,
    Outcome,
    OutOfTimeError,
    Progress,
    left_out,
    one_thread,
    ranked,
    row,
)
from gradflow.diagnosis.remedies.trial import first_batch, share_of_steps, trained
from gradflow.errors import out_of_memory
from gradflow.measurement.failures import first_line
from gradflow.measurement.preserving import random_states_kept
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

Measure = Callable[[nn.Module, Objective], DiagnosisResult]
#: Steps that measuring a copy costs about as much as.
_MEASURED = 12


@dataclass(frozen=True)
class Treated:
    """A remedy's lines, and the copy that they were run on."""

    name: str
    lines: str
    model: nn.Module
    clip: float | None


@dataclass(frozen=True)
class _Trials:
    """What all of a model's trials share."""

    looked_at: Anatomy
    measure: Measure
    plan: Plan
    steps: int
    clock: Clock

    def loss(self, model: nn.Module, clip: float | None = None) -> Trial | None:
        """Train copies of `model`; None where nothing is to be trained."""
        if not self.steps:
            return None
        objective, rates = self.looked_at.objective, self.plan.rates()
        return trained(model, objective, rates, self.steps, clip, self.clock.check)

    def row(self, one: Treated) -> RemedyRow | None:
        """Measure and train a treated copy; None where the model cannot take the change."""
        try:
            found = self.measure(one.model, self.looked_at.objective)
            trial = self.loss(one.model, one.clip)
        except OutOfTimeError:
            raise
        except Exception as error:  # whatever a changed model raises
            if out_of_memory(error):
                raise
            return None
        return row(one.name, found, trial, lines=one.lines)


def tried_on(
    model: nn.Module,
    objective: Objective,
    result: DiagnosisResult,
    measure: Measure,
    plan: Plan,
    progress: Progress,
) -> Outcome:
    """Try remedies on copies of `model`, which stays as it was."""
    devices = {p.device for p in model.parameters() if p.is_cuda}
    with random_states_kept(devices), one_thread():
        try:
            looked_at = anatomy(copy.deepcopy(model), _copied(objective), result)
        except Exception as error:  # whatever a model raises that cannot be copied
            if out_of_memory(error):
                raise
            return Outcome(note=f"{type(error).__name__}: {first_line(error)}", copied=False)
        return _tried(looked_at, measure, plan, progress)


def _copied(objective: Objective) -> Objective:
    """The same with a copy of a loss that is a module, whose state a trial would change."""
    if isinstance(objective.loss, nn.Module):
        return replace(objective, loss=copy.deepcopy(objective.loss))
    return objective


def treated(a: Anatomy) -> Iterator[Treated]:
    """Every remedy that applies, on a copy of its own; each change once."""
    seen: set[str] = set()
    for name, remedy in in_order(f.code for f in a.result.findings):
        if remedy.code is None or (remedy.clip and not a.codes.intersection(remedy.answers)):
            continue
        try:
            lines = remedy.code(a)
            if lines is None or lines in seen:
                continue
            model = a.model_copy()
            model = model if remedy.clip else applied(model, lines)
        except Exception as error:  # a change that this model cannot take
            if out_of_memory(error):
                raise
            continue
        seen.add(lines)
        yield Treated(name, lines, model, remedy.clip)


def _tried(a: Anatomy, measure: Measure, plan: Plan, progress: Progress) -> Outcome:
    every = list(treated(a))
    rates = len(plan.rates())
    part = first_batch(a.objective)
    cost = step_cost(a.model_copy(), part.run) * (share_of_steps(rates) + _MEASURED / 100)
    steps, networks = plan.fitting(cost, len(every) + 1)
    chosen = every[: max(networks - 1, 0)]
    note = left_out((t.name for t in every[len(chosen) :]), "since a step of this model is slow")
    clock = Clock(math.inf if plan.steps is not None else CLOCK)
    trials = _Trials(a, measure, plan, steps if chosen else 0, clock)
    rows: list[RemedyRow] = []
    untreated = None
    done = 0
    try:
        progress(0, len(chosen))
        untreated = trials.loss(a.model)
        for one in chosen:
            found = trials.row(one)
            rows += [] if found is None else [found]
            done += 1
            progress(done, len(chosen))
    except OutOfTimeError:
        note = left_out((t.name for t in every[done:]), f"after {CLOCK:.0f} s of processor time")
    loss = None if untreated is None else untreated.loss
    return Outcome(ranked(rows), loss, trials.steps, note)
