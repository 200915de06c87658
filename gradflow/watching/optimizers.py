"""An optimizer's step as a watch meets it: its closure, and the wrappers around it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def with_closure(
    arguments: Any, keywords: dict[str, Any], evaluated: Callable[[], None]
) -> tuple[Any, Any] | None:
    """Return the arguments of `step` with its closure followed by a call; None without one."""

    def followed(closure: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(closure)
        def both(*given: Any, **named: Any) -> Any:
            value = closure(*given, **named)
            evaluated()
            return value

        return both

    if callable(keywords.get("closure")):
        return arguments, {**keywords, "closure": followed(keywords["closure"])}
    if len(arguments) > 1 and callable(arguments[1]):
        return (arguments[0], followed(arguments[1]), *arguments[2:]), keywords
    return None


def unwrapped(optimizer: Any) -> Any:
    """Return the optimizer inside wrappers that take no hooks, as accelerate's does not."""
    while not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None:
            return optimizer
        optimizer = inner
    return optimizer
