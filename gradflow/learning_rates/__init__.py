"""`lr`: a learning rate for a network and its optimizer, by a range test on copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.learning_rates.run import learning_rate, learning_rate_of_file

__all__ = ["learning_rate", "learning_rate_of_file"]

__getattr__ = of_run(__name__, __all__)
