"""`lr`: a learning rate for a network and its optimizer, by a range test on copies."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.learning_rates.run import learning_rate, learning_rate_of_file

__all__ = ["learning_rate", "learning_rate_of_file"]


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the checks beside them need the standard library alone.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
