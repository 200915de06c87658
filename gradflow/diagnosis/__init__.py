"""`diagnose`: how gradients flow through a network at one set of weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.diagnosis.run import diagnose, diagnose_file

__all__ = ["diagnose", "diagnose_file"]


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the checks beside them need the standard library alone.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
