"""Remedies tried on built-in networks: their configs changed, all rates trained at once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import batch
from gradflow.diagnosis.remedies.catalogue import in_order
from gradflow.diagnosis.remedies.configs import options
from gradflow.diagnosis.remedies.grid import CLOCK, THREADS, Pace, Plan, Rate, Trial
from gradflow.diagnosis.remedies.loop import PLAIN, Loop
from gradflow.diagnosis.remedies.outcome import (
    Clock,
    Outcome,
    Progress,
    row,
)
from gradflow.diagnosis.remedies.race import Entrant, begin, decided
from gradflow.diagnosis.remedies.replicas import BATCHES, Examples, Replicas, examples
from gradflow.diagnosis.remedies.source import source
from gradflow.executors.processes import torch_threads
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

#: Seeds that a remedy is measured with.
_SEEDS = 4

Measure = Callable[[NetworkConfig], DiagnosisResult]


@dataclass(frozen=True)
class Changed:
    """A remedy, and the config that it makes, or the loop."""

    name: str
    config: NetworkConfig
    loop: Loop | None


def changes(config: NetworkConfig, result: DiagnosisResult) -> Iterator[Changed]:
    """Every remedy that changes this config, each outcome once."""
    seen = [config]
    codes = [f.code for f in result.findings]
    for name, remedy in in_order(codes):
        if remedy.loop is not None:
            if set(codes).intersection(remedy.answers):
                yield Changed(name, config, remedy.loop)
            continue
        changed = remedy.change(config) if remedy.change is not None else None
        if changed is not None and changed not in seen:
            seen.append(changed)
            yield Changed(name, changed, None)


@dataclass(frozen=True)
class _Trials:
    """What all trials share."""

    config: NetworkConfig
    result: DiagnosisResult
    measure: Measure
    rates: tuple[Rate, ...]
    data: Examples
    pace: Pace
    batch: int
    check: Callable[[], None]

    def contest(self, config: NetworkConfig, loop: Loop = PLAIN) -> Replicas | None:
        """Return a training of this network; None where there is to be none."""
        rates = loop.rates(self.rates)
        if not rates or not self.pace.steps:
            return None
        return Replicas(config, self.data, rates, self.pace.steps, loop, self.batch, self.check)

    def start(self, one: Changed, trained: bool) -> Entrant | None:
        """Measure the changed network and begin its training; None where there is no change."""
        if one.loop is not None and not one.loop.rates(self.rates):
            return None
        found = self.result if one.loop is not None else self.measure(one.config)
        contest = self.contest(one.config, one.loop or PLAIN) if trained else None
        if contest is not None:
            begin(contest, self.pace)

        def made(trial: Trial | None) -> RemedyRow:
            lines = self._lines(one, trial)
            return row(one.name, found, trial, options=_options(self.config, one), lines=lines)

        return Entrant(made, contest, found.verdict == "healthy")

    def _lines(self, one: Changed, trial: Trial | None) -> str:
        if one.loop is not None:
            return one.loop.lines(trial, self.rates)
        return torch_lines(one.config)


@torch_threads(THREADS)
def tried(
    config: NetworkConfig,
    result: DiagnosisResult,
    measure: Measure,
    plan: Plan,
    progress: Progress,
) -> Outcome:
    """Try remedies on an unhealthy built-in network, trained on the images it is to learn."""
    config = dataclasses.replace(config, seeds=min(config.seeds, _SEEDS))
    every, data, rates = list(changes(config, result)), examples(config), plan.rates()
    pace, size = _pace(config, data, plan, len(every) + 1)
    clock = Clock(math.inf if plan.steps is not None else CLOCK)
    trials = _Trials(config, result, measure, rates, data, pace, size, clock.check)
    untreated = trials.contest(config)
    starts = [
        functools.partial(trials.start, one, number < pace.networks)
        for number, one in enumerate(every, start=1)
    ]
    return decided([one.name for one in every], starts, (plan, pace), progress, untreated)


def _pace(config: NetworkConfig, data: Examples, plan: Plan, networks: int) -> tuple[Pace, int]:
    """How far trainings may go, by what a step costs, and with how many examples a step."""
    if plan.steps == 0:
        return Pace(0, 0), BATCHES[0]
    rates = plan.rates()
    for size in BATCHES:
        every, one = (
            Replicas(config, data, some, batch=size).cost() for some in (rates, rates[:1])
        )
        pace = plan.fitting(every, one, networks)
        if pace.steps:
            break
    return pace, size


def torch_lines(config: NetworkConfig) -> str:
    """Return the changed network in plain torch, as `model`; empty where torch has no such part."""
    data = batch(config, torch.float32, torch.device("cpu"))
    return source(config, data.inputs.shape[-1], data.classes) or ""


def _options(config: NetworkConfig, one: Changed) -> str:
    if one.loop is None:
        return options(config, one.config)
    if one.loop.clip is not None:
        return f"gradflow clip --policy norm --threshold {one.loop.clip:g}"
    return ""
