"""Leaving a user's module, and everything around it, as it was found."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gradflow.measurement import walks
from gradflow.measurement.module_state import ModuleState


@contextlib.contextmanager
def random_states_kept(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Put the random states of Python, NumPy, torch's CPU and `devices` back after the block."""
    others = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])


@contextlib.contextmanager
def preserved(
    model: nn.Module, *, thrown_away: bool = False, state: ModuleState | None = None
) -> Iterator[None]:
    """Put all that `model` holds, its gradients and the random states back after the block.

    Within the block no parameter has a ``.grad``.

    Parameters
    ----------
    thrown_away
        Of a copy that nobody uses again: only the random states are put back.
    state
        What is put back, if it is known already.
    """
    if state is None and not thrown_away:
        state = ModuleState(model)
    parameters = walks.parameters(model)
    grads = [(p, p.grad) for p in parameters]
    devices = {t.device for t in (*parameters, *walks.buffers(model)) if t.is_cuda}
    with random_states_kept(devices):
        try:
            for parameter, _ in grads:
                parameter.grad = None
            yield
        finally:
            if state is not None:
                with walks.remembered(False):  # parts that were added go
                    state.restore()
            for parameter, grad in grads:
                parameter.grad = grad


def is_compiled(model: nn.Module) -> bool:
    """Return whether `model`, or a part of it, goes through `torch.compile`."""
    return any(
        "_orig_mod" in module._modules or module.__dict__.get("_compiled_call_impl") is not None
        for module in walks.parts(model)
    )


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run whatever `torch.compile` made of the parts of `model` as it was written."""
    if not is_compiled(model):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def original(model: nn.Module) -> nn.Module:
    """Return the module inside `torch.compile`, `DataParallel` and its distributed kind."""
    inner: Any = model.module if _is_parallel(model) else None
    if "_orig_mod" in model._modules:
        inner = model._modules["_orig_mod"]
    return original(inner) if isinstance(inner, nn.Module) else model


def _is_parallel(model: nn.Module) -> bool:
    distributed = sys.modules.get("torch.nn.parallel.distributed")
    kinds: tuple[Any, ...] = (nn.DataParallel,)
    if distributed is not None:
        kinds = (*kinds, distributed.DistributedDataParallel)
    return isinstance(model, kinds)


def plain_name(name: str) -> str:
    """Return a module's or parameter's name without what wrappers put into it."""
    parts = (p for p in name.split(".") if p not in ("_orig_mod", "_fsdp_wrapped_module"))
    return ".".join(parts)


def is_lazy_module(model: nn.Module) -> bool:
    """Return whether a parameter or buffer of `model` has no shape before the first pass."""
    return any(is_lazy(t) for t in (*walks.parameters(model), *walks.buffers(model)))


def is_scripted(model: nn.Module) -> bool:
    """Return whether `model`, or a part of it, is a script: no hook can be set on it."""
    return any(isinstance(module, torch.jit.ScriptModule) for module in walks.parts(model))
