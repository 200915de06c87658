"""The range test: a training step at each of several rates, from small to large, on a copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import LBFGS

from gradflow.errors import GradflowError, out_of_memory
from gradflow.learning_rates.estimate import Estimate, estimate
from gradflow.learning_rates.subjects import Start
from gradflow.measurement.failures import failure
from gradflow.measurement.preserving import random_states_kept, uncompiled
from gradflow.training.optimizers import rates, set_rates

#: Powers of ten around the estimate that the rates run through.
BELOW, ABOVE = 1.0, 1.5
#: A loss that has risen by so many times its start has diverged, and is not followed any further.
_DIVERGED = 1.0


@dataclass(frozen=True)
class RangeTest:
    """What one seed's network gave.

    Attributes
    ----------
    start
        The loss before the first step.
    rates, losses
        Of each step, and what the loss was after it; a test that diverges ends early.
    """

    estimate: Estimate
    start: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def passes(self) -> int:
        """Forward and backward passes; the last one, forward alone, counts as one."""
        return len(self.losses) + 1


def range_test(start: Start, steps: int, on_step: Callable[[], None]) -> RangeTest:
    """Run the test on `start`, whose network is changed by it.

    Raises
    ------
    GradflowError
        If the model raises, or no rate can be told from its gradient.
    """
    if isinstance(start.optimizer, LBFGS):
        raise GradflowError(
            "LBFGS computes the loss anew within a step: a range test cannot take its steps",
            "line_search_fn='strong_wolfe' finds their length",
        )
    devices = {p.device for p in start.model.parameters() if p.is_cuda}
    try:
        with (
            random_states_kept(devices),
            uncompiled(start.model),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            return _tested(start, steps, on_step)
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise failure(error, start.model) from error


def _tested(start: Start, steps: int, on_step: Callable[[], None]) -> RangeTest:
    first = _backward(start)
    if not math.isfinite(first):
        raise GradflowError(
            f"the first loss is {first}: no learning rate helps", "gradflow diagnose says why"
        )
    found = estimate(start.optimizer)
    if found is None:
        raise GradflowError(
            "the gradient is exactly 0 or not finite: no learning rate helps",
            "gradflow diagnose says why",
        )
    wanted = ladder(found.rate, steps)
    relative, losses = _relative(start.optimizer), list[float]()
    for number, rate in enumerate(wanted, start=1):
        set_rates(start.optimizer, [rate * share for share in relative])
        start.optimizer.step()
        loss = _backward(start) if number < steps else _value(start.loss())
        losses.append(loss)
        on_step()
        if not math.isfinite(loss) or loss - first > _DIVERGED * abs(first):
            break
    return RangeTest(found, first, tuple(wanted[: len(losses)]), tuple(losses))


def ladder(estimate: float, steps: int) -> list[float]:
    """Return the rates of the test, from small to large."""
    span = BELOW + ABOVE
    return [estimate * 10 ** (span * i / (steps - 1) - BELOW) for i in range(steps)]


def _backward(start: Start) -> float:
    start.optimizer.zero_grad()
    loss = start.loss()
    torch.autograd.backward(loss)
    return _value(loss)


def _value(loss: Tensor) -> float:
    return float(loss.detach())


def _relative(optimizer: torch.optim.Optimizer) -> list[float]:
    """The groups' rates beside the largest: it is that one which is looked for."""
    own = [float(rate) for rate in rates(optimizer)]
    largest = max(own)
    return [rate / largest for rate in own] if largest > 0 else [1.0] * len(own)
