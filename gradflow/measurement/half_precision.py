"""What half precision loses of a gradient that float32 keeps, and the loss scale for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.arrays import Floats
from gradflow.measurement import walks
from gradflow.measurement.hooks import Hooks, on_gradient
from gradflow.measurement.modules import matrices
from gradflow.measurement.quantities import together
from gradflow.networks.recurrent import Recurrent

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}
#: Share of the entries that a loss scale is to bring into range.
IN_RANGE = 0.999
#: The smallest subnormal number: what is at most half of it is rounded to 0.
_SMALLEST = {torch.float16: 2.0**-24, torch.bfloat16: 2.0**-133}


@dataclass
class Entries:
    """One layer's gradients, entry by entry: of its output (δ) in all calls, and of its weights."""

    delta: Tensor | None = None
    weight: Tensor | None = None
    calls: int = 0

    def add(self, delta: Tensor) -> None:
        """Add the gradient at the output of one call."""
        both = () if self.delta is None else (self.delta.flatten(), delta.flatten())
        self.delta = torch.cat(both) if both else delta


@dataclass(frozen=True)
class Underflow:
    """What a format loses.

    Attributes
    ----------
    weight, delta
        Per layer, (replicas,): of the entries that are not 0 in float32, the share that is 0
        in the format, having been below its smallest normal number; None where there is no
        gradient.
    loss_scale
        The smallest power of two, from 1 on, by which the loss is to be multiplied for 99.9 % of
        all entries to be in range; None where the largest would then overflow.
    """

    weight: list[Floats | None]
    delta: list[Floats | None]
    loss_scale: float | None


@dataclass
class _Collector:
    """Keeps every gradient of one pass."""

    entries: list[tuple[nn.Module | None, Entries]] = field(default_factory=list)
    of_owner: dict[int, Entries] = field(default_factory=dict)

    def observe(self, owner: nn.Module | None, output: Tensor, units: int | None = None) -> None:
        """Have the gradient at an output kept, of its first units if they are not all."""
        entries = Entries() if owner is None else self.of_owner.setdefault(id(owner), Entries())
        if owner is None or entries.calls == 0:
            self.entries.append((owner, entries))
        entries.calls += 1

        def hook(gradient: Tensor) -> None:
            entries.add(gradient if units is None else gradient[..., :units])

        on_gradient(output, hook)

    def attach(self, model: nn.Module, hooks: Hooks) -> None:
        """Observe every layer call, and every hidden state of a built recurrent network."""
        hooks.after_layer_calls(model, lambda _, layer, output: self.observe(layer, output))
        for module in walks.parts(model):
            if isinstance(module, Recurrent):
                hooks.add(_Unrolled(self, module))


class _Unrolled:
    """A recurrent layer whose states are collected, until `remove()`."""

    def __init__(self, collector: _Collector, layer: Recurrent) -> None:
        self.collector, self.layer = collector, layer
        layer.__dict__["forward"] = self.forward

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the layer step by step."""
        state, units = inputs, self.layer.cell.units
        for step in self.layer.steps(inputs):
            state = step.state
            self.collector.observe(None, state, units)
        return state[..., :units]

    def remove(self) -> None:
        """Give the layer its own forward back."""
        del self.layer.__dict__["forward"]


def gradient_entries(
    model: nn.Module, losses: Callable[[nn.Module], Tensor], *, replicated: bool
) -> list[Entries]:
    """Return every layer's gradients from one plain pass, in the order of the forward pass.

    Of a built recurrent network these are those of its hidden states, then of the output layer.
    """
    collector = _Collector()
    with Hooks() as hooks, torch.enable_grad():
        collector.attach(model, hooks)
        loss = losses(model).sum()
        trained = [p for p in walks.parameters(model) if p.requires_grad]
        grads = torch.autograd.grad(loss, trained, allow_unused=True)
    by_id = dict(zip(map(id, trained), grads, strict=True))
    for owner, entries in collector.entries:
        if owner is not None:
            own = [g for w in matrices(owner) if (g := by_id.get(id(w))) is not None]
            entries.weight = together(own, replicated)
    return [entries for _, entries in collector.entries]


def underflow(wide: Sequence[Entries], half: Sequence[Entries], *, replicated: bool) -> Underflow:
    """Compare the same pass in float32 and in half precision, entry by entry."""

    def lost(one: Tensor | None, other: Tensor | None) -> Floats | None:
        if one is None or other is None:
            return None
        a, b = (t.flatten(1) if replicated else t.flatten().unsqueeze(0) for t in (one, other))
        there = a != 0
        small = a.abs() < torch.finfo(b.dtype).tiny  # larger ones are 0 by cancellation
        gone = (there & small & (b == 0)).sum(1).double()
        share: Floats = (gone / there.sum(1).clamp_min(1)).cpu().numpy()
        return share

    pairs = list(zip(wide, half, strict=True))
    dtype = next(t.dtype for e in half for t in (e.delta, e.weight) if t is not None)
    everything = [t for e in wide for t in (e.delta, e.weight) if t is not None]
    return Underflow(
        [lost(a.weight, b.weight) for a, b in pairs],
        [lost(a.delta, b.delta) for a, b in pairs],
        loss_scale(everything, dtype),
    )


def loss_scale(gradients: Sequence[Tensor], dtype: torch.dtype) -> float | None:
    """Return the smallest power of two that brings 99.9 % of the entries that are not 0 into range.

    In range is what neither is rounded to 0 nor overflows; None where no power of two does both.
    """
    magnitudes = np.concatenate([t.detach().abs().flatten().double().cpu() for t in gradients])
    magnitudes = magnitudes[(magnitudes > 0) & np.isfinite(magnitudes)]
    if not magnitudes.size:
        return None
    allowed = math.floor((1 - IN_RANGE) * magnitudes.size)  # so many may underflow
    least = float(np.partition(magnitudes, allowed)[allowed])
    power = max(0, math.floor(math.log2(_SMALLEST[dtype] / 2 / least)) + 1)
    too_large = float(magnitudes.max()) * 2.0**power > torch.finfo(dtype).max
    return None if too_large else 2.0**power
