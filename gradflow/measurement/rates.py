"""The factor by which δ changes per layer, and its interval over seeds. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradflow.arrays import Floats, Integers
from gradflow.results.names import roles


def median(values: Floats | None) -> float | None:
    """Return the median over replicas; None for what was not measured."""
    return None if values is None else float(quantile(values, 0.5))


def quantile(values: Floats, share: float) -> Any:
    """Return the value below which `share` of the replicas' values lie, infinite ones included."""
    if len(values) == 1:  # a thousand layers of one network: np.quantile is not cheap
        return values[0]
    if np.isfinite(values).all():
        return np.quantile(values, share)
    # −∞ (a dead seed) has a place in the order but no arithmetic: take the nearest value below.
    return np.quantile(values, share, method="lower")


def quantiles(values: Sequence[Floats | None], share: float) -> list[Any]:
    """Return `quantile` of each, all at once; None for None."""
    known = [v for v in values if v is not None]
    if not known or len(known[0]) == 1:
        return [None if v is None else v[0] for v in values]
    each = iter(_of_rows(np.array(known), share).tolist())
    return [None if v is None else next(each) for v in values]


def _of_rows(table: Floats, share: float) -> Floats:
    """Return `np.quantile` of rows, to the bit, in a tenth of its time; NaN where one is."""
    ordered = np.sort(table, axis=1)
    place = share * (table.shape[1] - 1)
    below = int(place)
    low, part = ordered[:, below], place - below
    high = ordered[:, min(below + 1, table.shape[1] - 1)]
    finite = np.isfinite(ordered[:, 0]) & np.isfinite(ordered[:, -1])
    with np.errstate(invalid="ignore", over="ignore"):
        rise = high - low
        between = low + rise * part if part < 0.5 else high - rise * (1 - part)
    found = np.where(finite, between, low)
    return np.where(np.isnan(ordered[:, -1]), np.nan, found)


#: Layers of one role up to which every pair of them is compared.
_ALL_PAIRS = 64


def fit_rates(deltas: list[Floats | None], names: Sequence[str] = ()) -> Floats | None:
    """Return each replica's factor per layer going backwards: 10**−slope of log₁₀ δ over depth.

    The slope is Theil and Sen's: the median over all pairs of layers. Up to a quarter of the
    layers may be far off, as where δ cancels to rounding errors, and do not tilt it. Like is
    compared with like: a pair is two layers whose names differ in numbers alone (queries and
    values, encoder and decoder differ in their level of δ).

    A layer whose δ is 0 or not finite is left out: no slope leads through it. None where that
    leaves fewer than two layers.
    """
    known = [index for index, d in enumerate(deltas) if d is not None]
    if len(known) < 2:
        return None
    table = np.stack([d for d in deltas if d is not None])
    alike = roles([names[index] for index in known] if names else [""] * len(known))
    first, second = _pairs(alike)
    x = np.array(known, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        rises = table[second] - table[first]
    slopes = _medians(rises, x[second] - x[first])
    slopes = slopes[np.isfinite(slopes)]
    return np.asarray(10.0**-slopes) if slopes.size else None


def rate_span(deltas: list[Floats | None], names: Sequence[str] = ()) -> int:
    """Return over how many layers a rate reaches: from the first to the last of one role.

    Roles that follow each other, as convolutions and then dense layers, reach as far together.
    Where most roles have two layers alone, the rate rests on single pairs, and reaches no further
    than the longest of them.
    """
    known = [i for i, d in enumerate(deltas) if d is not None and np.isfinite(d).any()]
    alike = roles([names[index] for index in known] if names else [""] * len(known))
    places = [[i for i, r in zip(known, alike, strict=True) if r == role] for role in set(alike)]
    places = [p for p in places if len(p) > 1]
    if len(places) > 1 and np.median([len(p) for p in places]) <= 2:
        return max(p[-1] - p[0] + 1 for p in places)
    reach, end = 0, -1
    for first, last in sorted((p[0], p[-1]) for p in places):
        reach += max(0, last - max(end, first - 1))
        end = max(end, last)
    return reach


def _pairs(alike: Sequence[str]) -> tuple[Integers, Integers]:
    """Return the layers of every pair of one role; of many layers the pairs far apart alone."""
    found = []
    for role in dict.fromkeys(alike):
        same = np.array([index for index, r in enumerate(alike) if r == role])
        first, second = np.triu_indices(len(same), 1)
        if len(same) > _ALL_PAIRS:
            far = second - first == len(same) // 2
            first, second = first[far], second[far]
        found.append((same[first], same[second]))
    return np.concatenate([f for f, _ in found]), np.concatenate([s for _, s in found])


def _medians(rises: Floats, distances: Floats) -> Floats:
    """Return the median of rise over distance per replica, (pairs, replicas); inf for no pair."""
    slopes = np.sort(np.where(np.isfinite(rises), rises / distances[:, None], np.inf), axis=0)
    count = np.isfinite(slopes).sum(axis=0)
    if not len(slopes):
        return np.full(rises.shape[1], np.inf)
    low, high = (
        np.take_along_axis(slopes, place[None], 0)[0] for place in ((count - 1) // 2, count // 2)
    )
    return np.asarray((low + high) / 2)


def interval(rates: Floats | None) -> tuple[float | None, float | None, float | None]:
    """Return the geometric mean of the rates, and its 95 % interval (Student's t on logarithms)."""
    if rates is None:
        return None, None, None
    logs = np.log10(rates)
    centre = float(logs.mean())
    if len(logs) < 2:
        return 10.0**centre, None, None
    from scipy.special import stdtrit

    half = stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / math.sqrt(len(logs))
    return 10.0**centre, float(10.0 ** (centre - half)), float(10.0 ** (centre + half))
