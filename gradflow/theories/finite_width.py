"""How far networks of finite width scatter about the prediction: the theory to order 1/width.

Forward, E[φ²] becomes a mean over n units; its fluctuation goes through the length map, which may
amplify it. Backward, given the forward pass, Wᵀδ splits into its part along the activations a,

    Wᵀδ = a (y·δ)/‖a‖² + (the rest, independent of the forward pass),   y = W a,

so how much of the gradient lies along y, ρ = y·δ/(‖y‖‖δ‖/√n), is followed as well. ρ² is 1 on
average where δ is independent of y. Where the length map amplifies, ρ² grows as well, and with it
the gradient: GELU without biases needs widths of thousands to do as in the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradflow.arrays import Floats
from gradflow.configs.fields import at_least, non_negative
from gradflow.theories.fixed_points import ln, moments_table
from gradflow.theories.propagation import checked_layers
from gradflow.theories.quadrature import LN_LIMIT, noise

if TYPE_CHECKING:
    from gradflow.activations import Activation


def predict_ensemble(
    act: Activation,
    weight_variances: Sequence[float],
    bias_variances: Sequence[float],
    q1: float,
    widths: Sequence[int],
    *,
    samples: int = 500,
    seed: int = 0,
) -> Floats:
    """Draw `gradient_log10` of networks of finite width, for one input each.

    Percentiles over the samples are the band about `predict`. Leading order in 1/width, for
    widths of some dozens and more; for ReLU it gives E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^depth.

    Parameters
    ----------
    act, weight_variances, bias_variances, q1
        As for `predict`.
    widths
        Units of each layer.
    samples, seed
        Networks to draw, and the seed that makes them the same each time. Memory: 24 bytes per
        sample and layer.

    Returns
    -------
    ndarray
        (samples, layers), log₁₀ of δ's root mean square relative to the last layer's.

    Raises
    ------
    GradflowError
        As `predict`, and if `samples` or `seed` is out of range.
    """
    weight, bias, units = checked_layers(weight_variances, bias_variances, widths)
    non_negative("q1", q1)
    at_least(1)("samples", samples)
    at_least(0)("seed", seed)
    ln_weight, ln_bias = ln(weight), ln(bias)
    rng = np.random.default_rng(seed)
    table = _table(act)
    normal = rng.standard_normal((units.size, samples))
    ln_q, share = _forward(table, ln_weight, ln_bias, units, normal, ln(q1)[0])
    alignment = rng.standard_normal(samples)
    ln_delta = np.zeros_like(normal)
    for layer in range(units.size - 2, -1, -1):
        at = _interpolate(table, ln_q[layer])
        backward = _backward_factor(at, units[layer], normal[layer], rng)
        radial = (1 + at.covariance) * (alignment**2 - 1) / units[layer]
        ratio = np.maximum(backward + radial, backward / 10)
        ln_chi = ln_weight[layer + 1] + at.ln_slope + math.log(units[layer + 1] / units[layer])
        ln_delta[layer] = ln_delta[layer + 1] + ln_chi + np.log(ratio)
        forward = np.exp(_ln_forward_factor(at, units[layer], normal[layer]))
        kept, added = _alignment_step(at, share[layer])
        alignment = kept * np.sqrt(forward) * alignment + added * rng.standard_normal(samples)
        alignment /= np.sqrt(ratio)
    log10_rms: Floats = ln_delta.T / (2 * math.log(10))
    return log10_rms


class _At(NamedTuple):
    """Moments, their logarithmic derivatives, and noise times the number of units, at some q."""

    ln_gain: Floats
    ln_slope: Floats
    gain_power: Floats
    slope_power: Floats
    length: Floats
    slope: Floats
    covariance: Floats


def _table(act: Activation) -> tuple[Floats, Floats]:
    """Return a grid of ln q and the fields of `_At` on it."""
    grid, at = moments_table(act)
    powers = (at.gain_power, at.slope_power)
    return grid, np.stack([np.log(at.gain), np.log(at.slope), *powers, *noise(act, grid)])


def _interpolate(table: tuple[Floats, Floats], ln_q: Floats) -> _At:
    grid, columns = table
    right = np.clip(np.searchsorted(grid, ln_q), 1, grid.size - 1)
    low, high = grid[right - 1], grid[right]
    part = np.clip((ln_q - low) / (high - low), 0, 1)
    return _At(*(columns[:, right - 1] * (1 - part) + columns[:, right] * part))


def _forward(
    table: tuple[Floats, Floats],
    ln_weight: Floats,
    ln_bias: Floats,
    units: Floats,
    normal: Floats,
    ln_q1: float,
) -> tuple[Floats, Floats]:
    """Return ln q, and the share of q that is not the biases', of every layer and sample."""
    ln_q, share = np.empty_like(normal), np.ones_like(normal)
    ln_q[0] = max(ln_q1, -LN_LIMIT)
    for layer in range(units.size - 1):
        above = layer + 1
        at = _interpolate(table, ln_q[layer])
        factor = _ln_forward_factor(at, units[layer], normal[layer])
        signal = ln_weight[above] + at.ln_gain + ln_q[layer] + factor
        ln_q[above] = np.logaddexp(signal, ln_bias[above])
        share[above] = np.exp(signal - np.maximum(ln_q[above], -1e300))
    return ln_q, share


def _ln_forward_factor(at: _At, units: float, normal: Floats) -> Floats:
    """Return ln of the mean of φ² over the units, beside E[φ²]: log-normal, of mean 1."""
    variance = np.log1p(np.maximum(at.length, 0) / units)
    factor: Floats = np.sqrt(variance) * normal - variance / 2
    return factor


def _backward_factor(at: _At, units: float, normal: Floats, rng: np.random.Generator) -> Floats:
    """Draw the mean of φ′²g² over the units, beside E[φ′²], given the `normal` behind φ²'s."""
    variance = np.log1p(at.slope / units)
    scale = np.sqrt(np.log1p(np.maximum(at.length, 0) / units) * variance)
    common = np.divide(at.covariance / units, scale, where=scale > 0, out=np.zeros_like(scale))
    common = np.clip(common, -1, 1)
    own = np.sqrt(1 - common**2) * rng.standard_normal(normal.size)
    factor: Floats = np.exp(np.sqrt(variance) * (common * normal + own) - variance / 2)
    return factor


def _alignment_step(at: _At, share: Floats) -> tuple[Floats, Floats]:
    """Return how much of ρ one layer back keeps, and the standard deviation of what it adds.

    y·δ = e (y·δ of the layer above) + noise, e = E[xφφ′]/E[φ²], and by integration by parts
    E[x²φ′²]/q = E[φ′²](1 + 2 d ln E[φ′²]/d ln q); both in units of √χ.
    """
    relative = np.exp(at.ln_gain - at.ln_slope)
    kept = at.gain_power * np.sqrt(share * relative)
    added = 1 + 2 * share * at.slope_power - kept**2
    return kept, np.sqrt(np.maximum(added, 0))
