"""One forward and backward pass -> what happened in every layer.

Gradients of activations are taken by `Tensor.register_hook` inside forward hooks: full backward
hooks fail on in-place activations. Backpropagation is linear in the incoming gradient, so at the
children of a top-level `nn.Sequential`, through which every path passes, the gradient is
multiplied by an exact power of two and the exponent remembered: magnitudes neither underflow nor
overflow, whatever the depth. Nothing here waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.elementwise import is_activation, is_layer, max_slope, slope
from gradflow.stats import TensorStats, accumulator, example_spread, l2_norm, tensor_stats

#: Saturated: a slope below this share of the activation's largest one.
SATURATION = 0.01


@dataclass
class LayerRecord:
    """One call of a module with weights; every tensor is (replicas,), on the model's device.

    An exponent is that of a power of two: true magnitudes are the recorded ones times
    2**exponent. ``weight_exponent`` is what δ is to be multiplied by where the weight's gradient
    is made of it; the weight's gradient has that of the layer's input as well.
    """

    index: int
    name: str
    kind: str
    module: nn.Module
    delta: TensorStats | None = None
    delta_exponent: Tensor | None = None
    weight_exponent: Tensor | None = None
    activation: TensorStats | None = None
    activation_exponent: Tensor | None = None
    input_exponent: Tensor | None = None
    example_spread: Tensor | None = None
    dead_fraction: Tensor | None = None
    saturated_fraction: Tensor | None = None


@dataclass
class Recorder:
    """Hooks a model for one pass.

    Parameters
    ----------
    model
        Any module; measured where it is, left as it was.
    replicated
        Whether parameters and activations carry a leading axis of independent replicas.
    exponent
        (replicas,): what gradients at the current point of the backward pass lack.
    """

    model: nn.Module
    replicated: bool = False
    records: list[LayerRecord] = field(default_factory=list)
    exponent: Tensor | None = None
    _pending: LayerRecord | None = None

    @contextlib.contextmanager
    def attached(self) -> Iterator[Recorder]:
        """Hook the model for the block's duration."""
        handles = []
        try:
            for name, module in self.model.named_modules():
                if is_layer(module):
                    handles.append(module.register_forward_hook(self._layer_hook(name)))
                elif is_activation(module):
                    handles.append(module.register_forward_pre_hook(self._before_activation))
                    handles.append(module.register_forward_hook(self._after_activation))
            handles += [m.register_forward_hook(self._boundary) for m in self._boundaries()]
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def backward(self, loss: Tensor) -> list[tuple[Tensor | None, Tensor | None]]:
        """Backpropagate `loss`; return every record's weight gradient and bias gradient."""
        pairs = [(_weight(r.module), getattr(r.module, "bias", None)) for r in self.records]
        unique = {id(p): p for pair in pairs for p in pair if p is not None and p.requires_grad}
        grads = torch.autograd.grad(loss, list(unique.values()), allow_unused=True)
        by_id = dict(zip(unique, grads, strict=True))
        return [(by_id.get(id(weight)), by_id.get(id(bias))) for weight, bias in pairs]

    def lift(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with its leading axis of replicas."""
        return tensor if self.replicated else tensor.unsqueeze(0)

    def _boundaries(self) -> list[nn.Module]:
        return list(self.model.children()) if isinstance(self.model, nn.Sequential) else []

    def _layer_hook(self, name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.requires_grad:
                return
            record = LayerRecord(len(self.records) + 1, name, type(module).__name__, module)
            self.records.append(record)
            self._pending = record

            def on_gradient(gradient: Tensor) -> None:
                record.delta = tensor_stats(self.lift(gradient))
                record.delta_exponent = record.weight_exponent = self._current(gradient)

            _on_gradient(output, on_gradient)

        return hook

    def _before_activation(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        record = self._pending
        if record is None or not isinstance(inputs[0], Tensor):
            return
        slopes = self.lift(slope(module, inputs[0])).abs()
        dead = (slopes == 0).all(dim=1).flatten(1)
        record.dead_fraction = dead.to(accumulator(dead.device)).mean(1)
        saturated = slopes < SATURATION * max_slope(module, slopes)
        record.saturated_fraction = saturated.flatten(1).to(accumulator(dead.device)).mean(1)

    def _after_activation(self, _: nn.Module, __: Any, output: Any) -> None:
        record, self._pending = self._pending, None
        if record is not None and isinstance(output, Tensor):
            record.activation = tensor_stats(self.lift(output))
            record.example_spread = example_spread(self.lift(output))

    def _boundary(self, module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        last = self.records[-1] if self.records else None
        self.mark(output, last if last is not None and last.module is module else None)

    def mark(self, output: Tensor, record: LayerRecord | None = None) -> None:
        """Keep the gradient's scale at `output`, through which every path passes.

        `record` is that of the layer whose output it is, if it is one's.
        """

        def rescale(gradient: Tensor) -> Tensor:
            scaled, exponent = normalized(self.lift(gradient))
            self.exponent = self._current(gradient) + exponent
            if record is not None:  # its weights see the rescaled gradient
                record.weight_exponent = self.exponent
            return scaled if self.replicated else scaled.squeeze(0)

        _on_gradient(output, rescale)

    def _current(self, like: Tensor) -> Tensor:
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
    limit = 126 if gradient.dtype != torch.float64 else 1022  # 2**-e must be a normal number
    exponent = exponent.where(largest.isfinite() & (largest > 0), 0).clamp(-limit, limit)
    shape = (-1,) + (1,) * (gradient.dim() - 1)
    return torch.ldexp(gradient, -exponent.view(shape)), exponent.to(accumulator(gradient.device))


def _on_gradient(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> None:
    tensor.register_hook(hook)  # type: ignore[no-untyped-call]


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


#: Per-layer quantities in the order in which they are stacked.
QUANTITIES = (
    "weight_norm", "gradient_norm", "gradient_mean_abs", "gradient_max_abs", "bias_gradient_norm",
    "weight_exponent", "input_exponent", "delta_rms", "delta_exponent", "backward_nonfinite",
    "activation_exponent", "activation_mean", "activation_variance", "zero_fraction",
    "forward_nonfinite", "example_spread", "dead_fraction", "saturated_fraction",
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """What one pass gave.

    Attributes
    ----------
    names, kinds
        Of every layer call, in the order of the forward pass.
    weight_sizes
        Entries of each layer's weight, per replica.
    loss
        (replicas,) or 0-d, as the closure gave it.
    values
        (layers, quantities, replicas), in the order of `QUANTITIES`; NaN where not measured.
    measured
        Per layer, the quantities that were measured.
    """

    names: list[str]
    kinds: list[str]
    weight_sizes: list[int]
    loss: Tensor
    values: Tensor
    measured: list[frozenset[str]]


def measure(
    model: nn.Module, losses: Callable[[], Tensor], *, replicated: bool = False
) -> Measurement:
    """Run `losses` (a closure around the forward pass) and backpropagate the sum of what it gives.

    Nothing is synchronised with the host; parameters and their ``.grad`` are left alone.
    """
    recorder = Recorder(model, replicated)
    with recorder.attached(), torch.enable_grad():
        loss = losses()
        gradients = recorder.backward(loss.sum())
    return measurement(recorder, loss, gradients)


def measurement(
    recorder: Recorder, loss: Tensor, gradients: list[tuple[Tensor | None, Tensor | None]]
) -> Measurement:
    """Return what `recorder` saw, with the weights' and biases' gradients."""
    quantities = [
        _quantities(recorder, record, weight, bias)
        for record, (weight, bias) in zip(recorder.records, gradients, strict=True)
    ]
    weights = [recorder.lift(_weight(record.module)) for record in recorder.records]
    return Measurement(
        names=[record.name for record in recorder.records],
        kinds=[record.kind for record in recorder.records],
        weight_sizes=[weight[0].numel() for weight in weights],
        loss=loss.detach(),
        values=torch.stack([_stacked(q, w) for q, w in zip(quantities, weights, strict=True)]),
        measured=[frozenset(k for k, v in q.items() if v is not None) for q in quantities],
    )


def _stacked(quantities: dict[str, Tensor | None], weight: Tensor) -> Tensor:
    missing = torch.full((weight.shape[0],), torch.nan, device=weight.device)
    dtype = accumulator(weight.device)
    return torch.stack([(missing if v is None else v).to(dtype) for v in quantities.values()])


def _quantities(
    recorder: Recorder, record: LayerRecord, weight: Tensor | None, bias: Tensor | None
) -> dict[str, Tensor | None]:
    values: dict[str, Tensor | None] = dict.fromkeys(QUANTITIES)
    values["weight_norm"] = l2_norm(recorder.lift(_weight(record.module)))
    if weight is not None:
        g = tensor_stats(recorder.lift(weight))
        values |= {"gradient_norm": g.norm, "gradient_mean_abs": g.mean_abs}
        values["gradient_max_abs"] = g.abs_max
    if bias is not None:
        values["bias_gradient_norm"] = l2_norm(recorder.lift(bias))
    if (delta := record.delta) is not None:
        values |= {"delta_rms": delta.rms, "delta_exponent": record.delta_exponent}
        values["backward_nonfinite"] = delta.nonfinite_count
    if (a := record.activation) is not None:
        values |= {"activation_mean": a.mean, "activation_variance": a.variance}
        values |= {"zero_fraction": a.zero_fraction, "forward_nonfinite": a.nonfinite_count}
    values["weight_exponent"] = record.weight_exponent
    values["input_exponent"] = record.input_exponent
    values["activation_exponent"] = record.activation_exponent
    values["example_spread"] = record.example_spread
    values["dead_fraction"] = record.dead_fraction
    values["saturated_fraction"] = record.saturated_fraction
    return values
