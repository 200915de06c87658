"""The parts of a module and what they hold, in torch's own order and a tenth of its time."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

T = TypeVar("T", bound=Tensor)
R = TypeVar("R")


class _Remembered(threading.local):
    """What walks gave, with the module so that it lives as long; None: they are not remembered."""

    known: dict[Any, tuple[nn.Module, Any]] | None = None


_remembered = _Remembered()


@contextlib.contextmanager
def remembered(remember: bool = True) -> Iterator[None]:
    """Walk through each module once while the block lasts, in which nobody gives it other parts.

    Parameters
    ----------
    remember
        False: code of somebody else's runs in the block, which may do that.
    """
    before = _remembered.known
    _remembered.known = (before or {}) if remember else None
    try:
        yield
    finally:
        _remembered.known = before if remember or before is None else {}


def _once(walk: Callable[[nn.Module], list[R]]) -> Callable[[nn.Module], list[R]]:
    """Have a walk's list, which nobody changes, made once."""

    @functools.wraps(walk)
    def known_or_walked(model: nn.Module) -> list[R]:
        known = _remembered.known
        if known is None:
            return walk(model)
        key = walk, id(model)
        if key not in known:
            known[key] = model, walk(model)
        found: list[R] = known[key][1]
        return found

    return known_or_walked


@_once
def named_parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the module and all of its parts, each once, as `nn.Module.named_modules` does."""
    found: dict[int, tuple[str, nn.Module]] = {}
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = name, module
        if below := module._modules:
            start = f"{name}." if name else ""
            waiting += [(start + own, part) for own, part in below.items() if part is not None][
                ::-1
            ]
    return list(found.values())


@_once
def parts(model: nn.Module) -> list[nn.Module]:
    """Return the module and all of its parts, each once."""
    found: dict[int, nn.Module] = {}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = module
        if below := module._modules:
            waiting += [part for part in below.values() if part is not None][::-1]
    return list(found.values())


@_once
def named_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters of all parts, each once."""
    return _named((name, module._parameters) for name, module in named_parts(model))


@_once
def named_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the buffers of all parts, each once."""
    return _named((name, module._buffers) for name, module in named_parts(model))


@_once
def parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all parts, each once."""
    every = (p for module in parts(model) if (own := module._parameters) for p in own.values())
    return list({id(p): p for p in every if p is not None}.values())


@_once
def buffers(model: nn.Module) -> list[Tensor]:
    """Return the buffers of all parts, each once."""
    every = (b for module in parts(model) if (own := module._buffers) for b in own.values())
    return list({id(b): b for b in every if b is not None}.values())


def _named(held: Iterable[tuple[str, Mapping[str, T | None]]]) -> list[tuple[str, T]]:
    found: dict[int, tuple[str, T]] = {}
    for name, own in held:
        start = f"{name}." if own and name else ""
        for key, tensor in own.items():
            if tensor is not None:
                found.setdefault(id(tensor), (start + key, tensor))
    return list(found.values())
