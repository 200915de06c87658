"""A signal and its gradient through wide 3 × 3 convolutions, position by position.

Channels are independent Gaussians at infinite width, with a variance q(r) at every position r (Xiao
et al. 2018). The nine weights of a kernel are independent, so that mean squares add up over a
position's neighbours, and what lies beyond the border adds nothing:

    q_{l+1}(r) = 9 C Var(w) · mean over the neighbours r′ of E[φ(√q_l(r′) z)²] + σ_b²

and δ's mean squares in the same way, backwards. The mean over all positions, which the output layer
sees, has a variance in which neighbours' signals are correlated; that needs their covariance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradflow.arrays import Floats, Integers
from gradflow.theories.fixed_points import moments_table
from gradflow.theories.quadrature import LN_LIMIT, hermite_table

if TYPE_CHECKING:
    from gradflow.activations import Activation

#: Examples for which the covariance of positions is followed.
_EXAMPLES = 3


class Layer(NamedTuple):
    """A convolution: the variance of its weights and biases, its inputs and outputs, its stride."""

    weight: float
    bias: float
    inputs: int
    outputs: int
    stride: int = 1


def position_deltas(
    act: Activation,
    layers: Sequence[Layer],
    output: tuple[float, float, int],
    images: Floats,
    output_delta: Callable[[float], float],
) -> Floats:
    """Return the mean square of δ of every convolution, and of the output layer.

    Parameters
    ----------
    output
        Of the output layer behind the mean over positions: the variance of its weights and its
        biases, and its units.
    images
        (examples, channels, height, width).
    output_delta
        Variance of the logits -> rms of δ there.
    """
    lengths = _lengths(act, layers, images)
    weight, bias, classes = output
    channels, positions = layers[-1].outputs, lengths[-1][0].size
    chosen = _spread(images)
    pooled = [_pooled_variance(act, layers, images[i], [q[i] for q in lengths]) for i in chosen]
    last = [output_delta(channels * weight * p + bias) ** 2 for p in pooled]
    top = float(np.mean(last))
    gradient = np.full_like(lengths[-1], classes * weight * top / positions**2)
    found = [top]
    for layer, q in zip(reversed(layers), reversed(lengths), strict=True):
        delta = gradient * _slope_moment(act, q)
        found.append(float(delta.mean()))
        gradient = layer.outputs * layer.weight * _neighbours(delta)
    return np.array(found[::-1])


def _lengths(act: Activation, layers: Sequence[Layer], images: Floats) -> list[Floats]:
    """Return q of every layer, (examples, height, width)."""
    first = layers[0]
    squares = _neighbours(np.sum(images**2, axis=1))[:, :: first.stride, :: first.stride]
    lengths = [first.weight * squares + first.bias]
    for layer in layers[1:]:
        second = _neighbours(_second_moment(act, lengths[-1]))
        lengths.append(layer.inputs * layer.weight * second + layer.bias)
    return lengths


def _pooled_variance(
    act: Activation, layers: Sequence[Layer], image: Floats, lengths: Sequence[Floats]
) -> float:
    """Return the mean square of a channel's mean over all positions, behind the last activation."""
    first = layers[0]
    pairs = _neighbour_pairs(np.einsum("cij,ckl->ijkl", image, image))
    step = slice(None, None, first.stride)
    covariance = first.weight * pairs[step, step, step, step] + first.bias
    for layer, q in zip(layers[1:], lengths, strict=False):
        behind = _paired(act, covariance, q)
        covariance = layer.inputs * layer.weight * _neighbour_pairs(behind) + layer.bias
    mean = float(_paired(act, covariance, lengths[-1]).mean())
    return max(mean, 0.0)  # rounding, where all of it cancels


def _paired(act: Activation, covariance: Floats, q: Floats) -> Floats:
    """Return E[φ(u) φ(v)] of every two positions, by Hermite's expansion.

    Σ a_k(q_u) a_k(q_v) c^k; what the terms that are left out have of the variance counts as one
    more term.
    """
    grid, table = hermite_table(act)
    ln_q = _ln(q).ravel()
    coefficients = np.stack([np.interp(ln_q, grid, column) for column in table])
    rest = np.maximum(1 - np.sum(coefficients**2, axis=0), 0)
    scale, size = np.sqrt(np.exp(ln_q)), np.sqrt(_second_moment(act, q).ravel())
    flat = covariance.reshape(ln_q.size, -1)
    correlation = np.clip(flat / np.outer(scale, scale), -1, 1)
    result, power = np.zeros_like(flat), np.ones_like(flat)
    for row in coefficients:
        result += np.outer(row, row) * power
        power = power * correlation
    result += np.outer(np.sqrt(rest), np.sqrt(rest)) * power
    pairs: Floats = (result * np.outer(size, size)).reshape(covariance.shape)
    return pairs


def _second_moment(act: Activation, q: Floats) -> Floats:
    """Return E[φ²]; where nothing but zeros comes in, φ(0)²."""
    grid, at = moments_table(act)
    gain = np.exp(np.interp(_ln(q), grid, np.log(at.gain)))
    return np.where(q > 0, gain * np.exp(_ln(q)), act(np.zeros(1)) ** 2)


def _slope_moment(act: Activation, q: Floats) -> Floats:
    """Return E[φ′²]; where nothing but zeros comes in, φ′(0)², which at a kink is one side's."""
    grid, at = moments_table(act)
    slope = np.exp(np.interp(_ln(q), grid, np.log(at.slope)))
    return np.where(q > 0, slope, act.derivative(np.zeros(1)) ** 2)


def _ln(q: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        ln_q: Floats = np.clip(np.log(q), -LN_LIMIT, LN_LIMIT)
    return ln_q


def _spread(images: Floats) -> Integers:
    """Return examples at quantiles of the batch's mean squares."""
    order = np.argsort(np.mean(images**2, axis=(1, 2, 3)))
    count = min(_EXAMPLES, len(order))
    return np.asarray(order[((np.arange(count) + 0.5) / count * len(order)).astype(np.intp)])


def _neighbours(values: Floats) -> Floats:
    """Return the sum over the 3 × 3 neighbours, zeros beyond the border; the last two axes."""
    height, width = values.shape[-2:]
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    return np.asarray(
        sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    )


def _neighbour_pairs(values: Floats) -> Floats:
    """Return the sum over pairs of neighbours that lie in the same direction."""
    height, width = values.shape[:2]
    padded = np.pad(values, 1)
    rows, columns = ([slice(k, k + n) for k in range(3)] for n in (height, width))
    return np.asarray(sum(padded[r, c, r, c] for r in rows for c in columns))
