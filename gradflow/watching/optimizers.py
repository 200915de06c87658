"""An optimizer's step as a watch meets it: its closure, and the wrappers around it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradflow.results.watching import OptimizerFacts


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
    while not _takes_hooks(optimizer):
        inside = _inside(optimizer)
        inner = getattr(optimizer, "optimizer", inside[0] if len(inside) == 1 else None)
        if inner is None:
            return optimizer
        optimizer = inner
    return optimizer


def is_or_has(optimizer: Any, other: Any) -> bool:
    """Return whether `other` is the optimizer, or one that it steps, as SAM and Lookahead do."""
    return other is optimizer or any(other is inner for inner in _inside(optimizer))


def _inside(optimizer: Any) -> list[Any]:
    """Return the optimizers that an optimizer, or what stands for one, holds."""
    held = getattr(optimizer, "__dict__", {})
    return [value for value in held.values() if _takes_hooks(value)]


def _takes_hooks(optimizer: Any) -> bool:
    return "_optimizer_step_pre_hooks" in getattr(optimizer, "__dict__", {})


def optimizer_facts(optimizer: Any) -> OptimizerFacts:
    """Return an optimizer's kind and settings, of its first group."""
    group = optimizer.param_groups[0] if optimizer.param_groups else {}

    def number(name: str) -> float | None:
        value = group.get(name)
        return float(value) if isinstance(value, int | float) else None

    betas = group.get("betas")
    beta = betas[0] if isinstance(betas, tuple | list) and betas else None
    kind = type(optimizer).__name__
    decays = [g["weight_decay"] for g in optimizer.param_groups if _is_number(g, "weight_decay")]
    return OptimizerFacts(
        kind=kind,
        momentum=float(beta) if isinstance(beta, int | float) else number("momentum"),
        weight_decay=float(max(decays)) if decays else None,
        decoupled=bool(group.get("decoupled_weight_decay", kind in _DECOUPLED)),
        eps=number("eps"),
        maximize=group.get("maximize") is True,
    )


#: Optimizers whose weight decay does not go through the gradient.
_DECOUPLED = ("AdamW", "Lion", "Adafactor", "Muon")


def _is_number(group: dict[str, Any], name: str) -> bool:
    return isinstance(group.get(name), int | float)


class Owned:
    """The parameters of all optimizers that stepped."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self._known: dict[int, int] = {}

    def add(self, optimizer: Any) -> None:
        """Take the parameters of an optimizer, if it has others than before."""
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        if self._known.get(id(optimizer)) != count:
            self._known[id(optimizer)] = count
            self.ids |= {id(p) for group in optimizer.param_groups for p in group["params"]}
