"""gradflow inside the tools that people train with: each a thin layer over `gradflow.watch`.

Importing this package imports none of them; each is an extra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow.integrations.keras import KerasWatch
    from gradflow.integrations.lightning import LightningWatch
    from gradflow.integrations.transformers import TransformersWatch
    from gradflow.integrations.wandb import log_to_wandb

__all__ = ["KerasWatch", "LightningWatch", "TransformersWatch", "log_to_wandb"]

_HOME = {
    "KerasWatch": "keras",
    "LightningWatch": "lightning",
    "TransformersWatch": "transformers",
    "log_to_wandb": "wandb",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
