"""Optimisers of ``torch.optim`` by lower-case name, fused where torch can."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.errors import GradflowError, unknown_name

#: They need more than a gradient: a closure, sparse gradients, matrices alone.
_OTHERS = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}

#: name -> class.
OPTIMIZERS: dict[str, Any] = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name not in _OTHERS
}
_FUSED = ("adam", "adamw", "sgd")  # with a fused kernel on every kind of device
_KERAS_EPSILON = 1e-7  # of Adam, as the article has it


def find(name: str) -> Any:
    """Return the optimiser class of that name.

    Raises
    ------
    GradflowError
        If there is none.
    """
    if name.lower() not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name.lower()]


def optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Return the named optimiser with torch's defaults (Adam: with Keras' ε of 10⁻⁷).

    Raises
    ------
    GradflowError
        For an unknown name, and for a learning rate that the optimiser refuses.
    """
    cls, parameters = find(name), list(parameters)
    options: dict[str, Any] = {"lr": lr}
    if name.lower() == "adam":
        options["eps"] = _KERAS_EPSILON
    made: torch.optim.Optimizer
    try:
        if name.lower() in _FUSED:
            with contextlib.suppress(RuntimeError):  # no fused kernel in this torch for the device
                made = cls(parameters, **options, fused=True)
                return made
        made = cls(parameters, **options)
    except ValueError as error:
        raise GradflowError(f"optimizer '{name}' refuses lr = {lr:g}: {error}") from error
    return made


def rates(optimizer: Any) -> list[Any]:
    """Return the learning rate of every group that has one, a number or a tensor as it is there."""
    return [group["lr"] for group in optimizer.param_groups if "lr" in group]


def largest_rate(optimizer: Any) -> float | Tensor | None:
    """Return the largest learning rate of an optimizer's groups, as it is now.

    A copy of the first tensor that is on a device, for which nothing waits.
    """
    known = rates(optimizer)
    on_device = [r for r in known if isinstance(r, Tensor) and not r.is_cpu]
    if on_device:
        return on_device[0].detach().clone()
    return max((float(rate) for rate in known), default=None)


def set_rates(optimizer: Any, wanted: Sequence[float]) -> None:
    """Give every group its learning rate, of the type that it has."""
    for group, rate in zip(optimizer.param_groups, wanted, strict=True):
        if isinstance(group.get("lr"), Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
