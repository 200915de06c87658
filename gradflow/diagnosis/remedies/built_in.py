"""Remedies tried on built-in networks: their configs changed, all rates trained at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import batch
from gradflow.datasets.images import load
from gradflow.diagnosis.remedies.catalogue import clipped, in_order
from gradflow.diagnosis.remedies.configs import options
from gradflow.diagnosis.remedies.grid import CLOCK, THREADS, Plan, Trial
from gradflow.diagnosis.remedies.outcome import (
    Clock,
    Outcome,
    OutOfTimeError,
    Progress,
    left_out,
    ranked,
    row,
)
from gradflow.diagnosis.remedies.replicas import Replicas, trained
from gradflow.diagnosis.remedies.source import source
from gradflow.executors.processes import torch_threads
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

#: Seeds that a remedy is measured with.
_SEEDS = 4

Measure = Callable[[NetworkConfig], DiagnosisResult]


@dataclass(frozen=True)
class Changed:
    """A remedy, and the config that it makes."""

    name: str
    config: NetworkConfig
    clip: float | None


def changes(config: NetworkConfig, result: DiagnosisResult) -> Iterator[Changed]:
    """Every remedy that changes this config, each outcome once."""
    seen = [config]
    codes = [f.code for f in result.findings]
    for name, remedy in in_order(codes):
        changed = remedy.change(config) if remedy.change is not None else None
        if changed is None:
            continue
        if remedy.clip is not None:
            if set(codes).intersection(remedy.answers):
                yield Changed(name, config, remedy.clip)
        elif changed not in seen:
            seen.append(changed)
            yield Changed(name, changed, None)


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
    every = list(changes(config, result))
    data = load(None if config.data in ("gaussian", "mnist") else config.data)
    rates = plan.rates()
    cost = 0.0 if plan.steps == 0 else Replicas(config, data, rates, None).cost()
    steps, networks = plan.fitting(cost, len(every) + 1)
    steps = steps if networks > 1 else 0
    clock = Clock(math.inf if plan.steps is not None else CLOCK)

    def loss(changed: NetworkConfig, clip: float | None = None) -> Trial | None:
        return trained(changed, data, rates, steps, clip, clock.check) if steps else None

    rows: list[RemedyRow] = []
    untreated, note = (
        None,
        left_out((one.name for one in every[networks - 1 :]), "in training, since a step is slow"),
    )
    try:
        progress(0, len(every))
        untreated = loss(config)
        for number, one in enumerate(every, start=1):
            trial = loss(one.config, one.clip) if number < networks else None
            found = result if one.clip else measure(one.config)
            lines = torch_lines(one)
            rows.append(row(one.name, found, trial, options=_options(config, one), lines=lines))
            progress(number, len(every))
    except OutOfTimeError:
        rest = (one.name for one in every[len(rows) :])
        note = left_out(rest, f"after {CLOCK:.0f} s of processor time")
    return Outcome(ranked(rows), None if untreated is None else untreated.loss, steps, note)


def torch_lines(one: Changed) -> str:
    """Return the changed network in plain torch, as `model`; empty where torch has no such part."""
    if one.clip is not None:
        return clipped(one.clip)
    data = batch(one.config, torch.float32, torch.device("cpu"))
    return source(one.config, data.inputs.shape[-1], data.classes) or ""


def _options(config: NetworkConfig, one: Changed) -> str:
    if one.clip is not None:
        return f"gradflow clip --policy norm --threshold {one.clip:g}"
    return options(config, one.config)
