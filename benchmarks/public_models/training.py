"""Whether a model learns: a task with a rule, on fresh batches, for a moment.

Tells broken variants that do not train from ones that do all the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from public_models.case import Case, plain_loss, seeded

STEPS = 80
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}


def losses(case: Case, optimizer: str) -> tuple[float, float]:
    """Return the loss before, and the mean over the last steps; infinite where it is no number."""
    seeded(1)
    parameters = [p for p in case.model.parameters() if p.requires_grad]
    steps, seen = OPTIMIZERS[optimizer](parameters), []
    for _ in range(STEPS):
        steps.zero_grad()
        loss = plain_loss(fresh(case))
        loss.backward()
        steps.step()
        seen.append(loss.item())
    last = sum(seen[-10:]) / 10
    return seen[0], last if math.isfinite(last) else math.inf


def fresh(case: Case) -> Case:
    """Return the case with another batch of a task that has a rule."""
    if isinstance(case.inputs, dict):
        ids = _sequences(case.inputs["input_ids"].shape)
        return replace(case, inputs={"input_ids": ids, "labels": ids.clone()})
    x = torch.randn(case.inputs.shape).to(case.inputs)
    if case.targets.dim() > 1:
        return replace(case, inputs=x, targets=(x[:, 0] > 0).long())
    labels = torch.randint(10, (len(x),))
    return replace(case, inputs=x + 0.5 * _prototypes(x)[labels], targets=labels)


def _sequences(shape: torch.Size) -> Tensor:
    """Sequences in which every token is the one before, plus 7, of 100."""
    first = torch.randint(100, (shape[0], 1))
    return 5 + (first + 7 * torch.arange(shape[1])) % 100


def _prototypes(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(10, *like.shape[1:], generator=generator).to(like)
