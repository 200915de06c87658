"""Measuring a module that gradflow did not build, and leaving it as it was."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.conversion import converted
from gradflow.errors import GradflowError
from gradflow.recorder import QUANTITIES, Measurement, measure
from gradflow.scaling import measure_scaled


@dataclass(frozen=True)
class Inspection:
    """What one pass over a user's module gave.

    Attributes
    ----------
    measurement
        In the model's dtype, or in float64 where that lost something.
    examples
        In the batch.
    averaged
        Whether the loss is a mean over them.
    lost
        Rows (from 1) whose δ the model's own dtype lost, to 0 or beyond its range.
    """

    measurement: Measurement
    examples: int
    averaged: bool
    lost: tuple[int, ...] = ()


def measure_module(
    model: nn.Module, inputs: Any, targets: Any, loss: Callable[..., Tensor] | None
) -> Inspection:
    """Run one pass; where a layer's δ under- or overflows, run a float64 copy as well.

    Raises
    ------
    GradflowError
        If there is no loss to be had from what was given, or no layer with weights.
    """
    if targets is None and loss is None:
        raise GradflowError(
            "diagnose(model, inputs) needs targets or a loss",
            "pass targets (cross-entropy is the default), or loss=lambda output: …",
        )
    arguments = inputs if isinstance(inputs, tuple | list) else (inputs,)
    criterion: Callable[..., Tensor] = F.cross_entropy if loss is None else loss

    def measured(module: nn.Module, arguments: Sequence[Any], targets: Any) -> Measurement:
        def losses() -> Tensor:
            output = module(*arguments)
            return criterion(output) if targets is None else criterion(output, targets)

        with preserved(module):
            return measure(module, losses)

    plain = measured(model, arguments, targets)
    first = next((a for a in arguments if isinstance(a, Tensor)), None)
    examples = len(first) if first is not None and first.dim() else 1
    averaged = getattr(loss, "reduction", "mean") != "sum"
    suspects = lost_layers(plain)
    if not suspects or plain.loss.dtype == torch.float64:
        return Inspection(plain, examples, averaged)
    wide = measured(
        copy.deepcopy(model).double(), [_widened(a) for a in arguments], _widened(targets)
    )
    if lost_layers(wide) and criterion_is_cross_entropy(loss, targets):
        wide = _scaled(model, arguments[0], targets, averaged) or wide
    still = lost_layers(wide)
    recovered = tuple(layer for layer in suspects if layer not in still)
    if not recovered:  # truly 0 or not finite: dead, or broken
        return Inspection(plain, examples, averaged)
    keep_counts(wide, plain)
    return Inspection(wide, examples, averaged, recovered)


def criterion_is_cross_entropy(loss: Callable[..., Tensor] | None, targets: Any) -> bool:
    """Return whether the loss is plain cross-entropy of class labels."""
    plain = loss is None or (isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None)
    return plain and isinstance(targets, Tensor) and not targets.is_floating_point()


def _scaled(model: nn.Module, inputs: Any, labels: Tensor, averaged: bool) -> Measurement | None:
    """Measure by a forward pass that cannot overflow, where the model's layers are known."""
    blocks = converted(model)
    if blocks is None or not isinstance(inputs, Tensor) or inputs.dim() != 2:
        return None
    scale = 1 / len(labels) if averaged else 1.0
    scaled = measure_scaled(
        blocks[0], inputs.unsqueeze(0), labels, blocks[1], "cross-entropy", scale
    )
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return replace(scaled, names=names, kinds=["Linear"] * len(names))


def lost_layers(measured: Measurement) -> tuple[int, ...]:
    """Return the layers (from 1) whose δ is 0, subnormal or not finite."""
    rms = measured.values[:, QUANTITIES.index("delta_rms"), 0]
    exponent = measured.values[:, QUANTITIES.index("delta_exponent"), 0]
    tiny = torch.finfo(measured.loss.dtype).tiny
    lost = ~rms.isfinite() | ((rms < tiny) & (exponent == 0))
    return tuple((lost.nonzero().flatten() + 1).tolist())


def keep_counts(wide: Measurement, plain: Measurement) -> None:
    """Keep saying what was not finite in the model's own dtype."""
    for name in ("forward_nonfinite", "backward_nonfinite"):
        at = QUANTITIES.index(name)
        wide.values[:, at] = plain.values[:, at]


def _widened(value: Any) -> Any:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.double() if floating else value


@contextlib.contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put buffers (running statistics) and the random state back after the block."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = {t.device for t in (*model.parameters(), *model.buffers()) if t.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if name in buffers:
                        buffer.copy_(buffers[name])
