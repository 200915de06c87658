"""A module in training: the same steps on the same batches at every rate, the best kept."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import Objective, listed, mapped
from gradflow.diagnosis.remedies.grid import Rate, Trial
from gradflow.diagnosis.remedies.loop import PLAIN, Loop
from gradflow.diagnosis.remedies.updates import Update
from gradflow.errors import out_of_memory
from gradflow.measurement.preserving import random_states_kept

#: Examples of a step, and where that is slow; of the loss that no step sees, at most, and as a
#: share, where there are so many; how many of them there must be.
BATCHES, _CHECKED, _SHARE, _LEAST = (64, 16), 256, 4, 16
#: How often that loss is taken: the lowest counts, since a small batch is soon known by heart.
_TIMES = 10

Check = Callable[[], None]


@dataclass(frozen=True)
class Course:
    """A training.

    Attributes
    ----------
    objective
        What is trained on.
    held
        What the loss is taken of: examples that no step sees, or the same.
    batch
        Examples of a step; None: all that there are.
    steps
        At most.
    loop
        How else it is trained.
    check
        Called at every step; may raise.
    """

    objective: Objective
    held: Objective
    batch: int | None = None
    steps: int = 0
    loop: Loop = PLAIN
    check: Check = lambda: None

    @property
    def pause(self) -> int:
        """After how many steps the loss is taken again."""
        return max(self.steps // _TIMES, 1)

    def widened(self) -> Course:
        """Return the same in float32."""
        objective, held = (o.widened(torch.float32) for o in (self.objective, self.held))
        return replace(self, objective=objective, held=held)


def parted(objective: Objective) -> tuple[Objective, Objective]:
    """Return the examples to train on, and a quarter to judge by, where there are enough."""
    count = divisible(objective) or 0
    held = min(count // _SHARE, _CHECKED)
    if held < _LEAST:
        return objective, objective
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return taken(objective, order[held:]), taken(objective, order[:held])


class Contest:
    """A network in training, a copy for each rate: the worse are given up on the way.

    Parameters
    ----------
    model
        Stays as it was.
    """

    def __init__(self, model: nn.Module, course: Course, rates: tuple[Rate, ...]) -> None:
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()):
            model = copy.deepcopy(model).float()  # as mixed precision keeps them
            course = course.widened()
        self.runs = [_Training(copy.deepcopy(model), course, rate) for rate in rates]
        self.devices = {p.device for p in model.parameters() if p.is_cuda}

    def until(self, share: float) -> None:
        """Go on until so large a share of the steps is taken; then the worst rate is given up."""
        with self._training():
            for run in self.runs:
                run.until(max(round(share * run.course.steps), 1))
        self.runs = sorted(self.runs, key=lambda run: run.lowest)[: max(len(self.runs) - 1, 1)]

    def trial(self) -> Trial:
        """Return what the best copy has come to."""
        best = self.runs[0]
        return Trial(best.lowest, best.rate, len(best.losses))

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        with random_states_kept(self.devices), torch.inference_mode(False), torch.enable_grad():
            yield


class _Training:
    """One copy at one rate."""

    def __init__(self, model: nn.Module, course: Course, rate: Rate) -> None:
        self.model, self.course, self.rate = model, course, rate
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.update = Update(parameters, [rate], course.loop)
        self.generator = torch.Generator().manual_seed(0)
        self.losses: list[float] = []
        self.lowest = math.inf  # of the losses on what is judged by

    def until(self, steps: int) -> None:
        """Go on until so many steps were taken, or a loss is no number."""
        torch.manual_seed(len(self.losses))
        while len(self.losses) < steps and not (self.losses and math.isinf(self.losses[-1])):
            self.course.check()
            try:
                self._step()
            except Exception as error:  # whatever a model makes of weights that are not finite
                if out_of_memory(error) or not self.losses:
                    raise
                self.losses.append(math.inf)

    def _step(self) -> None:
        loss = self._batch().run(self.model)
        self.losses.append(loss.item() if math.isfinite(loss.item()) else math.inf)
        if math.isfinite(self.losses[-1]):
            self.update.step(loss)
            if len(self.losses) % self.course.pause == 0:
                self.lowest = min(self.lowest, self._loss())

    def _batch(self) -> Objective:
        objective, size = self.course.objective, self.course.batch
        if size is None:
            return objective
        count = divisible(objective) or size
        return taken(objective, torch.randint(count, (size,), generator=self.generator))

    def _loss(self) -> float:
        """Return the loss on what is judged by."""
        loss = self.course.held.run(self.model).item()  # with a graph: some losses are gradients
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
