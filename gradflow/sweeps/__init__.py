"""`sweep`: gradients over a grid of networks, those of one shape measured together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.sweeps.run import sweep

__all__ = ["sweep"]

__getattr__ = of_run(__name__, __all__)
