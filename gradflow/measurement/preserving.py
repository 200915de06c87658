"""Leaving a user's module, and everything around it, as it was found."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

#: Entries up to which a parameter is copied, to be put back.
_COPIED = 2**16


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Put the random states of Python, NumPy and torch's CPU back after the block."""
    others = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])


@contextlib.contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put parameters, their gradients, buffers, modes and the random states back after the block.

    Large parameters are not copied: what a forward pass sets anew is put back, what it writes into
    them is not.
    """
    held = [(p, p.data) for p in model.parameters() if not is_lazy(p)]
    copied = [(data, data.clone()) for _, data in held if data.numel() <= _COPIED]
    grads = [(p, p.grad) for p in model.parameters()]
    buffers = [_Slot.of(m._buffers, n, t) for m in model.modules() for n, t in _own(m._buffers)]
    parameters: list[tuple[dict[str, Any], str, Tensor]] = [
        (m._parameters, n, p)
        for m in model.modules()
        for n, p in _own(m._parameters)
        if not is_lazy(p)
    ]
    modes = [(module, module.training) for module in model.modules()]
    devices = {t.device for t in (*model.parameters(), *model.buffers()) if t.is_cuda}
    with random_states_kept(), torch.random.fork_rng(devices=list(devices)):
        try:
            for one, _ in grads:
                one.grad = None
            yield
        finally:
            for module, training in modes:
                module.training = training
            for table, name, parameter in parameters:
                table[name] = parameter
            for one, data in held:
                if one.data.data_ptr() != data.data_ptr():
                    one.data = data
            for data, copy in copied:
                if not torch.equal(data, copy):
                    data.copy_(copy)
            for one, grad in grads:
                one.grad = grad
            with torch.no_grad():
                for slot in buffers:
                    slot.restore()


def _own(table: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    return ((name, tensor) for name, tensor in table.items() if tensor is not None)


@dataclass(frozen=True)
class _Slot:
    """A buffer, which a forward pass may change or replace."""

    table: dict[str, Any]
    name: str
    tensor: Tensor
    values: Tensor

    @staticmethod
    def of(table: dict[str, Any], name: str, tensor: Tensor) -> _Slot:
        return _Slot(table, name, tensor, tensor if is_lazy(tensor) else tensor.detach().clone())

    def restore(self) -> None:
        self.table[self.name] = self.tensor
        if not is_lazy(self.tensor):
            self.tensor.data.copy_(self.values)  # .data: a pending graph of the user's stays valid


def is_compiled(model: nn.Module) -> bool:
    """Return whether `model`, or a part of it, goes through `torch.compile`."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
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
    inner = getattr(model, "_orig_mod", model.module if _is_parallel(model) else None)
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
    return any(is_lazy(t) for t in (*model.parameters(), *model.buffers()))
