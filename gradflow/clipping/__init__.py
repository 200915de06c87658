"""`clip`: clipping policies on one gradient, and in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.clipping.run import clip

__all__ = ["clip"]

__getattr__ = of_run(__name__, __all__)
