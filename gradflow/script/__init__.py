"""A user's program, run as it is: every model that an optimizer trains in it is watched."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.script.run import watch_script

__all__ = ["watch_script"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: it needs torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
