"""`diagnose`: how gradients flow through a network at one set of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.diagnosis.run import diagnose, diagnose_file

__all__ = ["diagnose", "diagnose_file"]

__getattr__ = of_run(__name__, __all__)
