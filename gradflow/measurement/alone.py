"""One measurement at a time, whatever the threads.

Hooks, function modes, random states and a module's own state are the process's: two measurements
side by side would each read what the other does.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOCK = threading.RLock()


def one_at_a_time(function: Callable[P, T]) -> Callable[P, T]:
    """Let a call wait until those of other threads are over."""

    @functools.wraps(function)
    def waiting(*arguments: P.args, **keywords: P.kwargs) -> T:
        with _LOCK:
            return function(*arguments, **keywords)

    return waiting
