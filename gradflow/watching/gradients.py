"""The parameters of a watched model as they are now, and the norms of their gradients."""

from __future__ import annotations

import math
from array import array
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.norms import (
    NormReader,
    Numbers,
    as_tensor,
    copies,
    differences,
    read_norms,
)
from gradflow.watching.recording import Norms, Snapshot

#: Gradients that count their changes.
_TRACED = {Tensor, type(None)}


class Gradients:
    """The trained parameters of a model, looked up again whenever they are read.

    A loop may freeze, unfreeze, add, replace and delete parameters.

    Attributes
    ----------
    named
        By name.
    ids
        Of them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.named: dict[str, nn.Parameter] = {}
        self.ids: set[int] = set()
        self._names: tuple[str, ...] = ()
        self._reader, self._matrix_reader = NormReader(), NormReader()
        self._now: list[int] = []
        self._weights: tuple[tuple[str, ...], list[Tensor], list[Tensor]] | None = None
        self.refresh()

    def refresh(self) -> list[nn.Parameter]:
        """Look the parameters up; return those that are new."""
        if (now := _trained(self.model)) == self._now:
            return []
        self._now = now
        named = {n: p for n, p in walks.named_parameters(self.model) if p.requires_grad}
        ids = {id(p) for p in named.values()}
        new = [p for p in named.values() if id(p) not in self.ids]
        self.named, self.ids, self._names = named, ids, tuple(named)
        return new

    def read(self) -> Norms:
        """Return the norms of the gradients."""
        return self.read_and_marked()[0]

    def read_and_marked(self) -> tuple[Norms, Any]:
        """Return the norms of the gradients, and their marks."""
        grads = [p.grad for p in self.named.values()]
        return Norms(self._names, self._reader.read(grads)), _marks(grads)

    def marks(self) -> Any:
        """Return what tells whether a gradient was changed or replaced."""
        return _marks([p.grad for p in self.named.values()])

    def concern(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether an optimizer trains one of them."""
        return any(id(p) in self.ids for group in optimizer.param_groups for p in group["params"])

    def keep_weights(self) -> None:
        """Copy the matrices, to be compared after the step."""
        kept = {n: p for n, p in self.named.items() if p.dim() >= 2}
        if kept:
            tensors: list[Tensor] = list(kept.values())
            self._weights = tuple(kept), tensors, copies(tensors)

    def updates(self) -> tuple[Norms, Norms] | None:
        """Return the norms of the matrices that were kept, and of what the step did to them."""
        if self._weights is None:
            return None
        (names, new, old), self._weights = self._weights, None
        # Read as at the end: to the bit, these norms tell whether weights ever changed.
        before = Norms(names, read_norms(old))
        return before, Norms(names, self._matrix_reader.read(differences(new, old)))

    def norms_if_lost(self, gradients: Norms) -> Norms | None:
        """Return the norms of all parameters where gradients are known not to be finite.

        They tell whether the step before has made the parameters so. On a device that would have
        to be waited for, nothing is known.
        """
        numbers = gradients.numbers
        if isinstance(numbers, Tensor) or all(n < math.inf for n in numbers):
            return None
        return self.norms()

    def norms(self) -> Norms | None:
        """Return the norms of all parameters as they are now; None where they are shards.

        Every process would have to take part.
        """
        if any(hasattr(p, "placements") for p in self.named.values()):
            return None
        return Norms(tuple(self.named), read_norms(list(self.named.values())))

    def drop_weights(self) -> None:
        """Forget the copies."""
        self._weights = None


def _marks(grads: list[Tensor | None]) -> Any:
    if not _TRACED.issuperset(map(type, grads)):
        return object()  # a DTensor is changed without a trace: taken as changed
    return list(map(id, grads)), [g._version for g in grads if g is not None]


def _trained(model: nn.Module) -> list[int]:
    """Return which parameters of a model are trained, in a fraction of the time of their names."""
    found: list[int] = []
    modules = [model]
    for module in modules:  # grows meanwhile
        if own := module._parameters:
            found += [id(p) for p in own.values() if p is not None and p.requires_grad]
        if children := module._modules:
            modules += [child for child in children.values() if child is not None]
    return found


class StepsInBackward:
    """Steps of optimizers that a backward pass calls, each for some of the parameters."""

    def __init__(self, gradients: Gradients, updates: bool) -> None:
        self.updates = updates
        self._names = {id(p): n for n, p in gradients.named.items()}
        self._found: dict[str, dict[str, Norms]] = {"before": {}, "weights": {}, "updates": {}}
        self._old: dict[int, tuple[tuple[str, ...], list[Tensor], list[Tensor]]] = {}

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Read the gradients that an optimizer meets."""
        own = {
            self._names[id(p)]: p
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) in self._names and p.grad is not None
        }
        names = tuple(own)
        for name, norms in zip(
            names, _each(read_norms([p.grad for p in own.values()])), strict=True
        ):
            self._found["before"][name] = Norms((name,), norms)
        if self.updates:
            tensors = list(own.values())
            self._old[id(optimizer)] = names, tensors, copies(tensors)

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Read what it did."""
        names, new, old = self._old.pop(id(optimizer), ((), [], []))
        if not names:
            return
        pairs = (("weights", read_norms(old)), ("updates", read_norms(differences(new, old))))
        for what, norms in pairs:
            for name, number in zip(names, _each(norms), strict=True):
                self._found[what][name] = Norms((name,), number)

    def snapshot(self, step: int) -> Snapshot:
        """Return all steps as one."""
        before, weights, updates = (_joined(list(of.values())) for of in self._found.values())
        return Snapshot(step, before, None, weights, updates)


def _each(norms: Numbers) -> list[Numbers]:
    return [norms[i : i + 1] for i in range(len(norms))]


def _joined(norms: list[Norms]) -> Norms:
    names = tuple(name for one in norms for name in one.names)
    numbers = [as_tensor(one.numbers) for one in norms]
    return Norms(names, torch.cat(numbers) if numbers else array("d"))
