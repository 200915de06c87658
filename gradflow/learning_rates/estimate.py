"""What one pass says of a learning rate: how long an optimizer's first update may be."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.optim import ASGD, SGD, Optimizer

from gradflow.findings import first_rate
from gradflow.measurement.norms import read_norms
from gradflow.training.optimizers import set_rates


@dataclass(frozen=True)
class Estimate:
    """What one pass says.

    Attributes
    ----------
    momentum
        Of gradient descent, whose steps grow with the gradient; None for any other optimizer.
    step
        Of any other: by how much an entry moves at a rate of 1 (root mean square; Adam: by 1).
    lost
        Of gradient descent: decades by which the gradient of half of the matrices lies below the
        largest, each beside its weights.
    """

    rate: float
    momentum: float | None = None
    step: float = 1.0
    lost: float | None = None


def estimate(optimizer: Optimizer) -> Estimate | None:
    """Return the rate that one backward pass suggests; None where there is no gradient.

    The parameters have their ``.grad``; they and the optimizer are left as they were.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    trained = [p for p in trained if p.grad is not None]
    if isinstance(optimizer, SGD | ASGD):
        return _of_descent(trained, momentum(optimizer))
    return _of_scaled(optimizer, trained)


def momentum(optimizer: Optimizer) -> float:
    """Return the momentum of gradient descent, 0 where there is none."""
    return float(optimizer.param_groups[0].get("momentum", 0.0))


def _of_descent(trained: list[Tensor], momentum: float) -> Estimate | None:
    """Gradient descent: a step is the rate times the gradient, and momentum adds them up."""
    gradient = _norm([p.grad for p in trained if p.grad is not None])
    entries = sum(p.numel() for p in trained)
    rate = first_rate.of_descent(_norm(trained), gradient, entries, momentum)
    return None if rate is None else Estimate(rate, momentum, lost=_lost(trained))


def _lost(trained: list[Tensor]) -> float | None:
    """Decades from the largest ‖g‖/‖w‖ of a matrix down to the median of the first half."""
    norms = [
        (_norm([p.grad]), _norm([p]))
        for p in trained
        if p.grad is not None and p.squeeze().dim() > 1
    ]
    ratios = [gradient / weight for gradient, weight in norms if gradient > 0 and weight > 0]
    if len(ratios) < 2 or not all(map(math.isfinite, ratios)):
        return None
    return math.log10(max(ratios) / median(ratios[: len(ratios) // 2]))


def _of_scaled(optimizer: Optimizer, trained: list[Tensor]) -> Estimate | None:
    """Any other: what its first update at a rate of 1 is, tried and taken back."""
    before = [p.detach().clone() for p in trained]
    state = copy.deepcopy(optimizer.state_dict())
    set_rates(optimizer, [1.0] * len(optimizer.param_groups))
    with torch.no_grad():
        optimizer.step()
        update = [p - old for p, old in zip(trained, before, strict=True)]
        for p, old in zip(trained, before, strict=True):
            p.copy_(old)
    optimizer.load_state_dict(state)
    length = _norm(update)
    if not 0 < length < math.inf:
        return None
    step = length / math.sqrt(sum(u.numel() for u in update))
    return Estimate(first_rate.of_scaled(length, step), step=step)


def _norm(tensors: list[Tensor]) -> float:
    return math.hypot(*map(float, read_norms([t.detach() for t in tensors])))
