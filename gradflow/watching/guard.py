"""Keeping what goes wrong in watching out of the loop that is watched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def never_raises(method: Callable[..., T]) -> Callable[..., T | None]:
    """Note why a method of an object with `failures` failed, and return None instead of raising."""

    @functools.wraps(method)
    def safe(self: Any, *arguments: Any, **keywords: Any) -> T | None:
        try:
            return method(self, *arguments, **keywords)
        except Exception as error:  # whatever a foreign tensor raises when it is read
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            if reason not in self.failures:
                self.failures.append(reason)
            return None

    return safe
