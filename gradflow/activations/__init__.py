"""Activation functions and their exact derivatives: float64, NumPy, one registry.

`smooth`, `piecewise` and `gated` hold the formulas, `entries` one entry per activation.
"""

from gradflow.activations.base import SATURATION, Activation, Array, Formula
from gradflow.activations.registry import ACTIVATIONS, activation

__all__ = ["ACTIVATIONS", "SATURATION", "Activation", "Array", "Formula", "activation"]
