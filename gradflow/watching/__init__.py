"""`watch`: how gradients flow while a model trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.watching.run import watch

__all__ = ["watch"]

__getattr__ = of_run(__name__, __all__)
