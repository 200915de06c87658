"""One forward and backward pass -> what happened in every layer.

Gradients of activations are taken by `Tensor.register_hook` inside forward hooks: full backward
hooks fail on in-place activations. Backpropagation is linear in the incoming gradient, so at the
children of a top-level `nn.Sequential`, through which every path passes, the gradient is
multiplied by an exact power of two and the exponent remembered: magnitudes neither underflow nor
overflow, whatever the depth. Nothing here waits for the device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradflow.errors import GradflowError
from gradflow.measurement.modules import FUNCTIONS, bound, is_activation, is_layer
from gradflow.measurement.records import (
    QUANTITIES,
    LayerGradients,
    LayerRecord,
    Measurement,
    layer_gradients,
    measurement,
)
from gradflow.measurement.slopes import Function, dead_units, max_slope, slope
from gradflow.measurement.stats import accumulator, example_spread, tensor_stats

__all__ = ["QUANTITIES", "LayerRecord", "Measurement", "Recorder", "measure", "normalized"]

#: Saturated: a slope below this share of the activation's largest one.
SATURATION = 0.01


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
    _pending: LayerRecord | None = None
    _open: LayerRecord | None = None
    _closed: bool = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[Recorder]:
        """Hook the model for the block's duration."""
        handles = []
        try:
            for name, module in self.model.named_modules():
                if is_layer(module):
                    handles.append(module.register_forward_hook(self._layer_hook(name)))
                elif is_activation(module):
                    handles.append(module.register_forward_pre_hook(self._before_module))
                    handles.append(module.register_forward_hook(self._after_module))
            handles += [m.register_forward_hook(self._boundary) for m in self._boundaries()]
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def functions(self) -> TorchFunctionMode:
        """Return the context in which activation functions called without a module are seen."""
        return _Functions(self)

    def backward(self, loss: Tensor) -> list[LayerGradients]:
        """Backpropagate `loss`; return the gradients of every record's matrices and biases."""
        self._closed = True  # a checkpointed model runs forward again from here on
        if not self.records:
            raise GradflowError("the model has no layer with weights that it calls")
        trained = [p for p in self.model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, trained, allow_unused=True)
        return layer_gradients(self.records, dict(zip(map(id, trained), grads, strict=True)))

    def lift(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with its leading axis of replicas."""
        return tensor if self.replicated else tensor.unsqueeze(0)

    def _boundaries(self) -> list[nn.Module]:
        chain = self.rescaled and isinstance(self.model, nn.Sequential)
        return list(self.model.children()) if chain else []

    def _layer_hook(self, name: str) -> Any:
        def hook(module: nn.Module, _: Any, outputs: Any) -> None:
            output = first_tensor(outputs)
            if output is None or self._closed:
                return
            record = LayerRecord(len(self.records) + 1, name, type(module).__name__, module)
            record.dtype = output.dtype
            self.records.append(record)
            self._pending = record
            if not self.replicated:  # a user's layer need not have an activation after it
                record.output_nonfinite = (~output.detach().isfinite()).sum().view(1)

            def on_gradient(gradient: Tensor) -> None:
                record.delta = tensor_stats(self.lift(gradient))
                record.delta_exponent = record.weight_exponent = self.current(gradient)

            _on_gradient(output, on_gradient)

        return hook

    def _before_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            self._open = self.activating(module.forward, inputs[0])

    def _after_module(self, _: nn.Module, __: Any, output: Any) -> None:
        record, self._open = self._open, None
        if isinstance(output, Tensor):
            self.activated(record, output)

    def activating(self, function: Function, inputs: Tensor) -> LayerRecord | None:
        """Note the slopes of the first activation after a layer; return the layer's record."""
        record, self._pending = self._pending, None
        if record is None or self._closed:
            return None
        slopes = self.lift(slope(function, inputs)).abs()
        wide = accumulator(slopes.device)
        record.dead_fraction = dead_units(slopes, record.module).to(wide).mean(1)
        saturated = slopes < SATURATION * max_slope(function, slopes)
        record.saturated_fraction = saturated.flatten(1).to(wide).mean(1)
        return record

    def activated(self, record: LayerRecord | None, output: Tensor) -> None:
        """Note the output of that activation."""
        if record is not None:
            values = self.lift(output)
            record.activation = tensor_stats(values)
            record.example_spread = example_spread(values) if values.dim() > 2 else None

    @property
    def inside_activation(self) -> bool:
        """Whether a module that is an activation is running."""
        return self._open is not None

    def _boundary(self, module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        last = self.records[-1] if self.records else None
        self.mark(output, last if last is not None and last.module is module else None)

    def mark(self, output: Tensor, record: LayerRecord | None = None) -> None:
        """Keep the gradient's scale at `output`, through which every path passes.

        `record` is that of the layer whose output it is, if it is one's.
        """

        def rescale(gradient: Tensor) -> Tensor:
            scaled, exponent = normalized(self.lift(gradient))
            self.exponent = self.current(gradient) + exponent
            if record is not None:  # its weights see the rescaled gradient
                record.weight_exponent = self.exponent
            return scaled if self.replicated else scaled.squeeze(0)

        _on_gradient(output, rescale)

    def current(self, like: Tensor) -> Tensor:
        """Return the exponent of gradients at the current point of the backward pass."""
        if self.exponent is None:
            replicas = like.shape[0] if self.replicated else 1
            self.exponent = torch.zeros(
                replicas, dtype=accumulator(like.device), device=like.device
            )
        return self.exponent


class _Functions(TorchFunctionMode):
    """Sees a model's own calls of activation functions."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, function: Any, _: Any, arguments: Any = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if (
            function not in FUNCTIONS
            or self.recorder.inside_activation
            or not (arguments and isinstance(arguments[0], Tensor))
        ):
            return function(*arguments, **keywords)
        alone = bound(function, arguments[1:], keywords)
        record = self.recorder.activating(alone, arguments[0])
        output = function(*arguments, **keywords)
        if record is not None:
            self.recorder.activated(record, output)
        return output


def first_tensor(outputs: Any) -> Tensor | None:
    """Return the first tensor of real numbers in `outputs`: what a layer passes on."""
    if isinstance(outputs, Tensor):
        return outputs if outputs.is_floating_point() else None
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return next((t for t in map(first_tensor, outputs) if t is not None), None)
    return None


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


def _on_gradient(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> None:
    if tensor.requires_grad:
        tensor.register_hook(hook)  # type: ignore[no-untyped-call]


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
    seen = contextlib.nullcontext() if replicated else recorder.functions()
    with recorder.attached(), torch.enable_grad():
        with seen:
            loss = losses()
        gradients = recorder.backward(loss.sum())
    return measurement(recorder.records, loss, gradients, replicated=replicated)
