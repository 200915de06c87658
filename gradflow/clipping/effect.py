"""What a clipping policy does to one gradient: length, direction, entries and layers touched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.clipping.policies import Clipping, clip_gradients
from gradflow.clipping.replicas import Replicas, layers_of
from gradflow.clipping.tasks import Problem
from gradflow.results.clipping import TimeStepRow


@dataclass(frozen=True)
class Effect:
    """A gradient before and after clipping, layer by layer: float64 vectors on the CPU."""

    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]

    @property
    def layers_touched(self) -> float:
        """Share of the layers of which an entry was changed."""
        pairs = zip(self.before, self.after, strict=True)
        return sum(not same(b, a) for b, a in pairs) / len(self.before)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return the gradient of all layers together, before and after."""
        return torch.cat(self.before), torch.cat(self.after)


@dataclass(frozen=True)
class FirstGradient:
    """The gradient of a problem's first batch, of every seed.

    Attributes
    ----------
    names
        Of the layers.
    flow
        log₁₀ of the gradient's norm with respect to the inputs of each step of a sequence, median
        over seeds; empty where the inputs are no sequence.
    """

    names: tuple[str, ...]
    seeds: int
    flow: tuple[TimeStepRow, ...]
    replicas: Replicas
    model: nn.Module

    def effects(self, clipping: Clipping) -> tuple[Effect, ...]:
        """Return what a policy that has seen nothing else makes of it, for every seed."""
        raw = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        self.replicas.take_gradients(range(self.seeds))
        before = [self._flat(seed) for seed in range(self.seeds)]
        for seed in range(self.seeds):
            layers = self.replicas.layers[seed]
            if all(entries.isfinite().all() for entries in before[seed]):
                clip_gradients(clipping.clipper(), layers)
        after = [self._flat(seed) for seed in range(self.seeds)]
        for parameter, gradient in zip(self.model.parameters(), raw, strict=True):
            parameter.grad = gradient
        return tuple(Effect(b, a) for b, a in zip(before, after, strict=True))

    def _flat(self, seed: int) -> tuple[Tensor, ...]:
        return tuple(
            flat(p.grad for p in layer if p.grad is not None)
            for layer in self.replicas.layers[seed]
        )


def first_gradient(problem: Problem, seeds: int) -> FirstGradient:
    """Run one forward and backward pass on the first batch; the weights stay as they are."""
    inputs, targets = problem.batch(0)
    inputs.requires_grad_(inputs.ndim == 4)
    outputs = problem.model(inputs).flatten(0, -2)
    each = problem.loss(outputs, targets.flatten()).view(seeds, -1).mean(1)
    torch.autograd.backward(each.sum())
    names = tuple(layers_of(problem.model))
    replicas = Replicas(problem.model, seeds)
    return FirstGradient(names, seeds, tuple(_flow(inputs)), replicas, problem.model)


def _flow(inputs: Tensor) -> list[TimeStepRow]:
    if inputs.grad is None:
        return []
    norms = inputs.grad.detach().cpu().double().transpose(1, 2).flatten(2).norm(dim=2)
    return [
        TimeStepRow(step, float(log10))
        for step, log10 in enumerate(norms.log10().quantile(0.5, 0).tolist(), start=1)
    ]


def share(layers: Sequence[Tensor], index: int) -> float:
    """Return a layer's part of the squared norm of all layers; 0 where that is 0."""
    squares = [float(layer.square().sum()) for layer in layers]
    total = math.fsum(squares) if all(map(math.isfinite, squares)) else math.inf
    return squares[index] / total if total else 0.0


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return all entries as one float64 vector on the CPU: squares of 1e-30 are not 0 there."""
    return torch.cat([t.detach().flatten().cpu().double() for t in tensors])


def same(before: Tensor, after: Tensor) -> bool:
    """Whether no entry was changed (a NaN that stays one is the same)."""
    return changed_fraction(before, after) == 0


def cosine(before: Tensor, after: Tensor) -> float | None:
    """Return the cosine between two gradients; None where either is 0 or not finite."""
    a, b = before.abs().max(), after.abs().max()
    if not (bool(a > 0) and bool(b > 0) and math.isfinite(a) and math.isfinite(b)):
        return None
    a_unit, b_unit = before / a, after / b
    a_unit, b_unit = a_unit / a_unit.norm(), b_unit / b_unit.norm()
    return float(torch.dot(a_unit, b_unit).clamp(-1, 1))


def changed_fraction(before: Tensor, after: Tensor) -> float:
    """Return the share of the entries that a policy changed."""
    changed = (before != after) & ~(before.isnan() & after.isnan())
    return float(changed.double().mean())
