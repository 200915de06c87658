"""`width`: whether training moves every layer as far at every width, and what repairs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.widths.run import width

__all__ = ["width"]

__getattr__ = of_run(__name__, __all__)
