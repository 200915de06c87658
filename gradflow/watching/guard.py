"""Keeping what goes wrong in watching out of the loop that is watched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from gradflow.measurement.hooks import aside

T = TypeVar("T")


def _has_modes() -> int:
    return torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack()


def never_raises(method: Callable[..., T]) -> Callable[..., T | None]:
    """Note why a method of an object with `failures` failed, and return None instead of raising."""

    @functools.wraps(method)
    def safe(self: Any, *arguments: Any, **keywords: Any) -> T | None:
        try:
            if _has_modes():
                return aside(method, self, *arguments, **keywords)
            return method(self, *arguments, **keywords)
        except Exception as error:  # whatever a foreign tensor raises when it is read
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            if reason not in self.failures:
                self.failures.append(reason)
            return None

    return safe
