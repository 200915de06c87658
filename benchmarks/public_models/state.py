"""Everything of a model, and around it, that looking at it must not change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
)
_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def state(model: nn.Module) -> dict[str, Any]:
    """Return copies of everything, by name."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found |= {f"{name}:{key}": value for key, value in _of_module(module)}
    found["random"] = random.getstate()
    found["numpy random"] = [v.copy() if hasattr(v, "copy") else v for v in np.random.get_state()]
    found["torch random"] = torch.get_rng_state()
    found["modes"] = (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(torch.overrides._get_current_function_mode_stack()),
    )
    return found


def _of_module(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield name, tensor.detach().clone()
            yield f"{name} itself", id(tensor)
            yield f"{name}.grad", None if tensor.grad is None else tensor.grad.detach().clone()
            yield f"{name} takes a gradient", tensor.requires_grad
            yield f"{name} hooks", [len(getattr(tensor, a, None) or ()) for a in _OF_TENSORS]
    yield "training", module.training
    yield "hooks", [len(getattr(module, a)) for a in _HOOKS]
    yield "children", [id(child) for child in module._modules.values()]
    for name, value in vars(module).items():
        if not name.startswith("_") and isinstance(value, Tensor | int | float | str | None):
            yield name, value.detach().clone() if isinstance(value, Tensor) else value


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of what is not bit for bit the same."""
    names = dict.fromkeys((*before, *after))
    return [n for n in names if not _same(before.get(n, ...), after.get(n, ...))]


def own_hooks(model: nn.Module, run: Callable[[], Any]) -> list[str]:
    """Return the names of the hooks that a model sets itself when it is run."""
    before = state(model)
    run()
    return [n for n in differences(before, state(model)) if n.endswith(":hooks")]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and _bits(one, other)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or repr(one) == repr(other) == "nan"


def _bits(one: Tensor, other: Tensor) -> bool:
    if one.is_floating_point() or one.is_complex():
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(
            one.nan_to_num(), other.nan_to_num()
        )
    return torch.equal(one, other)
