"""Activations with a case for x ≤ 0 or with corners: the ReLU, ELU and hard families.

Every function takes a float64 array without NaN, and gives the limits at ±inf. A derivative at
a kink is that of the left branch (x ≤ kink).
"""

from __future__ import annotations

import numpy as np

from gradflow.arrays import Floats

# Klambauer et al. (2017), arXiv:1706.02515, equation 14
SELU_SCALE = 1.0507009873554804934193349852946  # λ
SELU_SCALE_ALPHA = 1.7580993408473768599402175208123  # λα, rounded once


def identity(x: Floats) -> Floats:
    """Return x."""
    return x


def identity_derivative(x: Floats) -> Floats:
    """Return 1."""
    return np.ones_like(x)


def relu(x: Floats) -> Floats:
    """Return max(0, x)."""
    return np.where(x > 0, x, 0.0)


def relu_derivative(x: Floats) -> Floats:
    """Return 1 for x > 0, else 0."""
    return np.where(x > 0, 1.0, 0.0)


def leaky_relu(x: Floats, alpha: float) -> Floats:
    """Return x for x > 0, else αx."""
    with np.errstate(over="ignore"):  # beyond the doubles for |α| > 1
        return np.where(x > 0, x, alpha * _negative_part(x) if alpha else 0.0)


def leaky_relu_derivative(x: Floats, alpha: float) -> Floats:
    """Return 1 for x > 0, else α."""
    return np.where(x > 0, 1.0, alpha)


def elu(x: Floats, alpha: float) -> Floats:
    """Return x for x > 0, else α(eˣ − 1)."""
    return np.where(x > 0, x, alpha * np.expm1(_negative_part(x)))


def elu_derivative(x: Floats, alpha: float) -> Floats:
    """Return 1 for x > 0, else αeˣ."""
    return np.where(x > 0, 1.0, _scaled_exp(alpha, _negative_part(x)))


def selu(x: Floats) -> Floats:
    """Return λx for x > 0, else λα(eˣ − 1)."""
    with np.errstate(over="ignore"):  # λx is beyond the doubles for x > 1.71e308
        return np.where(x > 0, SELU_SCALE * x, SELU_SCALE_ALPHA * np.expm1(_negative_part(x)))


def selu_derivative(x: Floats) -> Floats:
    """Return λ for x > 0, else λαeˣ."""
    return np.where(x > 0, SELU_SCALE, _scaled_exp(SELU_SCALE_ALPHA, _negative_part(x)))


def celu(x: Floats, alpha: float) -> Floats:
    """Return x for x > 0, else α(e^(x/α) − 1)."""
    negative = _negative_part(x)
    t = _quotient(negative, alpha)
    # α(eᵗ − 1) is x to the last digit for tiny t, and t itself may be subnormal there
    return np.where(x > 0, x, np.where(t > -1e-17, negative, alpha * np.expm1(t)))


def celu_derivative(x: Floats, alpha: float) -> Floats:
    """Return 1 for x > 0, else e^(x/α)."""
    return np.asarray(np.exp(_quotient(_negative_part(x), alpha)))


def relu6(x: Floats) -> Floats:
    """Return min(max(0, x), 6)."""
    return np.asarray(np.minimum(relu(x), 6.0))


def relu6_derivative(x: Floats) -> Floats:
    """Return 1 for 0 < x ≤ 6, else 0."""
    return np.where((x > 0) & (x <= 6), 1.0, 0.0)


def hardtanh(x: Floats) -> Floats:
    """Return max(−1, min(1, x))."""
    return np.clip(x, -1.0, 1.0)


def hardtanh_derivative(x: Floats) -> Floats:
    """Return 1 for −1 < x ≤ 1, else 0."""
    return np.where((x > -1) & (x <= 1), 1.0, 0.0)


def hardsigmoid(x: Floats) -> Floats:
    """Return min(max(0, x + 3), 6) / 6."""
    return np.clip(x + 3, 0.0, 6.0) / 6


def hardsigmoid_derivative(x: Floats) -> Floats:
    """Return 1/6 for −3 < x ≤ 3, else 0."""
    return np.where((x > -3) & (x <= 3), 1 / 6, 0.0)


def hardswish(x: Floats) -> Floats:
    """Return x·min(max(0, x + 3), 6) / 6."""
    return np.maximum(x, -3.0) * hardsigmoid(x)


def hardswish_derivative(x: Floats) -> Floats:
    """Return 0 for x ≤ −3, (2x + 3)/6 for −3 < x ≤ 3, else 1."""
    ramp = (2 * np.clip(x, -3.0, 3.0) + 3) / 6
    return np.where(x <= -3, 0.0, np.where(x <= 3, ramp, 1.0))


def _negative_part(x: Floats) -> Floats:
    return np.where(x > 0, 0.0, x)  # np.minimum would leave the sign of min(−0, 0) open


def _quotient(x: Floats, alpha: float) -> Floats:
    with np.errstate(over="ignore"):  # −inf is what a tiny α means
        return x / alpha


def _scaled_exp(scale: float, x: Floats) -> Floats:
    """Return scale·eˣ for x ≤ 0; in two halves where a large scale would magnify a subnormal eˣ."""
    half = np.exp(x / 2)
    return np.where(x > -700, scale * np.exp(x), scale * half * half)
