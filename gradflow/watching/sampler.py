"""Reads activations and δ of a training model by hooks; nothing waits for the device.

Small tensors are copied, and read together when their step is over: one call for many costs
little more than one for each. Large ones are read at once.
"""

from __future__ import annotations

import math
import sys
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.attention import AttentionCalls
from gradflow.measurement.hooks import (
    AfterCall,
    CallHooks,
    FunctionCalls,
    Hooks,
    entries,
    first_tensor,
    is_running,
    leave,
    on_gradient,
    tensors_in,
)
from gradflow.measurement.modules import takes_hooks
from gradflow.measurement.norms import Numbers, norm
from gradflow.measurement.quantities import Measured
from gradflow.measurement.slopes import Function
from gradflow.watching.dead_units import DeadUnitWindow, FlatLevels, flat_levels
from gradflow.watching.guard import never_raises
from gradflow.watching.sampled import TOTALS, wide
from gradflow.watching.spread import spread
from gradflow.watching.step_table import StepTable

#: Entries up to which a tensor is copied, to be read together with others of its shape.
SMALL = 2**14
#: Entries of all the copies of a step; beyond, tensors are read at once.
COPIED = 2**22


class Sample(NamedTuple):
    """A tensor of a layer that is read when the step is over, or what was read of it at once."""

    layer: int
    source: str
    entries: int
    tensor: Tensor | None
    numbers: dict[str, Any]
    levels: FlatLevels
    unit_axis: int
    left: Tensor | None = None


@dataclass(eq=False)
class LayerCall:
    """One call of a layer: its place, and δ by the backward pass that it came in."""

    batch: Batch
    layer: int
    convolutional: bool
    deltas: dict[int, Sample | None] = field(default_factory=dict)


@dataclass(eq=False)
class Batch:
    """One forward pass: what was seen of it, until it is known that the model learns from it."""

    training: bool
    calls: list[LayerCall] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    spreads: tuple[Numbers, Numbers] | None = None

    def learnt(self, tasks: set[int]) -> bool:
        """Return whether one of these backward passes went through it."""
        return any(not tasks.isdisjoint(call.deltas) for call in self.calls)


@dataclass(eq=False)
class Attended:
    """A layer of a forward pass, and what attention was computed of its output."""

    layer: int
    values: Measured = field(default_factory=dict)


class _Now(threading.local):
    """The forward pass that runs in this thread, and the call of the model that began it."""

    batch: Batch | None = None
    frame: FrameType | None = None
    depth: int = 0
    mode: FunctionCalls | None = None


class Sampler:
    """Hooks the layers and activations of a model; an observer of their calls.

    Parameters
    ----------
    window
        Sampled batches over which a unit has to stay on a flat level to count as dead.
    deltas
        Read δ, too.

    Attributes
    ----------
    on
        Whether the step under way is sampled.
    failures
        Why something could not be read.
    transformed
        Whether the model ran under `torch.func`, where nothing can be read.
    """

    def __init__(self, model: nn.Module, window: int, deltas: bool = True) -> None:
        self.model, self.deltas = model, deltas
        self.on = False
        self.failures: list[str] = []
        self.transformed = False
        self._modes: set[bool] = set()  # of training, in which the model learnt
        self.table, self.skipped = StepTable(), StepTable()
        self._window = DeadUnitWindow(window)
        self._calls = CallHooks(model, self, trying=False)
        self.places = {name: place for place, name in enumerate(self._calls.layer_names())}
        self._hooks = Hooks()
        self._levels: dict[Any, FlatLevels] = {}
        self._batches: list[Batch] = []
        self._copied = 0
        self._now = _Now()
        self._parts: Batch | None = None  # of a model whose parts are called, not itself
        self._functions = True  # until a forward pass calls none
        self._attended: list[Attended] = []  # of the latest pass, until the model learnt from one
        self._attention: AttentionCalls | None = AttentionCalls(self._attended)

    @never_raises
    def switch(self, on: bool) -> None:
        """Hook the model, or take the hooks off: none cost anything at a step without sampling."""
        self.on = on
        if not on:
            self._hooks.remove()
        elif not self._hooks:
            self._attach(self._hooks)

    def _attach(self, hooks: Hooks) -> None:
        self._calls.attach(hooks)
        if takes_hooks(self.model):
            hooks.before_forward(self.model, self._start)
            hooks.after_forward(self.model, self._end, always=True)

    def remove(self) -> None:
        """Take off the hooks, and the function mode, which Ctrl-C in a forward pass leaves on."""
        self.switch(False)
        self._leave()

    def _leave(self) -> None:
        """Forget a forward pass that was broken off."""
        now = self._now
        if now.mode is not None:
            leave(now.mode)
        now.batch, now.frame, now.mode, now.depth = None, None, None, 0

    @never_raises
    def _start(self, *_: Any) -> None:
        now = self._now
        if now.depth and is_running(now.frame):  # the model calls itself
            now.depth += 1
            return
        self._leave()
        self._calls.restart()
        now.depth, now.frame = 1, sys._getframe(2)
        now.batch = self._new_batch() if self._reads() else None
        if now.batch is not None and (self._functions or self._attention is not None):
            now.mode = self._calls.functions(self._attention_heard())
            now.mode.__enter__()  # type: ignore[no-untyped-call]

    @never_raises
    def _end(self, _: Any, inputs: Any, output: Any) -> None:
        now = self._now
        now.depth = max(now.depth - 1, 0)
        if now.depth:
            return
        if now.batch is not None:
            given, made = spread(next(tensors_in(inputs), None)), spread(first_tensor(output))
            now.batch.spreads = None if given is None or made is None else (given, made)
        if now.mode is not None:
            leave(now.mode)
            self._functions = now.mode.seen
        now.batch, now.mode, now.frame = None, None, None
        self._calls.restart()

    def _attention_heard(self) -> dict[Any, AfterCall]:
        """Return what is told of attention: until a batch is known that the model learnt from."""
        if self._attention is None:
            return {}
        self._attended.clear()
        self._attention = AttentionCalls(self._attended)
        return {f: partial(self._hear, take) for f, take in self._attention.functions().items()}

    @never_raises
    def _hear(self, take: AfterCall, *call: Any) -> None:
        take(*call)

    @never_raises
    def _note_attention(self) -> None:
        attention, self._attention = self._attention, None
        if attention is not None:
            attention.note()

    def attention(self) -> dict[int, tuple[float, float]]:
        """Return its entropy and saturation in that batch, by the place of the layer."""
        if self._attention is not None:
            return {}
        both = {a.layer: [float(v) for v in a.values.values()] for a in self._attended if a.values}
        return {
            layer: (entropy, flat)
            for layer, (entropy, flat) in both.items()
            if math.isfinite(entropy + flat)
        }

    def _new_batch(self) -> Batch:
        batch = Batch(self.model.training)
        self._batches.append(batch)
        return batch

    def _reads(self) -> bool:
        if not self.on or not torch.is_grad_enabled():
            return False
        if torch._C._functorch.peek_interpreter_stack() is not None:
            self.transformed = True
            return False
        return True

    @never_raises
    def layer_called(self, name: str, layer: nn.Module, output: Tensor) -> LayerCall | None:
        """Have δ at a layer's output read, or at least whether the model learns from this pass."""
        if not self._reads():
            return None
        batch = self._now.batch
        if batch is None:  # a part of the model is called, not the model
            batch = self._parts = self._parts or self._new_batch()
        call = LayerCall(
            batch, self.places.setdefault(name, len(self.places)), "Conv" in type(layer).__name__
        )
        if self._attention is not None and call.layer not in {a.layer for a in self._attended}:
            self._attended.append(Attended(call.layer))
        if output.requires_grad and (self.deltas or not batch.calls):
            batch.calls.append(call)
            on_gradient(output, partial(self._delta, call))
        if output.dtype == torch.float16:
            batch.samples.append(self._sample(call.layer, "output", entries(output)))
        return call

    @never_raises
    def _delta(self, call: LayerCall, gradient: Tensor) -> None:
        task = torch._C._current_graph_task_id()
        delta = self._sample(call.layer, "delta", entries(gradient)) if self.deltas else None
        call.deltas[task] = delta

    def activation_called(self, call: LayerCall, function: Function, inputs: Tensor) -> None:
        """Nothing is read of an activation's input."""

    @never_raises
    def activation_returned(
        self, call: LayerCall, function: Function | None, output: Tensor
    ) -> None:
        """Read the output of the first activation after a layer."""
        if not output.is_floating_point():
            return
        values = entries(output)
        if values.dim() == 1:
            values = values.unsqueeze(0)
        levels = FlatLevels() if function is None else self._levels_of(function, values)
        unit_axis = 2 if call.convolutional and values.dim() > 2 else values.dim()
        sample = self._sample(call.layer, "activation", values, levels, unit_axis)
        call.batch.samples.append(sample)

    def _levels_of(self, function: Function, like: Tensor) -> FlatLevels:
        key = _key(function), like.dtype
        levels = self._levels.get(key)
        if levels is None:
            levels = self._levels[key] = flat_levels(function, like)
        return levels

    def _sample(
        self,
        layer: int,
        source: str,
        values: Tensor,
        levels: FlatLevels = FlatLevels(),  # noqa: B008
        unit_axis: int = 0,
    ) -> Sample:
        """Copy a small tensor, read a large one."""
        entries, left = values.numel(), None
        if entries <= SMALL and self._copied <= COPIED:
            self._copied += entries
            return Sample(layer, source, entries, values.clone(), {}, levels, unit_axis)
        if levels.levels:
            left = levels.left(values.unsqueeze(0), unit_axis)[0]
        numbers = _read_large(source, values)
        return Sample(layer, source, entries, None, numbers, levels, unit_axis, left)

    def in_evaluation_mode(self) -> bool:
        """Return whether the model only learnt in evaluation mode, and that makes a difference."""
        differs = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
        return self._modes == {False} and any(
            isinstance(m, differs) for m in walks.parts(self.model)
        )

    def spreads(self, tasks: set[int]) -> tuple[Numbers, Numbers] | None:
        """Return how much inputs and outputs of the batch that was learnt differ by example."""
        learnt = [b.spreads for b in self._batches if b.spreads is not None and b.learnt(tasks)]
        return learnt[-1] if learnt else None

    def tasks(self) -> set[int]:
        """Return the backward passes that went through the model in the step under way."""
        return {task for b in self._batches for call in b.calls for task in call.deltas}

    @never_raises
    def close_step(self, tasks: set[int], scale: Tensor | None) -> None:
        """End a recorded step: commit what the model learnt from, in these backward passes."""
        self._commit_batches(tasks, self.table)
        self.table.close_step(scale)

    @never_raises
    def skip_step(self, tasks: set[int], scale: Tensor | None) -> None:
        """End a step that a GradScaler left out."""
        self._commit_batches(tasks, self.skipped)
        self.skipped.close_step(scale)

    @never_raises
    def _commit_batches(self, tasks: set[int], table: StepTable) -> None:
        batches, self._batches, self._copied, self._parts = self._batches, [], 0, None
        if self._now.depth and not is_running(self._now.frame):
            self._leave()
        for batch in batches:
            if batch.learnt(tasks):
                self._modes.add(batch.training)
                self._note_attention()
                self._commit(batch, tasks, table)

    @never_raises
    def _commit(self, batch: Batch, tasks: set[int], table: StepTable) -> None:
        deltas = [[s for t, s in c.deltas.items() if t in tasks and s] for c in batch.calls]
        whole = [_whole(seen) for seen in deltas]
        samples = batch.samples + [delta for delta in whole if delta is not None]
        left: dict[int, Tensor] = {}
        alike: dict[Any, list[Sample]] = {}
        for sample in samples:
            if sample.tensor is None:
                _commit_read(table, sample, left)
            else:
                key = (sample.source, sample.levels, sample.unit_axis)
                shape = (sample.tensor.shape, sample.tensor.dtype, sample.tensor.device)
                alike.setdefault((key, shape), []).append(sample)
        for same in alike.values():
            _read_together(table, same, left)
        for layers, dead in self._window.next_batch(left):
            table.add("dead", layers, 1, dead)


def _whole(seen: list[Sample]) -> Sample | None:
    """Return δ of all backward passes through one call; None where large ones are read alone."""
    if len(seen) < 2:
        return seen[0] if seen else None
    tensors = [delta.tensor for delta in seen if delta.tensor is not None]
    if len(tensors) < len(seen):
        return None
    return seen[0]._replace(tensor=torch.stack(tensors).sum(0))


def _commit_read(table: StepTable, sample: Sample, left: dict[int, Tensor]) -> None:
    for total, number in sample.numbers.items():
        table.add(total, [sample.layer], sample.entries, number)
    if sample.left is not None:
        _join(left, sample.layer, sample.left)


def _read_together(table: StepTable, samples: list[Sample], left: dict[int, Tensor]) -> None:
    """Read copies of one shape."""
    first, layers = samples[0], [s.layer for s in samples]
    values = torch.stack([s.tensor for s in samples if s.tensor is not None])
    if first.levels.levels:
        for layer, units in zip(layers, first.levels.left(values, first.unit_axis), strict=True):
            _join(left, layer, units)
    rows = values.flatten(1).to(wide(values))
    for name, total in TOTALS.items():
        if total.source == first.source and total.read is not None:
            table.add(name, layers, first.entries, total.read(rows))


def _join(left: dict[int, Tensor], layer: int, units: Tensor) -> None:
    """Take the units that left the levels in another call of a layer as well."""
    known = left.get(layer)
    left[layer] = units if known is None or known.shape != units.shape else known | units


def _key(function: Function) -> Any:
    """Return what tells an activation function from others: its module, or how it is called."""
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return id(owner)
    return str(getattr(function, "args", function))


def _read_large(source: str, values: Tensor) -> dict[str, Any]:
    """Return the totals of a source, of one large tensor."""
    plain = values.device.type == "cpu" and values.dtype == torch.float32
    rows = values.reshape(1, -1).to(wide(values))
    found: dict[str, Any] = {}
    for name, total in TOTALS.items():
        if total.source == source and total.read is not None:
            quick = _QUICK.get(name) if plain else None
            found[name] = total.read(rows) if quick is None else quick(values)
    return found


def _count_nonzero(values: Tensor) -> Numbers:
    """Count by a product of signs, in a tenth of a count's time."""
    parts = torch.split(torch.sign(values).reshape(-1), _CHUNK)
    return array("d", [sum(torch.dot(part, part).item() for part in parts)])


#: Entries of which float32 holds the count, and that a product sums at once.
_CHUNK = 2**18
#: What reads a large float32 tensor on a CPU faster.
_QUICK: dict[str, Callable[[Tensor], Numbers]] = {
    "activation_norm": norm,
    "delta_norm": norm,
    "activation_nonzero": _count_nonzero,
}
