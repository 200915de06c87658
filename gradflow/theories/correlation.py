"""How far two inputs can be told apart: the correlation of their signals, layer by layer.

Two pre-activations of one unit are Gaussian with variance q* each and correlation c, and

    c_{l+1} = (σ_w² E[φ(u₁) φ(u₂)] + σ_b²) / q*,  u₁ = √q* z₁,  u₂ = √q* (c z₁ + √(1 − c²) z₂)

Near its fixed point c* the correlation changes by χ_c = σ_w² E[φ′(u₁) φ′(u₂)] per layer, so that
ξ_c = 1/|ln χ_c| layers are its depth scale (Schoenholz et al. 2017, eqs. 5 to 9). In the ordered
phase c* = 1, and ξ_c is the gradient's; in the chaotic one it is another, and c* < 1.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats
from gradflow.theories.fixed_points import ln, ln_fixed_points
from gradflow.theories.phases import depth_scale, regime
from gradflow.theories.quadrature import moments, scale_free_gain

if TYPE_CHECKING:
    from gradflow.activations import Activation

#: |z| at which the Gaussians are cut off (mass outside: 1e-15), and Gauss–Legendre points a panel.
_REACH, _ORDER = 8.0, 8
#: Panels of each z where the activation is smooth, and where it has kinks, which no panel's end
#: meets for every pair: their error falls with the square of the panels.
_SMOOTH, _KINKED = 16, 64
#: Correlations closer to 1 than this are 1.
_ALIKE = 1e-9


class _Pairs(NamedTuple):
    """Two standard normals on a grid, (points, points), and the weight of every pair."""

    first: Floats
    second: Floats
    weight: Floats


def correlation_depth_scales(
    act: Activation,
    weight_variances: npt.ArrayLike,
    bias_variance: float = 0.0,
    input_variance: float = 1.0,
) -> Floats:
    """Return ξ_c, the number of layers over which two inputs' correlation nears c* by a factor e.

    Networks train to a depth of about 6 ξ_c (Schoenholz et al. 2017, section 5). Where signals
    settle at no length above 0 (scale-free activations; q* of 0 or infinity), what is returned is
    the depth scale of the gradient.

    Parameters
    ----------
    act
        The activation φ.
    weight_variances
        σ_w², one-dimensional, each 0 or within 1e±90.
    bias_variance
        σ_b².
    input_variance
        Mean square of the inputs.

    Returns
    -------
    ndarray
        One per σ_w²; infinite on the edge of chaos. To 1e-6 for smooth activations; to 1e-3 for
        those with kinks.
    """
    weight = np.atleast_1d(np.asarray(weight_variances, dtype=np.float64))
    bias = np.full_like(weight, bias_variance)
    ln_q = ln_fixed_points(act, weight, bias, ln(weight * input_variance + bias))
    chi = weight * moments(act, ln_q).slope
    free = scale_free_gain(act) is not None
    return np.array(
        [_depth_scale(act, *one, free) for one in zip(weight, bias, np.exp(ln_q), chi, strict=True)]
    )


def _depth_scale(
    act: Activation, weight: float, bias: float, q: float, chi: float, free: bool
) -> float:
    if free or regime(chi) != "chaotic" or not 0 < q < math.inf:
        return depth_scale(chi)
    fixed = fixed_correlation(act, weight, bias, q)
    return depth_scale(weight * paired_slopes(act, q, fixed))


def fixed_correlation(
    act: Activation, weight_variance: float, bias_variance: float, q: float
) -> float:
    """Return c*, the correlation to which two inputs come at a fixed point q* above 0.

    The map from c to its next value has no negative terms, so that it is convex on [0, 1]: in the
    chaotic phase, where its slope at 1 is above 1, there is one fixed point below 1.
    """

    def change(c: float) -> float:
        return (weight_variance * paired_values(act, q, c) + bias_variance) / q - c

    at_zero = change(0.0)
    if at_zero <= 0:  # odd activations without a bias
        return 0.0
    from scipy.optimize import brentq  # half a second, which the edge of chaos does without

    high = 1 - _ALIKE
    return float(brentq(change, 0.0, high, xtol=1e-12)) if change(high) < 0 else 1.0


def paired_values(act: Activation, q: float, correlation: float) -> float:
    """Return E[φ(u₁) φ(u₂)] for Gaussians of variance q and this correlation."""
    u1, u2, weight = _pairs(act, q, correlation)
    return float((act(u1) * act(u2) * weight).sum())


def paired_slopes(act: Activation, q: float, correlation: float) -> float:
    """Return E[φ′(u₁) φ′(u₂)] for Gaussians of variance q and this correlation."""
    u1, u2, weight = _pairs(act, q, correlation)
    return float((act.derivative(u1) * act.derivative(u2) * weight).sum())


def _pairs(act: Activation, q: float, correlation: float) -> tuple[Floats, Floats, Floats]:
    grid = _grid(_KINKED if act.kinks else _SMOOTH)
    root = math.sqrt(q)
    apart = math.sqrt(max(1 - correlation**2, 0.0))
    return (
        root * grid.first,
        root * (correlation * grid.first + apart * grid.second),
        grid.weight,
    )


@functools.lru_cache(maxsize=4)
def _grid(panels: int) -> _Pairs:
    """Return the grid of so many Gauss–Legendre panels a side, an even number."""
    node, share = np.polynomial.legendre.leggauss(_ORDER)
    width = 2 * _REACH / panels
    starts = -_REACH + width * np.arange(panels)
    z = (starts[:, None] + width * (node + 1) / 2).ravel()
    density = np.tile(share * width / 2, panels) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    first, second = np.meshgrid(z, z, indexing="ij")
    return _Pairs(first, second, density[:, None] * density)
