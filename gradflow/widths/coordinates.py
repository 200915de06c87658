"""Train a network for a few steps on one batch, and say how far each step moves every layer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.errors import GradflowError, out_of_memory
from gradflow.measurement import walks
from gradflow.measurement.failures import failure
from gradflow.measurement.hooks import first_tensor
from gradflow.measurement.modules import is_layer
from gradflow.measurement.preserving import plain_name, random_states_kept, uncompiled
from gradflow.networks.recurrent import Recurrent
from gradflow.widths.parameters import Held, held_by
from gradflow.widths.subjects import Start

#: What is no layer of a diagnosis: tables, and what calls no forward of its cell.
_FURTHER = (nn.Embedding, nn.EmbeddingBag, Recurrent)


@dataclass(frozen=True)
class Moved:
    """One layer of one network.

    Attributes
    ----------
    weight
        The name of the parameter that it multiplies by.
    outputs
        Root mean square of its outputs before every step, and after the last.
    changes
        Of their difference from those before the first step; one number fewer.
    """

    name: str
    kind: str
    weight: str
    outputs: tuple[float, ...]
    changes: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """What one network gave."""

    width: int
    seed: int
    optimizer: str
    lr: float | None
    layers: tuple[Moved, ...]
    parameters: tuple[Held, ...]


@dataclass
class _Layer:
    """A layer whose outputs are read: of this pass, and of the first."""

    module: nn.Module
    now: list[Tensor] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    outputs: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    def hear(self, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
        found = first_tensor(outputs)
        if found is not None:
            self.now.append(found.detach().clone())  # what follows may work in place

    def read(self) -> None:
        """Take the numbers of one pass."""
        if not self.outputs:
            self.first = self.now
        else:
            pairs = zip(self.now, self.first, strict=False)
            self.changes.append(_rms([new - old for new, old in pairs]))
        self.outputs.append(_rms(self.now))
        self.now = []


def _rms(tensors: list[Tensor]) -> float:
    squares = sum(float(torch.linalg.vector_norm(t, dtype=torch.float64)) ** 2 for t in tensors)
    return math.sqrt(squares / max(sum(t.numel() for t in tensors), 1))


def trained(start: Start, width: int, seed: int, steps: int) -> Trained:
    """Train a network, which is changed by it.

    Every pass begins at the same random state, so that dropout leaves out the same units.

    Raises
    ------
    GradflowError
        If the model raises, or its loss depends on no parameter.
    """
    held = tuple(held_by(start.model))
    devices = {p.device for p in start.model.parameters() if p.is_cuda}
    try:
        with (
            random_states_kept(devices),
            uncompiled(start.model),
            torch.inference_mode(False),
            torch.enable_grad(),
            _heard(start.model) as layers,
        ):
            for step in range(steps + 1):
                torch.manual_seed(seed)
                start.optimizer.zero_grad()
                loss = start.objective.run(start.model)
                for layer in layers.values():
                    layer.read()
                if step < steps:
                    torch.autograd.backward(loss)
                    start.optimizer.step()
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise failure(error, start.model) from error
    return Trained(
        width,
        seed,
        type(start.optimizer).__name__.lower(),
        _rate(start),
        tuple(_moved(start.model, name, layer) for name, layer in layers.items() if layer.first),
        held,
    )


@contextlib.contextmanager
def _heard(model: nn.Module) -> Iterator[dict[str, _Layer]]:
    """Give every layer by its name, with a hook on it."""
    layers = {
        name: _Layer(module)
        for name, module in walks.named_parts(model)
        if is_layer(module) or isinstance(module, _FURTHER)
    }
    with contextlib.ExitStack() as stack:
        for layer in layers.values():
            stack.callback(layer.module.register_forward_hook(layer.hear).remove)
        yield layers


def _moved(model: nn.Module, name: str, layer: _Layer) -> Moved:
    named = {id(p): own for own, p in model.named_parameters()}
    below = [p for p in walks.parameters(layer.module) if p.dim() >= 2]
    largest = max(below, key=lambda p: p.numel(), default=None)
    return Moved(
        name=plain_name(name) or "(model)",
        kind=type(layer.module).__name__,
        weight="" if largest is None else named[id(largest)],
        outputs=tuple(layer.outputs),
        changes=tuple(layer.changes),
    )


def _rate(start: Start) -> float | None:
    rates = {float(group["lr"]) for group in start.optimizer.param_groups if "lr" in group}
    return rates.pop() if len(rates) == 1 else None
