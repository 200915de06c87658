"""What is 0 only because a weight starts at 0, as in LoRA, ControlNet and ResNet's last gains.

Such a weight has a gradient itself. So one step of it alone shows which zeros are gone after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.findings.thresholds import DEAD
from gradflow.measurement.preserving import plain_name, preserved, uncompiled
from gradflow.measurement.quantities import QUANTITIES
from gradflow.measurement.records import Measurement

#: The largest entry of the step.
_STEP = 0.01


@dataclass(frozen=True)
class ZeroWeights:
    """Weights that are 0 and have a gradient.

    Attributes
    ----------
    names
        Of those that are no biases.
    started
        Rows (from 1) at which something is 0 that no longer is after one step of them.
    after
        The pass after that step; None where none was run.
    """

    names: tuple[str, ...] = ()
    started: tuple[int, ...] = ()
    after: Measurement | None = None


def zero_weights(
    model: nn.Module,
    losses: Callable[[nn.Module], Tensor],
    plain: Measurement,
    measure: Callable[[], Measurement],
) -> ZeroWeights:
    """Return what starts at 0, if `plain` holds a zero that it may explain.

    The model is left as it was.

    Parameters
    ----------
    losses
        Runs the model and returns its loss.
    measure
        Measures it as `plain` was measured.
    """
    suspects = _zeros(plain)
    found = _zero_parameters(model) if suspects else {}
    if not found:
        return ZeroWeights()
    with preserved(model), uncompiled(model), torch.inference_mode(False), torch.enable_grad():
        grads = torch.autograd.grad(losses(model).sum(), list(found.values()), allow_unused=True)
    steps = {
        name: gradient
        for name, gradient in zip(found, grads, strict=True)
        if gradient is not None and bool(gradient.any()) and bool(gradient.isfinite().all())
    }
    if not steps:
        return ZeroWeights()
    with _stepped({name: found[name] for name in steps}, steps):
        after = measure()
    if after.names != plain.names:
        return ZeroWeights()
    names = tuple(plain_name(name) for name in steps if not name.endswith("bias"))
    still = _zeros(after)
    return ZeroWeights(names, tuple(row for row in suspects if row not in still), after)


def zero_layers(measured: Measurement) -> tuple[int, ...]:
    """Return the rows (from 1) all of whose weights are 0."""
    norms = measured.values[:, QUANTITIES.index("weight_norm")].amax(1).tolist()
    return tuple(row for row, norm in enumerate(norms, start=1) if norm == 0)


def _zero_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and p.numel() and not bool(p.detach().any())
    }


@contextlib.contextmanager
def _stepped(parameters: dict[str, nn.Parameter], grads: dict[str, Tensor]) -> Iterator[None]:
    """Take a step against the gradients for the block's duration."""
    before = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            p.data.copy_(grads[name] * (-_STEP / grads[name].abs().max()))
        yield
    finally:
        for name, p in parameters.items():
            p.data.copy_(before[name])


def _zeros(measured: Measurement) -> tuple[int, ...]:
    """Return the rows (from 1) of layers without gradient, δ, slopes, or spread."""
    values = measured.values[:, :, 0]

    def column(name: str) -> Tensor:
        return values[:, QUANTITIES.index(name)]

    gone = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    for name in ("gradient_norm", "delta_rms", "example_spread"):
        gone |= column(name) == 0  # NaN, which was not measured, is not
    gone |= column("dead_fraction") >= DEAD
    return tuple(index + 1 for index in gone.nonzero().flatten().tolist())
