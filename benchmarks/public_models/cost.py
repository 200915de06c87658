"""Seconds and memory of a diagnosis over those of a plain forward and backward pass.

Seconds are those of the processor, of one thread: other programs hardly change them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.profiler import ProfilerActivity, profile

import gradflow
from public_models.case import Case, plain_loss

SECONDS = 2.0  # for all rounds of one model
ROUNDS = (3, 7)  # at least, at most
FIRST, LATER = 10, 30  # steps of a watched run, timed apart: of the later two are sampled
WATCHED = 3  # runs of each kind


def plain(case: Case) -> None:
    """One forward and one backward pass."""
    case.model.zero_grad()
    plain_loss(case).backward()


def diagnosed(case: Case) -> None:
    """One diagnosis."""
    gradflow.diagnose(case.model, case.inputs, case.targets, loss=case.loss)


def time_ratio(case: Case) -> tuple[float, float]:
    """Return the seconds of a plain pass, and the median of the rounds' own ratios to it."""
    plain(case)
    return _interleaved(lambda: _seconds(plain, case), lambda: _seconds(diagnosed, case))


def watch_ratios(case: Case) -> tuple[float, float]:
    """Return what a watched step costs over the same step, its optimizer's part included.

    Of the first ten steps, half of which are sampled, and of the next thirty, of which two are, a
    little more than the every twentieth of all later ones: medians over the runs' own ratios.
    """
    trained = (p for p in case.model.parameters() if p.requires_grad)
    optimizer = torch.optim.SGD(trained, lr=1e-7, momentum=0.9)

    def run(watched: bool) -> tuple[float, float]:
        with gradflow.watch(case.model, optimizer=optimizer) if watched else nullcontext():
            return tuple(_steps(case, optimizer, n) for n in (FIRST, LATER))  # type: ignore[return-value]

    _steps(case, optimizer, 2)
    pairs = []
    for turn in range(WATCHED):
        times = {watched: run(watched) for watched in (turn % 2 == 0, turn % 2 == 1)}
        pairs.append(
            [own / plainly for own, plainly in zip(times[True], times[False], strict=True)]
        )
    first, later = (statistics.median(of) for of in zip(*pairs, strict=True))
    return first, later


def _steps(case: Case, optimizer: torch.optim.Optimizer, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        plain(case)
        optimizer.step()
    return time.process_time() - start


def _interleaved(base: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    bases, ratios, spent = [], [], 0.0
    while len(ratios) < ROUNDS[0] or (spent < SECONDS and len(ratios) < ROUNDS[1]):
        first, second = (base, other) if len(ratios) % 2 else (other, base)
        times = first(), second()
        one, two = times if first is base else times[::-1]
        bases.append(one)
        ratios.append(two / one)
        spent += one + two
    return statistics.median(bases), statistics.median(ratios)


def _seconds(step: Callable[[Case], None], case: Case) -> float:
    start = time.process_time()
    step(case)
    return time.process_time() - start


def memory_ratio(case: Case) -> float:
    """Return the peak of tensor memory under a diagnosis over that under a plain pass.

    Both count the model's own tensors, and what PyTorch's allocator gives out during the call.
    """
    case.model.zero_grad()
    own = sum(t.nbytes for t in (*case.model.parameters(), *case.model.buffers()))
    peaks = []
    for step in (plain, diagnosed):
        peaks.append(own + _peak(step, case))
        case.model.zero_grad()
    return peaks[1] / peaks[0]


def _peak(step: Callable[[Case], None], case: Case) -> int:
    """The largest sum of what was allocated and not yet freed, in bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step(case)
    events = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
    moves = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = highest = 0
    for _, size in moves:
        held += size
        highest = max(highest, held)
    return highest
