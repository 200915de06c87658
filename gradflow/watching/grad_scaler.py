"""Seeing what a loop's `torch.amp.GradScaler` does, without being told of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch


class ScalerListener(Protocol):
    """What is told of every GradScaler."""

    def after_scale(self, scaler: Any, loss: Any) -> None:
        """A loss was multiplied; here is what became of it."""

    def before_unscale(self, scaler: Any, optimizer: Any) -> None:
        """Gradients are going to be unscaled."""

    def after_unscale(self, scaler: Any, optimizer: Any) -> None:
        """Gradients were unscaled."""

    def before_step(self, scaler: Any, optimizer: Any) -> None:
        """The scaler is going to step the optimizer, or to skip it."""

    def after_step(self, scaler: Any, optimizer: Any) -> None:
        """It did one of both."""


class ScalesAlone:
    """A listener that is told of nothing but scales."""

    def before_unscale(self, scaler: Any, optimizer: Any) -> None:
        """Nothing is read then."""

    def after_unscale(self, scaler: Any, optimizer: Any) -> None:
        """Nothing is read then."""

    def before_step(self, scaler: Any, optimizer: Any) -> None:
        """Nothing is read then."""

    def after_step(self, scaler: Any, optimizer: Any) -> None:
        """Nothing is read then."""


_LISTENERS: list[ScalerListener] = []
_ORIGINAL: dict[str, Callable[..., Any]] = {}


class _Handle:
    def __init__(self, listener: ScalerListener) -> None:
        self.listener = listener

    def remove(self) -> None:
        """Tell the listener no more; the class is as it was once nobody listens."""
        _LISTENERS.remove(self.listener)
        if not _LISTENERS:
            for name, method in _ORIGINAL.items():
                setattr(torch.amp.GradScaler, name, method)
            _ORIGINAL.clear()


def listen(listener: ScalerListener) -> _Handle:
    """Tell `listener` of every GradScaler until the handle's `remove()`."""
    _LISTENERS.append(listener)
    if not _ORIGINAL:
        for name, what in (("unscale_", "unscale"), ("step", "step")):
            method = getattr(torch.amp.GradScaler, name)
            _ORIGINAL[name] = method
            setattr(torch.amp.GradScaler, name, _told(method, what))
        _ORIGINAL["scale"] = torch.amp.GradScaler.scale
        setattr(torch.amp.GradScaler, "scale", _told_of_loss(torch.amp.GradScaler.scale))  # noqa: B010
    return _Handle(listener)


def _told(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(scaler: Any, optimizer: Any, *arguments: Any, **keywords: Any) -> Any:
        for listener in tuple(_LISTENERS):
            getattr(listener, f"before_{what}")(scaler, optimizer)
        found = method(scaler, optimizer, *arguments, **keywords)
        for listener in tuple(_LISTENERS):
            getattr(listener, f"after_{what}")(scaler, optimizer)
        return found

    return wrapped


def _told_of_loss(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(scaler: Any, *arguments: Any, **keywords: Any) -> Any:
        found = method(scaler, *arguments, **keywords)
        for listener in tuple(_LISTENERS):
            listener.after_scale(scaler, found)
        return found

    return wrapped


def scale_of(scaler: Any) -> torch.Tensor | None:
    """Return what a scaler multiplies the loss by, as a 0-d copy; None where it does nothing."""
    scale = getattr(scaler, "_scale", None)
    return scale.detach().clone().reshape(()) if isinstance(scale, torch.Tensor) else None
