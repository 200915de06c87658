"""Remedies tried on copies of the user's own module."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.remedies.anatomy import Anatomy, anatomy
from gradflow.diagnosis.remedies.catalogue import in_order
from gradflow.diagnosis.remedies.code import applied, exchanged
from gradflow.diagnosis.remedies.cost import step_cost
from gradflow.diagnosis.remedies.grid import CLOCK, STEPS, THREADS, Pace, Plan, Rate, Trial
from gradflow.diagnosis.remedies.loop import PLAIN, Loop
from gradflow.diagnosis.remedies.outcome import (
    Clock,
    Outcome,
    OutOfTimeError,
    Progress,
    row,
)
from gradflow.diagnosis.remedies.race import Entrant, begin, decided
from gradflow.diagnosis.remedies.trial import BATCHES, Contest, Course, divisible, parted, taken
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
    """A remedy's lines for one model, or for its loss, or the loop that it is trained in."""

    name: str
    lines: str
    loop: Loop | None = None
    of_loss: bool = False

    def copy_of(self, a: Anatomy) -> nn.Module:
        """Return a copy of the model that the lines were run on."""
        untouched = self.loop is not None or self.of_loss
        return a.model_copy() if untouched else applied(a.model_copy(), self.lines)

    def treated(self, objective: Objective) -> Objective:
        """Return the same with the loss that the lines make."""
        if not self.of_loss:
            return objective
        return replace(objective, loss=exchanged(objective.loss, self.lines))


#: The model as it is.
_NONE = Treatment("", "")


@dataclass(frozen=True)
class _Trials:
    """What all of a model's trials share."""

    looked_at: Anatomy
    measure: Measure
    rates: tuple[Rate, ...]
    course: Course
    pace: Pace

    def contest(self, model: nn.Module, one: Treatment = _NONE) -> Contest | None:
        """Return a training of copies of `model`; None where there is to be none."""
        loop, course = one.loop or PLAIN, self.course
        rates = loop.rates(self.rates)
        if not rates or not course.steps:
            return None
        objective, held = one.treated(course.objective), one.treated(course.held)
        return Contest(model, replace(course, objective=objective, held=held, loop=loop), rates)

    def start(self, one: Treatment, trained: bool) -> Entrant | None:
        """Measure a treated copy and begin its training; None where it cannot take the change."""
        if one.loop is not None and not one.loop.rates(self.rates):
            return None
        try:
            model = one.copy_of(self.looked_at)
            found = self.looked_at.result
            if one.loop is None:
                found = self.measure(model, one.treated(self.looked_at.objective))
            contest = self.contest(model, one) if trained else None
            if contest is not None:
                begin(contest, self.pace)
        except OutOfTimeError:
            raise
        except Exception as error:  # whatever a changed model raises
            if out_of_memory(error):
                raise
            return None

        def made(trial: Trial | None) -> RemedyRow:
            lines = one.loop.lines(trial, self.rates) if one.loop else one.lines
            return row(one.name, found, trial, lines=lines)

        return Entrant(made, contest, found.verdict == "healthy")


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
        if remedy.loop is not None:
            if a.codes.intersection(remedy.answers):
                yield Treatment(name, "", remedy.loop)
            continue
        code = remedy.code or remedy.loss
        if code is None:
            continue
        try:
            lines = code(a)
        except Exception as error:  # whatever a model raises that is not what it looks like
            if out_of_memory(error):
                raise
            continue
        if lines is not None and lines not in seen:
            seen.add(lines)
            yield Treatment(name, lines, of_loss=remedy.loss is not None)


def _tried(a: Anatomy, measure: Measure, plan: Plan, progress: Progress) -> Outcome:
    every, rates = list(treatments(a)), plan.rates()
    course, pace, cost = _paced(a, plan, len(every) + 1)
    clock = Clock(math.inf if plan.steps is not None else CLOCK)
    course = replace(course, steps=pace.steps, check=clock.check)
    trials = _Trials(a, measure, rates, course, pace)
    tried = len(every) if plan.steps is not None else _tried_within(plan.work, cost, pace)
    untreated = trials.contest(a.model)
    starts = [
        functools.partial(trials.start, one, number < pace.networks)
        for number, one in enumerate(every[:tried], start=1)
    ]
    return decided([one.name for one in every], starts, (plan, pace), progress, untreated)


def _tried_within(work: float, cost: float, pace: Pace) -> int:
    """How many remedies are tried where one that is measured takes as long as some steps."""
    return max(int(work / (_MEASURED * cost)), pace.networks, 1)


def _paced(a: Anatomy, plan: Plan, networks: int) -> tuple[Course, Pace, float]:
    """What trainings have in common, how far they may go, and what a step costs."""
    for size in BATCHES:
        course, cost = _course(a, size)
        pace = plan.fitting(cost * (len(plan.rates()) + _MEASURED / STEPS), cost, networks)
        if pace.steps or plan.steps == 0:
            break
    return course, pace, cost


def _course(a: Anatomy, size: int) -> tuple[Course, float]:
    """What trainings with batches of this size have in common, and what a step costs.

    A model that takes batches of one size gets what was given as it is, and is judged by it.
    """
    with contextlib.suppress(Exception):
        objective, held = parted(a.objective)
        batch = size if (divisible(objective) or 0) > size else None
        first = objective if batch is None else taken(objective, torch.arange(batch))
        if held is not objective:
            held.run(a.model_copy())
        return Course(objective, held, batch), step_cost(a.model_copy(), first.run)
    return Course(a.objective, a.objective), step_cost(a.model_copy(), a.objective.run)
