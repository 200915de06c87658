"""Where the length map q → σ_w² E[φ(√q z)²] + σ_b² has its fixed points.

The map increases with q for every activation in gradflow, so the iteration moves to one side
only and ends at the first fixed point on that side, or at 0 or infinity. It is found by looking,
not by iterating: near criticality the iteration takes millions of steps, and a rule that stops
it where its step is small would end it early, with a wrong number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats
from gradflow.theories.quadrature import (
    LN_LIMIT,
    Moments,
    gains,
    moments,
    scale_free_gain,
)

if TYPE_CHECKING:
    from gradflow.activations import Activation

#: Changes of ln q per layer, and shares of q, below this are rounding.
NOISE = 1e-13


def ln_fixed_points(act: Activation, weight: Floats, bias: Floats, ln_start: Floats) -> Floats:
    """Return ln q* for every σ_w², σ_b² and ln q of the first layer.

    Parameters
    ----------
    act
        The activation φ.
    weight, bias, ln_start
        One-dimensional and of one length. Variances are 0 or within 1e±90.

    Returns
    -------
    ndarray
        −inf where signals die out, inf where they grow without bound.
    """
    constant = scale_free_gain(act)
    if constant is not None:
        reached = _scale_free(weight * constant, bias, ln_start)
    else:
        weight_or_one = np.where(weight > 0, weight, 1.0)
        reached = _walk(act, weight_or_one, bias, np.clip(ln_start, -LN_LIMIT, LN_LIMIT))
    stays = np.isneginf(ln_start) & (bias == 0) & (float(act(np.zeros(1))[0]) == 0)
    settled: Floats = np.select([weight == 0, stays], [ln(bias), ln_start], reached)
    return settled


def ln(q: npt.ArrayLike) -> Floats:
    """Return the natural logarithm, −inf for 0."""
    with np.errstate(divide="ignore"):
        return np.atleast_1d(np.log(np.asarray(q, dtype=np.float64)))


@functools.lru_cache(maxsize=64)
def moments_table(act: Activation) -> tuple[Floats, Moments]:
    """Return a grid of ln q over ±`LN_LIMIT`, dense where activations bend, and its moments."""
    bend = 6.0
    end = math.asinh(LN_LIMIT / bend)
    grid = bend * np.sinh(np.linspace(-end, end, 301))
    return grid, moments(act, grid)


def signs(change: Floats) -> Floats:
    """Return the signs along ln q, where rounding at either end takes its neighbour's.

    Towards 0 and infinity every activation becomes a power, so a change that sinks into
    rounding there keeps its sign all the way (tanh at σ_w² = 1: −2q).
    """
    sign = np.where(np.abs(change) > NOISE, np.sign(change), 0.0)
    some = np.flatnonzero(sign)
    if some.size:
        sign[: some[0]], sign[some[-1] :] = sign[some[0]], sign[some[-1]]
    return sign


def find_roots(
    function: Callable[[Floats, npt.NDArray[np.intp]], Floats],
    low: Floats,
    high: Floats,
) -> Floats:
    """Return a root in every bracket, to rounding, by Ridders' method on all of them at once.

    Parameters
    ----------
    function
        (points, which brackets they belong to) -> values, of opposite signs at `low` and `high`.
    """
    every = np.arange(low.size)
    a, b = np.stack([low, function(low, every)]), np.stack([high, function(high, every)])
    root = np.where(a[1] == 0, low, high)
    todo = every[a[1] * b[1] < 0]
    for _ in range(60):
        if not todo.size:
            break
        (x_a, f_a), (x_b, f_b) = a[:, todo], b[:, todo]
        middle = (x_a + x_b) / 2
        f_m = function(middle, todo)
        shift = np.sign(f_a) * f_m / np.sqrt(f_m**2 - f_a * f_b)
        x = middle + (middle - x_a) * shift
        f = function(x, todo)
        done = (f == 0) | (np.abs(x - root[todo]) <= 4e-16 * np.maximum(1, np.abs(x)))
        root[todo] = x
        for point in (np.stack([middle, f_m]), np.stack([x, f])):
            a[:, todo] = np.where(np.sign(point[1]) == np.sign(f_a), point, a[:, todo])
            b[:, todo] = np.where(np.sign(point[1]) == np.sign(f_b), point, b[:, todo])
        todo = todo[~done]
    return root


def _scale_free(chi: Floats, bias: Floats, ln_start: Floats) -> Floats:
    """Return ln of σ_b²/(1 − χ), or what takes its place for χ ≥ 1."""
    margin = np.where(np.abs(1 - chi) <= NOISE, 0.0, 1 - chi)
    settles = ln(bias) - np.log(np.where(margin > 0, margin, 1.0))
    rests = (margin == 0) & (bias == 0)
    reached: Floats = np.select([margin > 0, rests], [settles, ln_start], np.inf)
    return reached


def _walk(act: Activation, weight: Floats, bias: Floats, start: Floats) -> Floats:
    """Return the first zero of the change of ln q on the side to which it moves from `start`."""
    grid, table = moments_table(act)
    own = moments(act, start)
    ends = np.empty((2, start.size))
    nodes = np.stack([grid, table.gain, table.gain_power])
    starts = np.stack([start, own.gain, own.gain_power], axis=1)
    for i, place in enumerate(np.searchsorted(grid, start)):
        ln_q, gain, power = np.insert(nodes, place, starts[i], axis=1)
        change = _change(gain, ln_q, weight[i], bias[i])
        steepness = _steepness(gain, power, change, weight[i])
        ends[:, i] = _bracket(act, (weight[i], bias[i]), (ln_q, change, steepness), place)
    reached: Floats = ends[1].copy()
    todo = np.flatnonzero(ends[0] != ends[1])
    if todo.size:
        reached[todo] = find_roots(
            lambda ln_q, i: _change(gains(act, ln_q), ln_q, weight[todo[i]], bias[todo[i]]),
            *ends[:, todo],
        )
    return reached


def _bracket(
    act: Activation,
    variances: tuple[float, float],
    nodes: tuple[Floats, Floats, Floats],
    place: int,
) -> tuple[float, float]:
    """Return an interval of ln q with the fixed point that is reached from node `place`.

    Its ends are equal where that is known already. `nodes` are ln q, its change in a layer, and
    the derivative of that.
    """
    sign = signs(nodes[1])
    direction = sign[place]
    if direction == 0:
        return nodes[0][place], nodes[0][place]
    onward = slice(place, None, int(direction))
    ln_q, change, steepness, sign = (a[onward] for a in (*nodes, sign))
    stops = np.flatnonzero(sign != direction)
    stop = stops[0] if stops.size else ln_q.size
    before = slice(0, stop)
    for i in _dips(ln_q[before], direction * change[before], steepness[before]):
        bottom, depth = _bottom(act, variances, ln_q[i : i + 2])
        if abs(depth) <= NOISE:
            return bottom, bottom
        if depth * direction < 0:
            return ln_q[i], bottom
    if not stops.size:
        return direction * np.inf, direction * np.inf
    return (ln_q[stop] if sign[stop] == 0 else ln_q[stop - 1]), ln_q[stop]


def _dips(ln_q: Floats, height: Floats, steepness: Floats) -> npt.NDArray[np.intp]:
    """Return the intervals in which the height may touch 0 although both ends are above it.

    It falls at the near end, rises at the far one, and the tangents there meet below 0; they
    bound a convex function from below.
    """
    fall, rise = steepness[:-1], steepness[1:]
    clear = np.minimum(height[:-1], height[1:]) > NOISE
    turns = np.flatnonzero((fall < 0) & (rise > 0) & clear)
    width = np.abs(ln_q[turns + 1] - ln_q[turns])
    near, far = height[turns], height[turns + 1]
    meet = (far - near - rise[turns] * width) / (fall[turns] - rise[turns])
    dips: npt.NDArray[np.intp] = turns[near + fall[turns] * meet <= 0]
    return dips


def _bottom(
    act: Activation, variances: tuple[float, float], interval: Floats
) -> tuple[float, float]:
    """Return where in the interval the change of ln q has its extremum, and the change there."""
    weight, bias = (np.array([v]) for v in variances)

    def steepness(ln_q: Floats, _: npt.NDArray[np.intp]) -> Floats:
        at = moments(act, ln_q)
        return _steepness(at.gain, at.gain_power, _change(at.gain, ln_q, weight, bias), weight)

    ln_q = find_roots(steepness, interval[:1], interval[1:])
    return float(ln_q[0]), float(_change(gains(act, ln_q), ln_q, weight, bias)[0])


def _change(gain: Floats, ln_q: Floats, weight: Floats | float, bias: Floats | float) -> Floats:
    """Return ln q_{l+1} − ln q_l, without cancellation."""
    change: Floats = np.log(weight * gain + bias * np.exp(-ln_q))
    return change


def _steepness(gain: Floats, power: Floats, change: Floats, weight: Floats | float) -> Floats:
    """Return the derivative of `_change` by ln q: only the weights' share of q follows q."""
    share: Floats = weight * gain * np.exp(-change)
    return share * power - 1
