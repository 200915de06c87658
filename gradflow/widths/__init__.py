"""`width`: whether training moves every layer as far at every width, and what repairs it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.widths.run import width

__all__ = ["width"]


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the checks beside them need the standard library alone.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
