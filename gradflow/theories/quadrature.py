"""Gaussian expectations of an activation, E[g(√q z)] with z ~ N(0, 1), from q = 0 to infinity.

Composite Gauss–Legendre in t with x = √q z = c sinh t and c = min(1, √q): the panels have one
width in t, so they are fine near 0, where activations bend (within |x| of about 1), and grow with
|x| up to the Gaussian's own width √q. They end at the activation's kinks and at 0, so that every
panel sees an analytic integrand; Gauss–Hermite does not converge across a kink.

In t no pole of tanh or of the logistic function is nearer to the real axis than π/2, whatever q is,
so 16 points a panel leave rounding as the only error (below 4e-15, relative).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats

if TYPE_CHECKING:
    from gradflow.activations import Activation


#: ln q is taken no further out than this (q = 1e±100): beyond, every activation is a power.
LN_LIMIT = 100 * math.log(10)
#: |z| at which the Gaussian is cut off: its mass outside is 1.5e-23.
_REACH = 10.0
_ORDER = 16
_PANEL = 1.0
_BLOCK = 32


class Moments(NamedTuple):
    """Second moments of an activation and its slope under x ~ N(0, q), arrays over ln q.

    Attributes
    ----------
    gain
        E[φ(x)²]/q.
    slope
        E[φ′(x)²].
    gain_power
        d ln E[φ(x)²] / d ln q.
    slope_power
        d ln E[φ′(x)²] / d ln q.
    """

    gain: Floats
    slope: Floats
    gain_power: Floats
    slope_power: Floats


class Noise(NamedTuple):
    """Relative (co)variances, times the number of units, of the sums that the moments stand for.

    Attributes
    ----------
    length
        Var[φ²]/E[φ²]².
    slope
        Var[φ′² g²]/E[φ′²]², g a standard normal independent of x (the gradient from above).
    covariance
        Cov[φ², φ′²]/(E[φ²] E[φ′²]).
    """

    length: Floats
    slope: Floats
    covariance: Floats


def moments(act: Activation, ln_q: npt.ArrayLike) -> Moments:
    """Return E[φ²]/q, E[φ′²] and their logarithmic derivatives at every ln q.

    The derivatives need no φ″: d E[g(√q z)]/d ln q = E[g(√q z)(z² − 1)]/2 (integration by parts),
    which holds across kinks.

    Parameters
    ----------
    act
        The activation φ.
    ln_q
        One-dimensional, or a number; clipped to ±`LN_LIMIT`.
    """
    ln_q = np.atleast_1d(np.asarray(ln_q, dtype=np.float64))
    constant = scale_free_gain(act)
    if constant is not None:
        one = np.ones_like(ln_q)
        return Moments(constant * one, constant * one, one, 0 * one)
    far = np.abs(ln_q) >= LN_LIMIT
    parts = zip(*(_moments(act, part) for part in _blocks(np.where(far, 0.0, ln_q))), strict=True)
    near = Moments(*map(np.concatenate, parts))
    if not far.any():
        return near
    above = (ln_q > 0).astype(np.intp)
    pairs = zip(_ends(act), near, strict=True)
    return Moments(*(np.where(far, end[above], value) for end, value in pairs))


def gains(act: Activation, ln_q: npt.ArrayLike) -> Floats:
    """Return E[φ(√q z)²]/q alone, at half the cost of `moments`."""

    def of_block(part: Floats) -> Floats:
        x, _, weights, scale = _nodes(part, act)
        total: Floats = (weights * _square(act(x) / scale)).sum(axis=1)
        return total

    constant = scale_free_gain(act)
    ln_q = np.atleast_1d(np.asarray(ln_q, dtype=np.float64))
    if constant is not None:
        return np.full_like(ln_q, constant)
    return np.concatenate([of_block(part) for part in _blocks(ln_q)])


def ln_second_moment(act: Activation, ln_q: Floats) -> Floats:
    """Return ln E[φ²] at every ln q, −inf to inf; a power of q beyond ±`LN_LIMIT`."""
    inside = np.clip(ln_q, -LN_LIMIT, LN_LIMIT)
    if np.array_equal(inside, ln_q):
        within: Floats = np.log(gains(act, ln_q)) + ln_q
        return within
    at = moments(act, inside)
    return np.log(at.gain) + inside + _beyond(ln_q - inside, np.rint(at.gain_power))


def ln_slope_moment(act: Activation, ln_q: Floats) -> Floats:
    """Return ln E[φ′²] at every ln q, −inf to inf; a power of √q beyond ±`LN_LIMIT`."""
    inside = np.clip(ln_q, -LN_LIMIT, LN_LIMIT)
    at = moments(act, inside)
    return np.log(at.slope) + _beyond(ln_q - inside, np.rint(2 * at.slope_power) / 2)


def noise(act: Activation, ln_q: npt.ArrayLike) -> Noise:
    """Return how strongly sums over finitely many units fluctuate, at every ln q (see `Noise`)."""
    ln_q = np.atleast_1d(np.asarray(ln_q, dtype=np.float64))
    parts = zip(*(_noise(act, part) for part in _blocks(ln_q)), strict=True)
    return Noise(*map(np.concatenate, parts))


#: Hermite coefficients of an activation that a table has, and the nodes it has them at.
_HERMITE, _HERMITE_NODES = 24, 121


@functools.lru_cache(maxsize=16)
def hermite_table(act: Activation) -> tuple[Floats, Floats]:
    """Return a grid of ln q, and E[φ(√q z) he_k(z)]/√E[φ²] on it for every k: (terms, grid).

    he_k are the orthonormal Hermite polynomials: the sum of the squares over all k is 1.
    """
    bend = 6.0
    end = math.asinh(LN_LIMIT / bend)
    grid = bend * np.sinh(np.linspace(-end, end, _HERMITE_NODES))
    parts = [_hermite(act, part) for part in _blocks(grid)]
    return grid, np.concatenate(parts, axis=1)


def _hermite(act: Activation, ln_q: Floats) -> Floats:
    x, z, weights, scale = _nodes(ln_q, act)
    values = act(x) / scale
    values = weights * values / np.sqrt((weights * _square(values)).sum(axis=1, keepdims=True))
    before, here = np.zeros_like(z), np.ones_like(z)
    terms = []
    for k in range(_HERMITE):
        terms.append((values * here).sum(axis=1))
        before, here = here, (z * here - math.sqrt(k) * before) / math.sqrt(k + 1)
    return np.stack(terms)


def first_moment(act: Activation, ln_q: float) -> tuple[float, float]:
    """Return E[φ(√q z)] and its derivative by q."""
    x, z, weights, _ = _nodes(np.array([ln_q]), act)
    value = weights * act(x)
    return float(value.sum()), float((value * (z**2 - 1)).sum()) / (2 * math.exp(ln_q))


@functools.lru_cache(maxsize=64)
def scale_free_gain(act: Activation) -> float | None:
    """Return E[φ²]/q = E[φ′²] where φ(cx) = cφ(x) for c > 0 (ReLU, Leaky ReLU, identity).

    None for every other activation: recognised by φ(x)/x, which must be one number per side.
    """
    x = np.array([[1e-30, 1.0, 1e30], [-1e-30, -1.0, -1e30]])
    ratio = act(x) / x
    if np.ptp(ratio, axis=1).max() > 1e-15 * np.abs(ratio).max():
        return None
    return float(np.mean(ratio[:, 1] ** 2))


def _moments(act: Activation, ln_q: Floats) -> Moments:
    x, z, weights, scale = _nodes(ln_q, act)
    second = weights * _square(act(x) / scale)
    slope = weights * _square(act.derivative(x))
    lever = (z**2 - 1) / 2
    gain, mean_slope = second.sum(axis=1), slope.sum(axis=1)
    return Moments(
        gain,
        mean_slope,
        (second * lever).sum(axis=1) / gain,
        (slope * lever).sum(axis=1) / mean_slope,
    )


@functools.lru_cache(maxsize=64)
def _ends(act: Activation) -> Moments:
    """Return the moments at −`LN_LIMIT` and `LN_LIMIT`, which take thousands of nodes."""
    return _moments(act, np.array([-LN_LIMIT, LN_LIMIT]))


def _noise(act: Activation, ln_q: Floats) -> Noise:
    x, _, weights, scale = _nodes(ln_q, act)
    second, slope = _square(act(x) / scale), _square(act.derivative(x))
    second /= (weights * second).sum(axis=1, keepdims=True)
    slope /= (weights * slope).sum(axis=1, keepdims=True)
    return Noise(
        (weights * second**2).sum(axis=1) - 1,
        3 * (weights * slope**2).sum(axis=1) - 1,
        (weights * second * slope).sum(axis=1) - 1,
    )


def _beyond(distance: Floats, power: Floats) -> Floats:
    """Return power · distance, 0 where the power is 0 and the distance infinite."""
    return np.multiply(power, distance, where=power != 0, out=np.zeros_like(distance))


def _blocks(ln_q: Floats) -> list[Floats]:
    """Split into pieces whose nodes fit the cache."""
    return [ln_q[i : i + _BLOCK] for i in range(0, ln_q.size, _BLOCK)]


def _square(values: Floats) -> Floats:
    return values * values


def _nodes(ln_q: Floats, act: Activation) -> tuple[Floats, Floats, Floats, Floats]:
    """Return x, z = x/√q and weights, all (len(ln_q), nodes), and √q as a column."""
    scale = np.exp(np.clip(ln_q, -LN_LIMIT, LN_LIMIT) / 2)[:, None]
    unit = np.minimum(_width(act), scale)
    end = np.arcsinh(_REACH * scale / unit)
    bends = np.arcsinh(np.array(sorted({0.0, *act.kinks})) / unit)
    edges = np.hstack([-end, np.clip(bends, -end, end), end])
    length = np.diff(edges, axis=1)[:, :, None]
    position, share = _panels(math.ceil(length.max() / _PANEL))
    t = (edges[:, :-1, None] + length * position).reshape(len(scale), -1)
    weights = (length * share).reshape(len(scale), -1)
    x = unit * np.sinh(t)
    z = x / scale
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return x, z, weights * density * np.cosh(t) * (unit / scale), scale


def _width(act: Activation) -> float:
    """Return the smallest |x| over which the activation bends: 1, but CELU's is its α."""
    return min(1.0, max(act.parameters["alpha"], 1e-50)) if act.name == "celu" else 1.0


@functools.lru_cache(maxsize=256)
def _panels(count: int) -> tuple[Floats, Floats]:
    """Return nodes and weights of `count` equal Gauss–Legendre panels on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(_ORDER)
    position = (np.arange(count)[:, None] + (node + 1) / 2) / count
    return position.ravel(), np.tile(weight / (2 * count), count)
