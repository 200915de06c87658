"""A signal and its gradient through a wide random network, layer by layer, in logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradflow.arrays import Floats
from gradflow.configs.fields import at_least, check_variance, non_negative
from gradflow.errors import GradflowError
from gradflow.theories.fixed_points import ln
from gradflow.theories.quadrature import ln_second_moment, ln_slope_moment, moments

if TYPE_CHECKING:
    from gradflow.activations import Activation


class Prediction(NamedTuple):
    """What theory says of each layer; arrays over the layers, float64.

    Attributes
    ----------
    q
        Variance of the pre-activations (inf or 0 only beyond the range of doubles).
    chi
        χ_l, with the σ_w² of layer l + 1; the last layer's as if one more like it followed.
    gradient_log10
        log₁₀ of δ's root mean square relative to the last layer's, where it is 0.
    amplification
        d ln q_{l+1} / d ln q_l: above 1, the length map amplifies whatever fluctuates.
    """

    q: Floats
    chi: Floats
    gradient_log10: Floats
    amplification: Floats


def predict(
    act: Activation,
    weight_variances: Sequence[float],
    bias_variances: Sequence[float],
    q1: float,
    widths: Sequence[int] | None = None,
) -> Prediction:
    """Predict a fully connected chain layer by layer, in logarithms: no depth under- or overflows.

    From E[δ_l²] = n_{l+1} Var(w_{l+1}) E[φ′²] E[δ_{l+1}²] and Var(w) = σ_w²/n_l follows
    E[δ_l²] = (n_{l+1}/n_l) χ_l E[δ_{l+1}²].

    Parameters
    ----------
    act
        The activation φ after every layer but the last.
    weight_variances, bias_variances
        σ_w² (variance of a weight times its fan-in) and σ_b² of each layer, the first included,
        though its effect is in `q1`.
    q1
        Mean square of the first layer's pre-activations.
    widths
        Units of each layer, where they differ.

    Raises
    ------
    GradflowError
        If the lengths differ, there is no layer, or a number is out of range.
    """
    weight, bias, units = checked_layers(weight_variances, bias_variances, widths)
    non_negative("q1", q1)
    ln_weight, ln_bias = (ln(np.append(v[1:], v[-1])) for v in (weight, bias))
    ln_q, ln_second = _lengths(act, ln_weight, ln_bias, q1)
    ln_chi = ln_weight + ln_slope_moment(act, ln_q)
    steps = (ln_chi[:-1] + np.diff(np.log(units))) / (2 * math.log(10))
    signal = ln_weight + ln_second
    total = np.logaddexp(signal, ln_bias)
    share = np.exp(signal - np.where(np.isneginf(total), 0.0, total))
    amplification = share * moments(act, ln_q).gain_power
    with np.errstate(over="ignore"):
        q, chi = np.exp(ln_q), np.exp(ln_chi)
    back = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return Prediction(q, chi, back, amplification)


def gradient_ratios(
    act: Activation,
    weight_variances: Floats,
    bias_variances: Floats,
    q1: Floats,
    depth: int,
) -> Floats:
    """Return log₁₀ of δ's rms at the first layer over that at every layer, for many networks.

    All layers of a network are alike, so that a deeper one begins as a shallower one does.

    Parameters
    ----------
    weight_variances, bias_variances, q1
        Of each network, (networks,): σ_w² and σ_b² of its layers, and the mean square of the first
        layer's pre-activations.

    Returns
    -------
    ndarray
        (depth, networks), 0 in the first row. E[δ_1²]/E[δ_L²] = χ_1 … χ_{L−1}.
    """
    ln_weight, ln_bias, ln_q = ln(weight_variances), ln(bias_variances), ln(q1)
    total = np.zeros((depth, ln_q.size))
    for layer in range(1, depth):
        with np.errstate(invalid="ignore"):  # 0 times infinity has no logarithm
            ln_chi = ln_weight + ln_slope_moment(act, ln_q)
            total[layer] = total[layer - 1] + ln_chi / (2 * math.log(10))
        ln_q = np.logaddexp(ln_weight + ln_second_moment(act, ln_q), ln_bias)
    return total


def checked_layers(
    weight_variances: Sequence[float],
    bias_variances: Sequence[float],
    widths: Sequence[int] | None,
) -> tuple[Floats, Floats, Floats]:
    """Return σ_w², σ_b² and widths of each layer as arrays, widths of 1 where none are given.

    Raises
    ------
    GradflowError
        If the lengths differ, there is no layer, or a number is out of range.
    """
    layers = len(weight_variances)
    units = [1] * layers if widths is None else widths
    if not layers or not layers == len(bias_variances) == len(units):
        raise GradflowError(
            f"every layer needs one σ_w², σ_b² and width, got {layers}, "
            f"{len(bias_variances)} and {len(units)}"
        )
    for variance in (*weight_variances, *bias_variances):
        check_variance("every variance", variance)
    for width in units:
        at_least(1)("every width", width)
    weight, bias, count = (
        np.asarray(v, dtype=np.float64) for v in (weight_variances, bias_variances, units)
    )
    return weight, bias, count


def _lengths(
    act: Activation, ln_weight: Floats, ln_bias: Floats, q1: float
) -> tuple[Floats, Floats]:
    """Return ln q and ln E[φ²] of each layer, from ln σ_w² and ln σ_b² of the next."""
    ln_q = np.full(ln_weight.size, ln(q1)[0])
    ln_second = np.empty_like(ln_q)
    for layer in range(ln_q.size):
        here = slice(layer, layer + 1)
        ln_second[here] = ln_second_moment(act, ln_q[here])
        following = np.logaddexp(ln_weight[here] + ln_second[here], ln_bias[here])
        ln_q[layer + 1 : layer + 2] = following
    return ln_q, ln_second
