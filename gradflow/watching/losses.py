"""Hearing what `backward()` is called on, without being told of it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class LossListener(Protocol):
    """What is told of every backward pass that a program starts."""

    def before_backward(self, loss: Tensor) -> None:
        """The pass begins; the graph of the loss is alive."""

    def after_backward(self, _: Tensor) -> None:
        """The pass is over, or it raised."""


_LISTENERS: list[LossListener] = []
_ORIGINAL: dict[str, Callable[..., Any]] = {}


class _Depth(threading.local):
    """How many backward passes run within each other in this thread, as checkpointing has it."""

    value: int = 0


_DEPTH = _Depth()


class LossHandle:
    """Tells a listener until `remove()`; torch is as it was once nobody listens."""

    def __init__(self, listener: LossListener) -> None:
        self.listener = listener
        _LISTENERS.append(listener)
        if not _ORIGINAL:
            _ORIGINAL["backward"] = torch.autograd.backward
            torch.autograd.backward = _told(torch.autograd.backward)

    def remove(self) -> None:
        """Tell the listener no more."""
        if self.listener in _LISTENERS:
            _LISTENERS.remove(self.listener)
        if not _LISTENERS and _ORIGINAL:
            torch.autograd.backward = _ORIGINAL.pop("backward")


def _told(backward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(backward)
    def wrapped(tensors: Any, *arguments: Any, **keywords: Any) -> Any:
        loss = _loss_of(tensors) if not _DEPTH.value else None
        if loss is None:
            return backward(tensors, *arguments, **keywords)
        heard = tuple(_LISTENERS)
        for listener in heard:
            listener.before_backward(loss)
        _DEPTH.value += 1
        try:
            return backward(tensors, *arguments, **keywords)
        finally:
            _DEPTH.value -= 1
            for listener in heard:
                listener.after_backward(loss)

    return wrapped


def _loss_of(tensors: Any) -> Tensor | None:
    """Return what a pass starts from; of several losses their sum, for what it is worth."""
    if isinstance(tensors, Tensor):
        return tensors
    if not isinstance(tensors, Sequence):
        return None
    found = [t for t in tensors if isinstance(t, Tensor)]
    if len(found) < 2:
        return found[0] if found else None
    return None if any(t.numel() > 1 for t in found) else torch.stack(list(found)).sum()
