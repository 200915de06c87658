"""The factor by which δ changes per layer, and its interval over seeds. NumPy only."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradflow.arrays import Floats


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


def fit_rates(deltas: list[Floats | None], names: Sequence[str] = ()) -> Floats | None:
    """Return each replica's factor per layer going backwards: 10**−slope of log₁₀ δ over depth.

    Like is compared with like: layers whose names differ in numbers alone have one level of δ
    (queries and values, encoder and decoder differ in theirs), and all have one slope.

    None for fewer than two layers, or where a δ is 0 or not finite.
    """
    known = [index for index, d in enumerate(deltas) if d is not None]
    if len(known) < 2:
        return None
    table = np.stack([d for d in deltas if d is not None])
    finite = np.isfinite(table).all(axis=0)
    if not finite.any():
        return None
    roles = _roles([names[index] for index in known] if names else [""] * len(known))
    x, y = np.array(known, dtype=np.float64), table[:, finite].copy()
    for role in set(roles):
        same = np.array([r == role for r in roles])
        x[same] -= x[same].mean()
        y[same] -= y[same].mean(axis=0)
    return np.asarray(10.0 ** -((x @ y) / (x @ x)))


def _roles(names: Sequence[str]) -> list[str]:
    """Names without their numbers; all the same where too few are alike to compare."""
    roles = [re.sub(r"\d+", "*", name) for name in names]
    alike = sum(roles.count(role) > 1 for role in roles)
    return roles if alike > len(roles) / 2 else [""] * len(roles)


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
