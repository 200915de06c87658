"""The phase diagram of a wide random network: order, chaos, and the edge between them.

References
----------
Poole et al., "Exponential expressivity in deep neural networks through transient chaos" (2016).
Schoenholz et al., "Deep information propagation" (2017).
Hayou et al., "On the impact of the activation function on deep neural networks training" (2019).
Roberts, Yaida & Hanin, "The Principles of Deep Learning Theory" (2022), chapter 5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats
from gradflow.configs.fields import check_variance, non_negative
from gradflow.theories.fixed_points import (
    NOISE,
    find_roots,
    ln,
    ln_fixed_points,
    moments_table,
    signs,
)
from gradflow.theories.quadrature import Moments, moments, scale_free_gain

if TYPE_CHECKING:
    from gradflow.activations import Activation

#: χ within this of 1 (in ln) is critical: the depth scale is above a million layers.
CRITICAL_TOLERANCE = 1e-6


def fixed_point(
    act: Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    *,
    start: float | None = None,
) -> float:
    """Return the fixed point q* that the length map reaches from `start`.

    Parameters
    ----------
    act
        The activation φ.
    weight_variance, bias_variance
        σ_w² and σ_b².
    start
        q of the first layer; by default that of inputs of unit variance, σ_w² + σ_b².

    Returns
    -------
    float
        q*; 0 where signals die out, inf where they grow without bound. For scale-free
        activations at criticality every q is fixed: `start` itself.

    Raises
    ------
    GradflowError
        If a variance is negative, not finite, or neither 0 nor within 1e±90.
    """
    check_variance("weight_variance", weight_variance)
    check_variance("bias_variance", bias_variance)
    q = weight_variance + bias_variance if start is None else start
    non_negative("start", q)
    weight, bias = np.array([weight_variance]), np.array([bias_variance])
    return float(np.exp(ln_fixed_points(act, weight, bias, ln(q)))[0])


def chi_fixed_point(
    act: Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    *,
    start: float | None = None,
) -> float:
    """Return χ = σ_w² E[φ′(√q* z)²]; its limit where q* is 0 or infinite.

    Parameters and errors are those of `fixed_point`.
    """
    q = fixed_point(act, weight_variance, bias_variance, start=start)
    return weight_variance * float(moments(act, ln(q)).slope[0])


def depth_scale(chi: float) -> float:
    """Return ξ_∇ = 1/|ln χ|, the number of layers over which E[δ²] changes by a factor e.

    This is the gradient's depth scale (Schoenholz et al. 2017, section 4), not that of the
    correlation between two inputs, which is the same in the ordered phase alone.
    Infinite at criticality, 0 where χ is 0 or infinite.
    """
    if regime(chi) == "critical":
        return math.inf
    return 1 / abs(math.log(chi)) if chi else 0.0


def regime(chi: float) -> str:
    """Return ``"ordered"`` (χ < 1), ``"critical"`` (|ln χ| ≤ 1e-6) or ``"chaotic"`` (χ > 1)."""
    if chi and abs(math.log(chi)) <= CRITICAL_TOLERANCE:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def critical_weight_variance(act: Activation, bias_variance: float = 0.0) -> float | None:
    """Return the σ_w² at which the length map has a stable fixed point with χ = 1.

    Such a network neither shrinks nor grows its gradients once q has settled.

    - Scale-free activations (ReLU, Leaky ReLU, identity): χ is the same at every q, so the
      answer is 1/E[φ′²] whatever σ_b² is.
    - φ(0) = 0 and σ_b² = 0 (tanh, ELU, SELU, softsign, hardtanh, ReLU6): q* = 0, approached as a
      power of the depth, provided that 0 is stable.
    - Sigmoid: the fixed point lies far in saturation (q* = 45.6), where few units pass on nearly
      all of the gradient.

    Returns
    -------
    float or None
        The smallest where there are several. None where there is none: for GELU, SiLU and Mish
        below a certain σ_b² (0 included) such a fixed point is unstable, the length map drives
        q away from it; for softplus it lies at infinity.

    Raises
    ------
    GradflowError
        If `bias_variance` is refused (see `fixed_point`).
    """
    check_variance("bias_variance", bias_variance)
    variance = float(critical_curve(act, [bias_variance])[0])
    return None if math.isnan(variance) else variance


def critical_gain(act: Activation, bias_variance: float = 0.0) -> float | None:
    """Return σ_w = √`critical_weight_variance`, or None where there is none."""
    variance = critical_weight_variance(act, bias_variance)
    return None if variance is None else math.sqrt(variance)


def critical_curve(act: Activation, bias_variances: npt.ArrayLike) -> Floats:
    """Return `critical_weight_variance` at every σ_b² (one-dimensional), NaN for None."""
    bias = np.asarray(bias_variances, dtype=np.float64)
    constant = scale_free_gain(act)
    if constant is not None:
        return np.full_like(bias, 1 / constant if constant else np.nan)
    grid, table = moments_table(act)
    curve = _curve_at_finite_q(act, bias, grid, table)
    at_zero = _critical_at_zero(act, table)
    return curve if at_zero is None else np.where(bias == 0, at_zero, curve)


def edge_of_chaos(act: Activation, q: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the curve (σ_b², σ_w²) on which χ = 1, with its fixed point q as the parameter.

    σ_w² = 1/E[φ′²] and σ_b² = q − E[φ²]/E[φ′²] (Hayou et al. 2019, section 2).

    Parameters
    ----------
    act
        The activation φ.
    q
        Fixed points, above 0.

    Returns
    -------
    bias_variance, weight_variance
        NaN where no σ_b² ≥ 0 makes q a fixed point, or only an unstable one. For scale-free
        activations χ does not depend on q: σ_w² is one number, and σ_b² is `q` itself.
    """
    q = np.atleast_1d(np.asarray(q, dtype=np.float64))
    constant = scale_free_gain(act)
    if constant is not None:
        return q.copy(), np.full_like(q, 1 / constant if constant else np.nan)
    edge = _edge(moments(act, np.log(q)))
    valid = edge.stable & (edge.bias_share >= 0)
    bias, weight = (
        np.where(valid, curve, np.nan) for curve in (q * edge.bias_share, edge.weight_variance)
    )
    return bias, weight


def phase_grid(
    act: Activation,
    weight_variances: npt.ArrayLike,
    bias_variances: npt.ArrayLike,
    input_variance: float = 1.0,
) -> Floats:
    """Return χ at the fixed point that inputs of a variance reach, for every σ_w² and σ_b².

    Returns
    -------
    ndarray
        (len(bias_variances), len(weight_variances)): rows are σ_b², columns σ_w².
    """
    axes = (np.asarray(a, dtype=np.float64) for a in (weight_variances, bias_variances))
    weight, bias = np.meshgrid(*axes)
    start = ln(weight * input_variance + bias)
    ln_q = ln_fixed_points(act, weight.ravel(), bias.ravel(), start.ravel())
    settled, which = np.unique(ln_q, return_inverse=True)
    return weight * moments(act, settled).slope[which].reshape(weight.shape)


class _Edge(NamedTuple):
    """What χ = 1 at a fixed point asks of σ_w² and σ_b²/q, and whether that point is stable."""

    weight_variance: Floats
    bias_share: Floats
    stable: npt.NDArray[np.bool_]


def _edge(at: Moments) -> _Edge:
    weight = 1 / at.slope
    share = 1 - at.gain * weight
    stable = _parallel(at) <= 1 + CRITICAL_TOLERANCE
    return _Edge(weight, np.where(np.abs(share) <= NOISE, 0.0, share), stable)


def _excess(at: Moments, bias_variance: Floats, ln_q: Floats) -> Floats:
    """Return (q − E[φ²]/E[φ′²] − σ_b²)/q, which is 0 on the edge of chaos."""
    excess: Floats = 1 - at.gain / at.slope - bias_variance * np.exp(-ln_q)
    return excess


def _curve_at_finite_q(act: Activation, bias: Floats, grid: Floats, table: Moments) -> Floats:
    """Return the smallest σ_w² per σ_b² whose stable fixed point is critical and above 0."""
    curve = np.full(bias.size, np.nan)
    excess = _excess(table, bias[:, None], grid)
    sign = np.where(np.abs(excess) > NOISE, np.sign(excess), 0)
    row, node = np.nonzero(sign[:, 1:] * sign[:, :-1] < 0)
    if not row.size:
        return curve
    roots = find_roots(
        lambda ln_q, i: _excess(moments(act, ln_q), bias[row[i]], ln_q), grid[node], grid[node + 1]
    )
    edge = _edge(moments(act, roots))
    np.fmin.at(curve, row[edge.stable], edge.weight_variance[edge.stable])
    return curve


def _critical_at_zero(act: Activation, table: Moments) -> float | None:
    """Return the σ_w² that makes q* = 0 critical; None where 0 is no stable fixed point."""
    slopes = act.derivative(np.array([-1.0, 1.0]) * 1e-50)
    if float(act(np.zeros(1))[0]) != 0 or not slopes.any():
        return None
    weight = 1 / float(np.mean(slopes**2))
    moves = signs(np.log(weight * table.gain))
    return weight if moves[0] < 0 else None


def critical_point(act: Activation) -> tuple[float, float] | None:
    """Return (σ_b², σ_w²) that make a stable fixed point critical, with the smallest σ_b².

    For most activations σ_b² is 0. GELU, SiLU and Mish have such a point from a certain σ_b² on:
    0.1729 and 0.5551 with σ_w² = 1.983 and 1.988 for the first two (Roberts, Yaida & Hanin 2022,
    section 5.3.4, where the fixed point is half-stable).

    Returns
    -------
    tuple of float or None
        None where there is none (softplus).
    """
    at_zero = critical_weight_variance(act)
    if at_zero is not None:
        return 0.0, at_zero
    grid, table = moments_table(act)
    excess = _parallel(table) - 1
    turn = np.where(np.abs(excess) > CRITICAL_TOLERANCE, np.sign(excess), 0)
    (node,) = np.nonzero(turn[1:] * turn[:-1] < 0)
    if not node.size:
        return None
    ln_q = find_roots(lambda ln_q, _: _parallel(moments(act, ln_q)) - 1, grid[node], grid[node + 1])
    edge = _edge(moments(act, ln_q))
    bias = np.where(edge.bias_share >= 0, np.exp(ln_q) * edge.bias_share, np.inf)
    best = int(bias.argmin())
    return (float(bias[best]), float(edge.weight_variance[best])) if bias[best] < np.inf else None


def _parallel(at: Moments) -> Floats:
    """d q_{l+1}/d q_l on the edge of chaos, where σ_w² = 1/E[φ′²]: above 1 q is driven away."""
    steepness: Floats = at.gain * at.gain_power / at.slope
    return steepness
