"""gradflow inside the tools that people train with: each a thin layer over `gradflow.watch`.

Importing this package imports none of them; each is an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import loader

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

__getattr__ = loader(__name__, {name: f"{__name__}.{home}" for name, home in _HOME.items()})
