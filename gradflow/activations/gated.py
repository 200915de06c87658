"""Activations of the form x·g(x): SiLU, the GELUs and Mish.

Where g(−x) = 1 − g(x), also f′(−x) = 1 − f′(x): the derivative is then computed on the negative
side only, in a form with one subtraction, 1 − |x|·…, that keeps its digits. Every function takes
a float64 array without NaN, and gives the limits at ±inf.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradflow.activations.smooth import sigmoid
from gradflow.arrays import Floats

QUICK_GELU_SLOPE = 1.702

# GELU's tanh form: 2u = 2√(2/π)(x + 0.044715x³); each coefficient is rounded once
GELU_EXPONENT = _LINEAR, _CUBIC = (
    1.5957691216057307117597842397375,
    0.071354816272600248776338752280,
)
_SQRT_HALF = 0.70710678118654752440084436210485
_DENSITY_AT_0 = 0.39894228040143267793994605993438  # φ(0) = 1/√(2π)

_BEYOND_EXP = 800.0  # e⁻⁸⁰⁰ is 0 in float64
_BEYOND_GAUSS = 40.0  # e^(−40²/2) is 0 in float64


class Root(NamedTuple):
    """A zero of f′, as a sum of two doubles, and the Taylor coefficients of f′ about it."""

    high: float
    low: float
    coefficients: tuple[float, ...]


_ROOT_RADIUS = 1 / 128  # the first term left out is below 1e-16 of the sum
GELU_ROOT = Root(
    -0.7524614220710163,
    3.635560509207687e-17,
    (
        0.4304000910248585,
        0.38751844613578895,
        -0.01578285352184803,
        -0.11394448308095899,
        -0.01661932834305256,
        0.019682309459833118,
        0.005261059254921912,
    ),
)
GELU_ERF_ROOT = Root(
    -0.7517915246935645,
    1.4956759177009883e-17,
    (
        0.4314939923140469,
        0.388284982990552,
        -0.018199676398671087,
        -0.1140082332972217,
        -0.014771522148244337,
        0.019421679838189067,
        0.004539228379125415,
    ),
)


def silu(x: Floats) -> Floats:
    """Return x·σ(x)."""
    return _gated(x, sigmoid(x))


def silu_derivative(x: Floats) -> Floats:
    """Return σ(x)(1 + x(1 − σ(x)))."""
    a = np.minimum(np.abs(x), _BEYOND_EXP)
    s = np.exp(-a)
    return _mirrored(x, s * (1 - a + s) / np.square(1 + s))


def quick_gelu(x: Floats) -> Floats:
    """Return x·σ(1.702x) (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2)."""
    return _gated(x, sigmoid(QUICK_GELU_SLOPE * np.clip(x, -_BEYOND_EXP, _BEYOND_EXP)))


def quick_gelu_derivative(x: Floats) -> Floats:
    """Return SiLU's derivative at 1.702x."""
    return silu_derivative(QUICK_GELU_SLOPE * np.clip(x, -_BEYOND_EXP, _BEYOND_EXP))


def gelu(x: Floats) -> Floats:
    """Return ½x(1 + tanh u) = x·σ(2u), u = √(2/π)(x + 0.044715x³) (arXiv:1606.08415, section 2)."""
    a = np.clip(x, -_BEYOND_GAUSS, _BEYOND_GAUSS)
    return _gated(x, sigmoid(a * (_LINEAR + _CUBIC * a * a)))


def gelu_derivative(x: Floats) -> Floats:
    """Return σ(2u)(1 + x·2u′·(1 − σ(2u)))."""
    a = np.minimum(np.abs(x), _BEYOND_GAUSS)
    s = np.exp(-a * (_LINEAR + _CUBIC * a * a))
    growth = a * (_LINEAR + 3 * _CUBIC * a * a)  # x·2u′
    slope = _mirrored(x, s * (1 - growth + s) / np.square(1 + s))
    return _near_root(x, slope, GELU_ROOT)


def gelu_erf(x: Floats) -> Floats:
    """Return x·Φ(x), Φ the standard normal distribution function (arXiv:1606.08415, section 2)."""
    tail = _scaled_tail(x) * _bell(x)
    return _gated(x, np.where(x > 0, 1 - tail, tail))


def gelu_erf_derivative(x: Floats) -> Floats:
    """Return Φ(x) + x·φ(x)."""
    a = np.minimum(np.abs(x), _BEYOND_GAUSS)
    slope = _mirrored(x, _bell(x) * (_scaled_tail(x) - _DENSITY_AT_0 * a))
    return _near_root(x, slope, GELU_ERF_ROOT)


def mish(x: Floats) -> Floats:
    """Return x·tanh(ln(1 + eˣ)) (Misra 2019, arXiv:1908.08681)."""
    s = np.exp(-np.abs(x))
    above = (1 + 2 * s) / (1 + 2 * s * (1 + s))  # the tanh, with s = e⁻ˣ
    below = s * (2 + s) / (2 + s * (2 + s))  # the tanh, with s = eˣ
    return _gated(x, np.where(x > 0, above, below))


def mish_derivative(x: Floats) -> Floats:
    """Return eˣω/δ², ω = 4(x + 1) + 4e²ˣ + e³ˣ + eˣ(4x + 6), δ = 2eˣ + e²ˣ + 2."""
    a = np.clip(x, -_BEYOND_EXP, _BEYOND_EXP)
    s = np.exp(-np.abs(a))
    # on the right, numerator and denominator are both divided by e⁴ˣ
    above: Floats = (1 + s * (4 + s * (4 * a + 6 + 4 * s * (a + 1)))) / np.square(
        1 + 2 * s * (1 + s)
    )
    below = s * (4 * (a + 1) + s * (4 * a + 6 + s * (4 + s))) / np.square(2 + s * (2 + s))
    return np.where(x > 0, above, below)


def _gated(x: Floats, gate: Floats) -> Floats:
    """Return x·gate(x), for a gate that is 0 long before x = −1000: no −inf·0."""
    return np.asarray(np.maximum(x, -1000.0) * gate)


def _mirrored(x: Floats, at_minus_abs: Floats) -> Floats:
    """Return f′(x) from f′(−|x|)."""
    return np.where(x > 0, 1 - at_minus_abs, at_minus_abs)


def _near_root(x: Floats, slope: Floats, root: Root) -> Floats:
    """Return the slope with its Taylor series put in about the root, where the slope cancels."""
    distance = (np.clip(x, -_BEYOND_GAUSS, _BEYOND_GAUSS) - root.high) - root.low
    series = np.polynomial.polynomial.polyval(distance, (0.0, *root.coefficients))
    return np.where(np.abs(distance) < _ROOT_RADIUS, series, slope)


def _bell(x: Floats) -> Floats:
    """Return e^(−x²/2)."""
    a = np.minimum(np.abs(x), _BEYOND_GAUSS)
    return np.asarray(np.exp(-0.5 * a * a))


def _scaled_tail(x: Floats) -> Floats:
    """Return Φ(−|x|)·e^(x²/2), which stays of order 1/|x|."""
    from scipy.special import erfcx

    tail: Floats = 0.5 * erfcx(_SQRT_HALF * np.abs(x))
    return tail
