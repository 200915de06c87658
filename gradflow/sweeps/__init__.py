"""`sweep`: gradients over a grid of networks, those of one shape measured together."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.sweeps.run import sweep

__all__ = ["sweep"]


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the checks beside them need the standard library alone.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
