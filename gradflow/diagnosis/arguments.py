"""What `diagnose` is given: checked, with one line on what to give instead."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from gradflow.errors import GradflowError
from gradflow.training.optimizers import OPTIMIZERS

#: An optimizer by its name, its class, or as it is used.
AnyOptimizer = str | Optimizer | type[Optimizer]


def check_module(model: Any, inputs: Any, loss: Any) -> None:
    """Raise GradflowError unless there is a module, a batch and, if any, a loss to call."""
    if not isinstance(model, nn.Module):
        of = model.__name__ if isinstance(model, type) else type(model).__name__
        hint = f": {of}(…) makes one of the class" if isinstance(model, type) else ""
        raise GradflowError(
            f"diagnose() needs a NetworkConfig or a torch.nn.Module first, got a {of}{hint}"
        )
    if isinstance(inputs, DataLoader):
        raise GradflowError("inputs is a DataLoader: give one batch of it, *next(iter(loader))")
    if isinstance(loss, type):
        raise GradflowError(f"loss is a class: give what it makes, {loss.__name__}()")
    if loss is not None and not callable(loss):
        raise GradflowError(
            f"loss must be a function of the output and the targets, got {loss!r}: for example "
            "torch.nn.functional.mse_loss"
        )


def check_numbers(lr: Any, trial_steps: Any) -> None:
    """Raise GradflowError for a learning rate or steps that no training has."""
    if lr is not None and not (_is_number(lr) and 0 <= lr < math.inf):
        raise GradflowError(f"lr must be a number of at least 0, got {lr!r}")
    if trial_steps is not None and not (_is_number(trial_steps) and trial_steps >= 0):
        raise GradflowError(
            f"trial_steps must be a whole number of at least 0, got {trial_steps!r}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_use(optimizer: AnyOptimizer | None, lr: float | None) -> tuple[str | None, float | None]:
    """Return an optimizer's name in torch.optim, None for one of another kind, and its rate.

    Raises
    ------
    GradflowError
        For what is no optimizer.
    """
    if optimizer is None or isinstance(optimizer, str):
        return optimizer, lr
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    if not issubclass(kind, Optimizer):
        raise GradflowError(
            f"optimizer must be a name or a torch.optim.Optimizer, got a {kind.__name__}"
        )
    if lr is None and isinstance(optimizer, Optimizer):
        lr = float(optimizer.param_groups[0]["lr"])
    names = (base.__name__.lower() for base in kind.__mro__)
    return next((name for name in names if name in OPTIMIZERS), None), lr
