"""What is 0 only because a weight starts at 0, as in LoRA, ControlNet and ResNet's last gains.

Such a weight has a gradient itself. So a step of it alone shows which zeros are gone after it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.findings.thresholds import DEAD
from gradflow.measurement import walks
from gradflow.measurement.preserving import plain_name
from gradflow.measurement.quantities import QUANTITIES
from gradflow.measurement.records import Measurement

#: The largest entry of a step, and how many there are at most.
_STEP, _STEPS = 0.01, 3


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


#: What a pass after a step is always asked for.
_WANTED = ("gradient_norm", "delta_rms", "example_spread")


def wanted(plain: Measurement) -> tuple[str, ...]:
    """Return what a pass after a step is asked for: dead units only where there are some."""
    dead = plain.values[:, QUANTITIES.index("dead_fraction"), 0] >= DEAD
    return (*_WANTED, *(["dead_fraction"] if dead.any() else []))


def zero_weights(
    zeros: dict[str, nn.Parameter],
    plain: Measurement,
    measure: Callable[[Collection[int]], Measurement],
) -> ZeroWeights:
    """Return what starts at 0, if `plain` holds a zero that it may explain.

    The model is left as it was.

    Parameters
    ----------
    zeros
        The model's parameters that are 0, as `zero_parameters` finds them.
    plain
        The pass in the model's own dtype, which kept their gradients.
    measure
        Measures the model again, as far as it is `wanted`, and keeps gradients of parameters.
    """
    suspects = rows_at_zero(plain) if zeros else ()
    found = zeros if suspects else {}
    moved: dict[str, Tensor] = {}
    after, gradients = plain, plain.kept
    with _restored(found):
        for _ in range(_STEPS):  # one 0 may lie behind another
            stepped = _steps(found, gradients)
            if not stepped:
                break
            moved |= stepped
            for name, values in moved.items():  # what measures puts the weights back
                zeros[name].data.copy_(values)
            found = {name: p for name, p in found.items() if name not in moved}
            after = measure(ids(found))
            gradients = after.kept
            if after.names != plain.names or not rows_at_zero(after):
                break
    if after is plain or after.names != plain.names:
        return ZeroWeights()
    still = rows_at_zero(after)
    started = tuple(row for row in suspects if row not in still)
    own = tuple(plain_name(name) for name in moved if not name.endswith("bias"))
    return ZeroWeights(own, started, after)


def _steps(
    zeros: dict[str, nn.Parameter], gradients: Mapping[int, Tensor | None]
) -> dict[str, Tensor]:
    """Return what a step against the gradients makes of weights that are 0 and have one."""
    stepped = {}
    for name, p in zeros.items():
        gradient = gradients.get(id(p))
        largest = 0.0 if gradient is None else float(gradient.abs().max())
        if gradient is not None and 0 < largest < math.inf:
            stepped[name] = gradient * (-_STEP / largest)
    return stepped


def zero_layers(measured: Measurement) -> tuple[int, ...]:
    """Return the rows (from 1) all of whose weights are 0."""
    norms = measured.values[:, QUANTITIES.index("weight_norm")].amax(1).tolist()
    return tuple(row for row, norm in enumerate(norms, start=1) if norm == 0)


def zero_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters that are all 0, by name, and that can be written into."""
    trained = {n: p for n, p in walks.named_parameters(model) if p.requires_grad and p.numel()}
    return {n: p for n, p in trained.items() if is_zero(p) and 0 not in p.stride()}


def is_zero(parameter: Tensor) -> bool:
    """Return whether all entries are 0."""
    values = parameter.detach()
    if values.device.type == "cpu" and values[(0,) * values.dim()].item() != 0:
        return False  # as in nearly all
    return not values.any()


def ids(parameters: Mapping[str, nn.Parameter]) -> set[int]:
    """Return by what gradients of parameters are kept."""
    return {id(p) for p in parameters.values()}


@contextlib.contextmanager
def _restored(parameters: dict[str, nn.Parameter]) -> Iterator[None]:
    """Put the values back after the block."""
    before = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        yield
    finally:
        for name, values in before.items():
            parameters[name].data.copy_(values)


def rows_at_zero(measured: Measurement) -> tuple[int, ...]:
    """Return the rows (from 1) of layers without gradient, δ, slopes, or spread."""
    values = measured.values[:, :, 0]

    def column(name: str) -> Tensor:
        return values[:, QUANTITIES.index(name)]

    gone = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    for name in ("gradient_norm", "delta_rms", "example_spread"):
        gone |= column(name) == 0  # NaN, which was not measured, is not
    gone |= column("dead_fraction") >= DEAD
    return tuple(index + 1 for index in gone.nonzero().flatten().tolist())
