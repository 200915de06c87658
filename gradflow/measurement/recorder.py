"""One forward and backward pass -> what happened in every layer.

Backpropagation is linear in the incoming gradient, so at the children of a top-level
`nn.Sequential`, through which every path passes, the gradient is multiplied by an exact power of
two and the exponent remembered: magnitudes neither underflow nor overflow, whatever the depth.
Nothing here waits for the device.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradflow.errors import GradflowError
from gradflow.measurement import walks
from gradflow.measurement.attention import AttentionCalls
from gradflow.measurement.batch.look import BatchLook
from gradflow.measurement.hooks import AfterCall, CallHooks, Hooks, entries, on_gradient
from gradflow.measurement.modules import (
    biases,
    is_torchs_own,
    known_by,
    matrices,
    trial_copy,
)
from gradflow.measurement.preserving import random_states_kept
from gradflow.measurement.quantities import QUANTITIES, Sample, together
from gradflow.measurement.quick_stats import is_quick
from gradflow.measurement.records import (
    LayerRecord,
    Measurement,
    Uncovered,
    measurement,
)
from gradflow.measurement.recurrence import RecurrentCalls
from gradflow.measurement.remaining import remaining
from gradflow.measurement.slopes import (
    Function,
    has_formula,
    known_slope,
    max_slope,
    node_of,
    slope,
    slope_at,
    slope_by_parts,
)
from gradflow.measurement.stats import accumulator, largest
from gradflow.measurement.together import Prepared, Together
from gradflow.networks.layers import kind

__all__ = ["QUANTITIES", "LayerRecord", "Measurement", "Recorder", "measure", "normalized"]


#: Largest slopes of torch's own activations on a CPU, which are the same in every pass.
_MAX_SLOPES: dict[Any, Tensor] = {}


@dataclass(frozen=True)
class _Activating:
    """An activation of somebody's own that runs.

    Attributes
    ----------
    key
        What it is `known_by`.
    inputs
        None: its slopes are measured already.
    before
        `node_of` its inputs.
    """

    key: Any
    function: Function
    inputs: Tensor | None
    before: tuple[Any, int] | None


@dataclass
class Recorder:
    """Hooks a model for one pass.

    Parameters
    ----------
    model
        Any module; measured where it is, left as it was.
    replicated
        Whether parameters and activations carry a leading axis of independent replicas.
    rescaled
        Whether gradients are kept in range at the children of an `nn.Sequential`.
    only
        Quantities that are asked for of a user's module; None: all.
    keep
        Parameters, by ``id``, whose gradients are kept.
    exponent
        (replicas,): what gradients at the current point of the backward pass lack.
    """

    model: nn.Module
    replicated: bool = False
    rescaled: bool = True
    only: Collection[str] | None = None
    keep: Collection[int] = ()
    records: list[LayerRecord] = field(default_factory=list)
    exponent: Tensor | None = None
    uncovered: Uncovered = Uncovered()
    _backward: bool = False
    _inner: bool = False  # whether the loss took gradients itself
    beside: int = 0
    _exponents: dict[int, Tensor] = field(default_factory=dict)
    _by_module: dict[int, LayerRecord] = field(default_factory=dict)
    _by_node: dict[Any, LayerRecord] = field(default_factory=dict)  # that made their output
    _max_slopes: dict[Any, Tensor] = field(default_factory=dict)
    _by_nodes: dict[Any, bool] = field(default_factory=dict)  # kinds whose slopes a node has
    _activating: _Activating | None = None
    kept: dict[int, Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._calls = CallHooks(self.model, self)
        self._together = Together(self.only)

    @contextlib.contextmanager
    def attached(self) -> Iterator[Recorder]:
        """Hook the model for the block's duration."""
        with Hooks() as hooks:
            self._calls.attach(hooks)
            for module in self._boundaries():
                hooks.after_forward(module, self._boundary)
            try:
                yield self
            finally:
                self._let_go()

    def _let_go(self) -> None:
        """Forget the graph: its hooks lead here, and a circle through it is never collected."""
        self._by_node.clear()
        self._activating = None
        self._calls.restart()

    def functions(self, also: Mapping[Any, AfterCall]) -> TorchFunctionMode:
        """Return the context in which functions called without a module are seen.

        Parameters
        ----------
        also
            What is to be told of others than activations.
        """
        return self._calls.functions(also)

    def backward(
        self, loss: Tensor, also: Sequence[Tensor] = (), look: BatchLook | None = None
    ) -> None:
        """Backpropagate `loss`, and measure every record's matrices, biases and their gradients.

        Trained parameters that belong to no layer become records, too.

        Parameters
        ----------
        also
            Further leaves that the gradient is to reach, for their hooks.
        look
            Is shown the gradients.
        """
        self.begin_backward()
        parameters = walks.parameters(self.model)
        with walks.remembered(False):
            # A layer without a graph of its own may lie in a checkpoint.
            hidden = bool(also) or not all(record.observed for record in self.records)
            again = hidden and not self.replicated and _is_reentrant(loss)
            gradient_of = gradients(loss, parameters, also, reentrant=again)
        self.kept = {i: gradient_of[i] for i in self.keep if i in gradient_of}
        self.take_gradients(gradient_of)
        if look is not None:
            look.after_backward(gradient_of, self._norms())

    def _norms(self) -> dict[int, tuple[float, float]]:
        """The norms of weights that are a record's only one, and of their gradients, by ``id``."""
        pairs = (
            (r.weights[0], r.values.get("weight_norm"), r.values.get("gradient_norm"))
            for r in self.records
            if len(r.weights) == 1
        )
        return {
            id(weight): (norm, gradient)
            for weight, norm, gradient in pairs
            if isinstance(norm, float) and isinstance(gradient, float)
        }

    def take_gradients(self, gradient_of: Mapping[int, Tensor | None]) -> None:
        """Measure every record's matrices, biases and their gradients, which are given by ``id``.

        Raises
        ------
        GradflowError
            If the model called no layer.
        """
        if not self.replicated:
            self._take_remaining(gradient_of)
        if not any(w.dim() >= 2 for record in self.records for w in record.weights):
            raise GradflowError("the model has no layer with weights that it calls")
        for record in self.records:
            for source, tensors in record.parameters(gradient_of).items():
                self._add_parameters(record, source, tensors)
        self._together.flush()

    def _add_parameters(self, record: LayerRecord, source: str, tensors: list[Tensor]) -> None:
        entries = together(tensors, self.replicated)
        if entries is not None and self.replicated:
            record.add(source, Sample(entries), self.only)
        elif entries is not None and is_quick(entries):
            lasting = source == "weight"
            record.add(source, Sample(entries, quick=True, lasting=lasting), self.only)
        elif entries is not None:
            self._together.add(record, source, entries, lasting=True)

    def _take_remaining(self, gradient_of: Mapping[int, Tensor | None]) -> None:
        more, self.uncovered = remaining(self.model, self.records, gradient_of)
        for record in more:
            known = (self._exponents.get(id(p)) for p in record.weights)
            exponent = next((e for e in known if e is not None), None)
            if exponent is not None:
                record.values["weight_exponent"] = exponent
        self.beside, self.records = len(more), [*self.records, *more]

    def begin_backward(self) -> None:
        """Say that the pass that is measured begins: a checkpointed model runs forward in it."""
        self._together.flush()
        self._backward = True

    def await_backward(self) -> None:
        """Say that the pass that ran was another's."""
        self._backward = False

    def lift(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with its leading axis of replicas."""
        return tensor if self.replicated else tensor.unsqueeze(0)

    def _boundaries(self) -> list[nn.Module]:
        if not self.rescaled or not isinstance(self.model, nn.Sequential):
            return []
        parts = list(self.model)
        alone = sum(len(walks.parameters(part)) for part in parts)
        # A weight of two parts has a gradient that is a sum over both: it has no one scale.
        return parts if alone == len(walks.parameters(self.model)) else []

    def layer_called(self, name: str, layer: nn.Module, output: Tensor) -> LayerRecord | None:
        """Begin a layer's record, or go on with it, and have δ at its output measured."""
        if in_transform():
            return None
        if self._backward:
            self._called_again(layer, output)
            return None
        record = self._record(name, layer, output.dtype)
        if not self.replicated:  # a user's layer need not have an activation after it
            self._add(record, "output", output, lambda v: Sample(v, layer), type(layer))
        self._observe(record, output)
        return record

    def _record(self, name: str, layer: nn.Module, dtype: torch.dtype) -> LayerRecord:
        record = self._by_module.get(id(layer))
        if record is None:
            index = len(self.records) + 1
            record = LayerRecord(
                index,
                name,
                kind(layer),
                layer,
                dtype,
                weights=matrices(layer),
                biases=biases(layer),
            )
            self._by_module[id(layer)] = record
            self.records.append(record)
        record.calls += 1
        return record

    def _add(
        self,
        record: LayerRecord,
        source: str,
        values: Tensor,
        prepared: Prepared = Sample,
        key: Any = (),
        *,
        costly: bool = False,
    ) -> None:
        if self.replicated:
            if QUANTITIES.of(source, self.only):
                record.add(source, prepared(values), self.only)
            return
        values = entries(values).unsqueeze(0)
        if costly or not is_quick(values):
            self._together.add(record, source, values, prepared, key)
        elif QUANTITIES.of(source, self.only):
            sample = prepared(values)
            sample.quick = True
            record.add(source, sample, self.only)

    def _called_again(self, layer: nn.Module, output: Tensor) -> None:
        """A reversible or checkpointed part runs again: its first pass may have had no graph."""
        record = self._by_module.get(id(layer))
        if record is not None and not record.observed:
            self._observe(record, output)

    def _observe(self, record: LayerRecord, output: Tensor) -> None:
        """Have δ at an output measured."""
        if output.grad_fn is not None:
            self._by_node[output.grad_fn] = record
            record.observed = True
        on_gradient(output, functools.partial(self.take_delta, record))

    def take_delta(self, record: LayerRecord, gradient: Tensor) -> None:
        """Measure δ at an output."""
        if not self._backward:  # a gradient that the loss takes itself
            return
        self._add(record, "delta", gradient)
        exponent = self.current(gradient)
        record.values |= {"delta_exponent": exponent, "weight_exponent": exponent}

    def activation_called(self, record: LayerRecord, function: Function, inputs: Tensor) -> None:
        """Measure the slopes of the first activation after a layer."""
        self._activating = None
        if self._backward or in_transform() or not QUANTITIES.of("slopes", self.only):
            return
        if inputs.is_nested:
            inputs = entries(inputs)
        key = known_by(function)
        if self._by_nodes.get(key) and (before := node_of(inputs)) is not None:
            self._activating = _Activating(key, function, inputs, before)
            return
        if key is not None and not self.replicated and not has_formula(key[0]):
            self._activating = _Activating(key, function, None, node_of(inputs))
        self._take_slopes(record, function, inputs, key)

    def _take_slopes(
        self, record: LayerRecord, function: Function, inputs: Tensor, key: Any
    ) -> None:
        """Measure slopes by running the activation once more."""

        def prepared(values: Tensor) -> Sample:
            with contextlib.nullcontext() if is_torchs_own(key) else random_states_kept():
                alone = on_a_copy(function)
                slopes = _slopes(key, alone, values).abs_()
                return Sample(slopes, record.module, self._max_slope(key, alone, slopes))

        if key is None:  # it may tell channels apart, by their place
            sample = prepared(inputs)
            record.add("slopes", replace(sample, values=self.lift(sample.values)), self.only)
        else:
            own = not is_torchs_own(key)
            self._add(record, "slopes", inputs, prepared, (key, type(record.module)), costly=own)

    def _max_slope(self, key: Any, alone: Function, like: Tensor, *, copied: bool = True) -> Tensor:
        if key is None:
            return max_slope(alone, like)
        known = _MAX_SLOPES if is_torchs_own(key) and like.is_cpu else self._max_slopes
        key = key, like.dtype, like.device
        if key not in known:
            with contextlib.nullcontext() if copied else random_states_kept():
                known[key] = max_slope(alone if copied else on_a_copy(alone), like)
        return known[key]

    def activation_returned(self, record: LayerRecord, _: Function | None, output: Tensor) -> None:
        """Measure the output of that activation."""
        running, self._activating = self._activating, None
        if self._backward or in_transform():
            return
        if running is not None:
            self._slopes_of_run(record, running, output)
        self._add(record, "activation", output)

    def _slopes_of_run(self, record: LayerRecord, running: _Activating, output: Tensor) -> None:
        """Measure slopes by what the activation that ran left in the graph.

        Of the first one of a kind it is learnt whether it can be done, before anything rests on it.
        """
        slopes = slope_at(output, running.before)
        if running.inputs is None:
            self._by_nodes[running.key] = slopes is not None
        elif slopes is None:
            self._take_slopes(record, running.function, running.inputs, running.key)
        else:
            largest = self._max_slope(running.key, running.function, slopes, copied=False)

            def prepared(values: Tensor) -> Sample:
                return Sample(values, record.module, largest)

            self._add(record, "slopes", slopes.abs_(), prepared, (running.key, type(record.module)))

    def _boundary(self, module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or self._backward:
            return
        self.mark(output, self._by_node.get(output.grad_fn), below=module)

    def mark(
        self, output: Tensor, record: LayerRecord | None = None, below: nn.Module | None = None
    ) -> None:
        """Keep the gradient's scale at `output`, through which every path passes.

        Not where the loss takes gradients itself: those have paths around it.

        Parameters
        ----------
        record
            That of the layer whose output it is, if it is one's.
        below
            The module whose output it is.
        """

        def rescale(gradient: Tensor) -> Tensor | None:
            if self._inner or not self._backward:
                self._inner = True
                return None
            scaled, exponent = normalized(self.lift(gradient), lazy=self.replicated)
            self.exponent = self.current(gradient) + exponent
            if record is not None:  # its weights see the rescaled gradient
                record.values["weight_exponent"] = self.exponent
            if below is not None:
                self._exponents |= {id(p): self.exponent for p in walks.parameters(below)}
            return scaled if self.replicated else scaled.squeeze(0)

        on_gradient(output, rescale)

    def current(self, like: Tensor) -> Tensor:
        """Return the exponent of gradients at the current point of the backward pass."""
        if self.exponent is None:
            replicas = like.shape[0] if self.replicated else 1
            self.exponent = torch.zeros(
                replicas, dtype=accumulator(like.device), device=like.device
            )
        return self.exponent


def gradients(
    loss: Tensor,
    parameters: Sequence[nn.Parameter],
    also: Sequence[Tensor] = (),
    *,
    reentrant: bool = False,
) -> dict[int, Tensor | None]:
    """Return the gradient of `loss` for each parameter that is trained, by ``id``.

    A function of somebody's own may call ``backward()`` itself, as reversible blocks do: what that
    writes into ``.grad`` is part of the gradient.

    Parameters
    ----------
    reentrant
        Whether a checkpoint is on the way that runs only where gradients are written.
    """
    trained = [p for p in parameters if p.requires_grad]
    with _gradients_kept([*trained, *(_leaves_behind(loss) if reentrant else [])]):
        if reentrant:
            torch.autograd.backward(loss)
            return {id(p): p.grad for p in trained}
        found = torch.autograd.grad(loss, [*trained, *also], allow_unused=True)
        return {id(p): _sum(p.grad, g) for p, g in zip(trained, found, strict=False)}


@contextlib.contextmanager
def _gradients_kept(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Begin without gradients, and put back those that were there."""
    before = [(t, t.grad) for t in tensors]
    try:
        for t in tensors:
            t.grad = None
        yield
    finally:
        for t, grad in before:
            t.grad = grad


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _slopes(key: Any, function: Function, values: Tensor) -> Tensor:
    """Return the slopes of what is `known_by` a key."""
    if key is None or not values.is_cpu:
        return slope(function, values)
    known = known_slope(key[0], function, values)
    return slope_by_parts(function, values) if known is None else known


def in_transform() -> bool:
    """Return whether a transform of ``torch.func`` runs, in which tensors hold no plain values."""
    return torch._C._functorch.maybe_current_level() is not None


def on_a_copy(function: Function) -> Function:
    """Return `function` as it is to be called once more: that of a copy of a user's own module."""
    module = getattr(function, "__self__", None)
    if not isinstance(module, nn.Module) or type(module).__module__.startswith("torch.nn."):
        return function
    return cast("Function", trial_copy(module).forward)


#: Powers of two up to which gradients are as good as they are: nothing under- or overflows.
_NEAR = 24


def normalized(gradient: Tensor, *, lazy: bool = False) -> tuple[Tensor, Tensor]:
    """Return a (replicas, …) gradient scaled to a largest magnitude in [½, 1), and exponents.

    The scaling is exact. A replica that is all zero, or holds a non-finite value, keeps its scale.

    Parameters
    ----------
    lazy
        Whether they stay as they are, on a CPU, while all are near enough to 1.
    """
    size = largest(gradient)
    exponent = torch.frexp(size).exponent
    limit = -int(math.log2(torch.finfo(gradient.dtype).tiny))  # 2**-e must be a normal number
    exponent = exponent.where(size.isfinite() & (size > 0), 0).clamp(-limit, limit)
    if lazy and exponent.is_cpu and int(exponent.abs().max()) <= _NEAR:
        return gradient, torch.zeros_like(exponent, dtype=accumulator(gradient.device))
    shape = (-1,) + (1,) * (gradient.dim() - 1)
    power = torch.ldexp(torch.ones_like(size), -exponent)  # of the whole gradient it is slow
    return gradient * power.view(shape), exponent.to(accumulator(gradient.device))


def measure(
    model: nn.Module,
    losses: Callable[[], Tensor],
    *,
    leaves: Sequence[Tensor] = (),
    replicated: bool = False,
    rescaled: bool = True,
    only: Collection[str] | None = None,
    keep: Collection[int] = (),
    look: BatchLook | None = None,
) -> Measurement:
    """Run `losses` (a closure around the forward pass) and backpropagate the sum of what it gives.

    Nothing is synchronised with the host; parameters and their ``.grad`` are left alone.

    Parameters
    ----------
    leaves
        Inputs that require a gradient, as far as `losses` has put them there: some functions of
        somebody's own, as reversible blocks, run backward for them alone.
    only, keep
        As of `Recorder`.
    look
        Is shown the loss before its graph is freed, and the gradients.
    """
    recorder = Recorder(model, replicated, rescaled, only, keep)
    attention, recurrent = AttentionCalls(recorder.records), RecurrentCalls()
    with recorder.attached(), Hooks() as hooks, torch.enable_grad():
        if replicated:
            loss = losses()
        else:
            if only is None:
                recurrent.attach(model, hooks)
            seen = recorder.functions(attention.functions() if only is None else {})
            with walks.remembered(False), seen:
                loss = losses()
        recurrent.closed = True  # a checkpointed model runs forward again from here on
        attention.note()
        if look is not None:
            look.before_backward(loss)
        recorder.backward(loss.sum(), [*recurrent.leaves, *leaves], look)
    return replace(
        measurement(recorder.records, loss, replicated=replicated),
        recurrent=tuple(recurrent.calls),
        beside=recorder.beside,
        uncovered=recorder.uncovered,
        kept=recorder.kept,
    )


def _is_reentrant(loss: Tensor) -> bool:
    """Return whether a checkpoint is on the way that raises if gradients are asked for."""
    return any(node.name() == "CheckpointFunctionBackward" for node in _nodes(loss))


def _leaves_behind(loss: Tensor) -> list[Tensor]:
    """Return the tensors that a backward pass writes gradients into, as far as the graph shows."""
    found = (getattr(node, "variable", None) for node in _nodes(loss))
    return [leaf for leaf in found if isinstance(leaf, Tensor)]


def _nodes(loss: Tensor) -> Iterator[Any]:
    seen, queue = {loss.grad_fn}, [loss.grad_fn]
    while queue:
        if (node := queue.pop()) is None:
            continue
        yield node
        for before, _ in node.next_functions:
            if before not in seen:
                seen.add(before)
                queue.append(before)
