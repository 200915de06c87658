"""Adam and SGD with momentum on one long vector: a few calls a step, however many parameters.

`torch.optim` does the same; it takes seconds to import what it needs for its first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradflow.diagnosis.remedies.grid import MOMENTUM, Rate
from gradflow.diagnosis.remedies.loop import PLAIN, Loop

_BETAS = (0.9, 0.999)


class Update:
    """Trains parameters, which become parts of one matrix: a row for each rate.

    Parameters
    ----------
    parameters
        With one rate as they are; with several, each has a leading axis of as many replicas.
    loop
        What else is done to gradients and rates.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], rates: Sequence[Rate], loop: Loop = PLAIN
    ) -> None:
        self.loop, self.steps = loop, 0
        self.parameters = list(parameters)
        rows = [p.detach().reshape(len(rates), -1) for p in self.parameters]
        self.values = torch.cat(rows, 1)
        self._share([tuple(p.shape) for p in self.parameters])
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        adam = [rate.optimizer != "sgd" for rate in rates]
        self.rates = self.values.new_tensor([[rate.lr] for rate in rates])
        self.adam = torch.tensor([[one] for one in adam], device=self.values.device)
        self.kept = self.values.new_tensor([[_BETAS[0] if one else MOMENTUM] for one in adam])
        self.taken = self.values.new_tensor([[1 - _BETAS[0] if one else 1.0] for one in adam])
        self.any_adam = any(adam)

    def keep(self, rows: Sequence[int]) -> None:
        """Give up all other rows; every parameter has a leading axis of replicas."""
        for name in ("values", "mean", "square", "rates", "adam", "kept", "taken"):
            setattr(self, name, getattr(self, name)[list(rows)].clone())
        self.any_adam = bool(self.adam.any())
        self._share([(len(rows), *p.shape[1:]) for p in self.parameters])

    def _share(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Make every parameter a part of the matrix."""
        at = 0
        for p, shape in zip(self.parameters, shapes, strict=True):
            until = at + math.prod(shape) // len(self.values)
            p.data, at = self.values[:, at:until].view(shape), until

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Take one step down `loss`, the sum over the rows."""
        gradient = self._gradient(loss)
        rates = self.rates * self.loop.share_of_rate(self.steps)
        self.steps += 1
        self.mean.mul_(self.kept).addcmul_(gradient, self.taken)
        if not self.any_adam:
            self.values.addcmul_(self.mean, rates, value=-1)
            return
        small, large = (1 - beta**self.steps for beta in _BETAS)
        self.square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        spread = (self.square / large).sqrt_().add_(self.loop.epsilon)
        direction = torch.where(self.adam, self.mean / small / spread, self.mean)
        self.values.addcmul_(direction, rates, value=-1)

    def _gradient(self, loss: Tensor) -> Tensor:
        with torch.enable_grad():
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        parts = [
            (torch.zeros_like(p) if g is None else g.to(p.dtype)).reshape(len(self.values), -1)
            for p, g in zip(self.parameters, found, strict=True)
        ]
        gradient = torch.cat(parts, 1)
        if self.loop.clip is not None:
            norm = gradient.norm(dim=1, keepdim=True)
            gradient *= (self.loop.clip / (norm + 1e-6)).clamp(max=1.0)
        return gradient
