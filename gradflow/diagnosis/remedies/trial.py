"""A module in training: the same steps on the same batches at every rate, the best kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import Objective, listed, mapped
from gradflow.diagnosis.remedies.grid import Rate, Trial
from gradflow.diagnosis.remedies.updates import Update
from gradflow.measurement.preserving import random_states_kept

#: Examples of a step, and of the loss at the end, where there are more.
BATCH, _CHECKED = 64, 512
#: Shares of the steps after which the worse half of the rates is given up.
_RUNGS = (0.2, 0.5, 1.0)
_RECENT = 5

Check = Callable[[], None]


def share_of_steps(rates: int) -> float:
    """Return how many steps are taken over all rates, for each that the best one takes."""
    total, before = 0.0, 0.0
    for share in _RUNGS:
        total, before = total + rates * (share - before), share
        rates = max(rates // 2, 1)
    return total


@dataclass(frozen=True)
class Course:
    """A training.

    Attributes
    ----------
    batch
        Examples of a step; None: all that were given.
    clip
        Norm that gradients are clipped to.
    """

    objective: Objective
    steps: int
    batch: int | None = None
    clip: float | None = None


def trained(
    model: nn.Module, course: Course, rates: tuple[Rate, ...], check: Check = lambda: None
) -> Trial:
    """Train copies of `model`, one per rate, and return the best; the model stays as it was.

    Parameters
    ----------
    check
        Called at every step; may raise.
    """
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()):
        model = copy.deepcopy(model).float()  # as mixed precision keeps them
        course = replace(course, objective=course.objective.widened(torch.float32))
    runs = [_Training(copy.deepcopy(model), course, rate) for rate in rates]
    devices = {p.device for p in model.parameters() if p.is_cuda}
    with random_states_kept(devices), torch.inference_mode(False), torch.enable_grad():
        for share in _RUNGS:
            for run in runs:
                run.until(max(round(share * course.steps), 1), check)
            runs.sort(key=_Training.recent)
            if share < 1:
                runs = runs[: max(len(runs) // 2, 1)]
        return Trial(runs[0].loss(), runs[0].rate)


class _Training:
    """One copy at one rate."""

    def __init__(self, model: nn.Module, course: Course, rate: Rate) -> None:
        self.model, self.course, self.rate = model, course, rate
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.update = Update(parameters, [rate], course.clip)
        self.generator = torch.Generator().manual_seed(0)
        self.losses: list[float] = []

    def recent(self) -> float:
        """Return the mean of the last losses; infinite where one was no number."""
        last = self.losses[-_RECENT:]
        return sum(last) / len(last) if last and math.isfinite(sum(last)) else math.inf

    def until(self, steps: int, check: Check) -> None:
        """Go on until so many steps were taken, or a loss is no number."""
        torch.manual_seed(len(self.losses))
        while len(self.losses) < steps and not (self.losses and math.isinf(self.recent())):
            check()
            self._step()

    def _step(self) -> None:
        loss = self._batch().run(self.model)
        self.losses.append(loss.item())
        if math.isfinite(self.losses[-1]):
            self.update.step(loss)

    def _batch(self) -> Objective:
        objective, size = self.course.objective, self.course.batch
        if size is None:
            return objective
        count = divisible(objective) or size
        return taken(objective, torch.randint(count, (size,), generator=self.generator))

    def loss(self) -> float:
        """Return the loss on what was given, or on its first examples."""
        if math.isinf(self.recent()):
            return math.inf
        objective = self.course.objective
        if self.course.batch is not None and (divisible(objective) or 0) > _CHECKED:
            objective = taken(objective, torch.arange(_CHECKED))
        loss = objective.run(self.model).item()  # with a graph: some losses are gradients
        return loss if math.isfinite(loss) else math.inf


def divisible(objective: Objective) -> int | None:
    """Return how many examples there are, where inputs and targets can be taken apart by them."""
    found: list[int] = []
    whole = object()
    if not isinstance(objective.targets, Tensor) or not objective.targets.dim():
        return None

    def note(value: Any) -> Any:
        found.append(len(value) if isinstance(value, Tensor) and value.dim() else -1)
        return whole

    mapped(note, listed(objective.inputs))
    count = len(objective.targets)
    plain = not isinstance(objective.inputs, dict)
    return count if plain and found and set(found) == {count} else None


def taken(objective: Objective, index: Tensor) -> Objective:
    """Return the same of these examples."""

    def some(value: Any) -> Any:
        return value[index.to(value.device)]

    return replace(
        objective,
        inputs=mapped(some, objective.inputs),
        targets=some(objective.targets),
    )
