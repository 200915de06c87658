"""Activation functions and their exact derivatives: float64, NumPy, one registry.

`smooth`, `piecewise` and `gated` hold the formulas, `catalogue` one entry per activation.
"""

from gradflow.activations.base import SATURATION, Activation
from gradflow.activations.registry import ACTIVATIONS, activation, activations, every

__all__ = ["ACTIVATIONS", "SATURATION", "Activation", "activation", "activations", "every"]
