"""Remedies tried on copies of the user's own module."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.remedies.anatomy import Anatomy, anatomy
from gradflow.diagnosis.remedies.catalogue import in_order
from gradflow.diagnosis.remedies.code import applied
from gradflow.diagnosis.remedies.cost import step_cost
from gradflow.diagnosis.remedies.grid import CLOCK, STEPS, THREADS, Plan, Trial
from gradflow.diagnosis.remedies.outcome import (
    Clock,
    Outcome,
    OutOfTimeError,
    Progress,
    left_out,
    ranked,
    row,
)
from gradflow.diagnosis.remedies.trial import (
    BATCH,
    Course,
    divisible,
    share_of_steps,
    taken,
    trained,
)
from gradflow.errors import out_of_memory
from gradflow.executors.processes import torch_threads
from gradflow.measurement.failures import first_line
from gradflow.measurement.preserving import random_states_kept
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

Measure = Callable[[nn.Module, Objective], DiagnosisResult]
#: Steps that measuring a copy costs about as much as.
_MEASURED = 12


@dataclass(frozen=True)
class Treatment:
    """A remedy's lines for one model, and the norm that it clips gradients to."""

    name: str
    lines: str
    clip: float | None

    def copy_of(self, a: Anatomy) -> nn.Module:
        """Return a copy of the model that the lines were run on."""
        return a.model_copy() if self.clip else applied(a.model_copy(), self.lines)


@dataclass(frozen=True)
class _Trials:
    """What all of a model's trials share."""

    looked_at: Anatomy
    measure: Measure
    plan: Plan
    steps: int
    clock: Clock
    batch: int | None

    def loss(self, model: nn.Module, clip: float | None = None) -> Trial | None:
        """Train copies of `model`; None where nothing is to be trained."""
        if not self.steps:
            return None
        course = Course(self.looked_at.objective, self.steps, self.batch, clip)
        return trained(model, course, self.plan.rates(), self.clock.check)

    def row(self, one: Treatment) -> RemedyRow | None:
        """Measure and train a treated copy; None where the model cannot take the change."""
        try:
            model = one.copy_of(self.looked_at)
            found = self.measure(model, self.looked_at.objective)
            trial = self.loss(model, one.clip)
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
    with random_states_kept(devices), torch_threads(THREADS):
        try:
            looked_at = anatomy(copy.deepcopy(model), _copied(objective), result)
            return _tried(looked_at, measure, plan, progress)
        except Exception as error:  # whatever a model raises that cannot be copied, or trained
            if out_of_memory(error):
                raise
            return Outcome(note=f"{type(error).__name__}: {first_line(error)}", copied=False)


def _copied(objective: Objective) -> Objective:
    """The same with a copy of a loss that is a module, whose state a trial would change."""
    if isinstance(objective.loss, nn.Module):
        return replace(objective, loss=copy.deepcopy(objective.loss))
    return objective


def treatments(a: Anatomy) -> Iterator[Treatment]:
    """Every remedy that applies, those first that answer what was found first; each change once."""
    seen: set[str] = set()
    for name, remedy in in_order(f.code for f in a.result.findings):
        if remedy.code is None or (remedy.clip and not a.codes.intersection(remedy.answers)):
            continue
        try:
            lines = remedy.code(a)
        except Exception as error:  # whatever a model raises that is not what it looks like
            if out_of_memory(error):
                raise
            continue
        if lines is not None and lines not in seen:
            seen.add(lines)
            yield Treatment(name, lines, remedy.clip)


def _tried(a: Anatomy, measure: Measure, plan: Plan, progress: Progress) -> Outcome:
    every = list(treatments(a))
    batch, cost = _step(a)
    share = share_of_steps(len(plan.rates())) + _MEASURED / STEPS
    steps, networks = plan.fitting(cost * share, len(every) + 1)
    chosen = every[: max(networks - 1, 0)]
    note = left_out((t.name for t in every[len(chosen) :]), "since a step of this model is slow")
    clock = Clock(math.inf if plan.steps is not None else CLOCK)
    trials = _Trials(a, measure, plan, steps if chosen else 0, clock, batch)
    rows: list[RemedyRow] = []
    untreated, done = None, 0
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


def _step(a: Anatomy) -> tuple[int | None, float]:
    """How many examples a step takes, None being all, and what it costs."""
    part = divisible(a.objective)
    if part is not None and part > BATCH:
        first = taken(a.objective, torch.arange(BATCH))
        with contextlib.suppress(Exception):  # a model that takes batches of one size
            return BATCH, step_cost(a.model_copy(), first.run)
    return None, step_cost(a.model_copy(), a.objective.run)
