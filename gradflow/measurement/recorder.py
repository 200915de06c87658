"""One forward and backward pass -> what happened in every layer.

Backpropagation is linear in the incoming gradient, so at the children of a top-level
`nn.Sequential`, through which every path passes, the gradient is multiplied by an exact power of
two and the exponent remembered: magnitudes neither underflow nor overflow, whatever the depth.
Nothing here waits for the device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradflow.errors import GradflowError
from gradflow.measurement.attention import AttentionCalls
from gradflow.measurement.hooks import CallHooks, Hooks, on_gradient
from gradflow.measurement.quantities import QUANTITIES, Sample, measured
from gradflow.measurement.records import (
    LayerGradients,
    LayerRecord,
    Measurement,
    layer_gradients,
    measurement,
)
from gradflow.measurement.recurrence import RecurrentCalls
from gradflow.measurement.slopes import Function, max_slope, slope
from gradflow.measurement.stats import accumulator

__all__ = ["QUANTITIES", "LayerRecord", "Measurement", "Recorder", "measure", "normalized"]


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
    exponent
        (replicas,): what gradients at the current point of the backward pass lack.
    """

    model: nn.Module
    replicated: bool = False
    rescaled: bool = True
    records: list[LayerRecord] = field(default_factory=list)
    exponent: Tensor | None = None
    _backward: bool = False
    _inner: bool = False  # whether the loss took gradients itself

    def __post_init__(self) -> None:
        self._calls = CallHooks(self.model, self)

    @contextlib.contextmanager
    def attached(self) -> Iterator[Recorder]:
        """Hook the model for the block's duration."""
        with Hooks() as hooks:
            self._calls.attach(hooks)
            for module in self._boundaries():
                hooks.after_forward(module, self._boundary)
            yield self

    def functions(self) -> TorchFunctionMode:
        """Return the context in which activation functions called without a module are seen."""
        return self._calls.functions()

    def backward(self, loss: Tensor, also: Sequence[Tensor] = ()) -> list[LayerGradients]:
        """Backpropagate `loss`; return the gradients of every record's matrices and biases.

        Parameters
        ----------
        also
            Further leaves that the gradient is to reach, for their hooks.
        """
        self.begin_backward()
        if not self.records:
            raise GradflowError("the model has no layer with weights that it calls")
        trained = [p for p in self.model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, [*trained, *also], allow_unused=True)
        return layer_gradients(self.records, dict(zip(map(id, trained), grads, strict=False)))

    def begin_backward(self) -> None:
        """Say that the pass that is measured begins: a checkpointed model runs forward in it."""
        self._backward = True

    def lift(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with its leading axis of replicas."""
        return tensor if self.replicated else tensor.unsqueeze(0)

    def _boundaries(self) -> list[nn.Module]:
        chain = self.rescaled and isinstance(self.model, nn.Sequential)
        return list(self.model.children()) if chain else []

    def layer_called(self, name: str, layer: nn.Module, output: Tensor) -> LayerRecord | None:
        """Begin a layer's record, and have δ at its output measured."""
        if self._backward:
            return None
        record = LayerRecord(len(self.records) + 1, name, type(layer).__name__, layer)
        record.dtype = output.dtype
        self.records.append(record)
        if not self.replicated:  # a user's layer need not have an activation after it
            record.values |= measured("output", Sample(self.lift(output), layer))

        def delta(gradient: Tensor) -> None:
            if not self._backward:  # a gradient that the loss takes itself
                return
            record.values |= measured("delta", Sample(self.lift(gradient)))
            exponent = self.current(gradient)
            record.values |= {"delta_exponent": exponent, "weight_exponent": exponent}

        on_gradient(output, delta)
        return record

    def activation_called(self, record: LayerRecord, function: Function, inputs: Tensor) -> None:
        """Measure the slopes of the first activation after a layer."""
        if self._backward:
            return
        slopes = self.lift(slope(function, inputs)).abs()
        sample = Sample(slopes, record.module, max_slope(function, slopes))
        record.values |= measured("slopes", sample)

    def activation_returned(self, record: LayerRecord, _: Function | None, output: Tensor) -> None:
        """Measure the output of that activation."""
        if not self._backward:
            record.values |= measured("activation", Sample(self.lift(output)))

    def _boundary(self, module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or self._backward:
            return
        last = self.records[-1] if self.records else None
        self.mark(output, last if last is not None and last.module is module else None)

    def mark(self, output: Tensor, record: LayerRecord | None = None) -> None:
        """Keep the gradient's scale at `output`, through which every path passes.

        Not where the loss takes gradients itself: those have paths around it. `record` is that of
        the layer whose output it is, if it is one's.
        """

        def rescale(gradient: Tensor) -> Tensor | None:
            if self._inner or not self._backward:
                self._inner = True
                return None
            scaled, exponent = normalized(self.lift(gradient))
            self.exponent = self.current(gradient) + exponent
            if record is not None:  # its weights see the rescaled gradient
                record.values["weight_exponent"] = self.exponent
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


def normalized(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return a (replicas, …) gradient scaled to a largest magnitude in [½, 1), and exponents.

    The scaling is exact. A replica that is all zero, or holds a non-finite value, keeps its scale.
    """
    largest = torch.linalg.vector_norm(gradient.flatten(1), torch.inf, 1)
    exponent = torch.frexp(largest).exponent
    limit = -int(math.log2(torch.finfo(gradient.dtype).tiny))  # 2**-e must be a normal number
    exponent = exponent.where(largest.isfinite() & (largest > 0), 0).clamp(-limit, limit)
    shape = (-1,) + (1,) * (gradient.dim() - 1)
    return torch.ldexp(gradient, -exponent.view(shape)), exponent.to(accumulator(gradient.device))


def measure(
    model: nn.Module,
    losses: Callable[[], Tensor],
    *,
    replicated: bool = False,
    rescaled: bool = True,
) -> Measurement:
    """Run `losses` (a closure around the forward pass) and backpropagate the sum of what it gives.

    Nothing is synchronised with the host; parameters and their ``.grad`` are left alone.
    """
    recorder = Recorder(model, replicated, rescaled)
    attention, recurrent = AttentionCalls(recorder.records), RecurrentCalls()
    with recorder.attached(), Hooks() as hooks, torch.enable_grad():
        if replicated:
            loss = losses()
        else:
            recurrent.attach(model, hooks)
            with recorder.functions(), attention:
                loss = losses()
        recurrent.closed = True  # a checkpointed model runs forward again from here on
        attention.note()
        gradients = recorder.backward(loss.sum(), recurrent.leaves)
    seen = measurement(recorder.records, loss, gradients, replicated=replicated)
    return replace(seen, recurrent=tuple(recurrent.calls))
