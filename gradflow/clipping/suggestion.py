"""Thresholds for norm clipping, from the norms that unclipped training meets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradflow.arrays import Floats
from gradflow.results.clipping import DistributionRow, NormsRow

#: Pascanu, Mikolov & Bengio 2013: "half to ten times this average" of the norms.
_TIMES_AVERAGE = (0.5, 1.0, 2.0, 5.0, 10.0)
#: 90: Godbole et al., deep learning tuning playbook; 10: Seetharaman et al. 2020 (AutoClip).
_PERCENTILES = {"10th percentile": 10, "median": 50, "90th percentile": 90}
_LOWER = 10.0 ** -np.array([0.5, 1.0, 1.5, 2.0])
_CLASSES_PER_DECADE, _MOST_CLASSES = 5, 40
_TAIL, _ENOUGH, _HEAVY = 0.1, 100, 2.0


def proposals(norms: Floats) -> dict[str, float]:
    """Return thresholds to try by where they come from, to three digits, each once.

    Parameters
    ----------
    norms
        Finite and above 0; none of them gives no proposal.
    """
    if norms.size == 0:
        return {}
    named = {name: float(np.percentile(norms, p)) for name, p in _PERCENTILES.items()}
    mean = float(norms.mean())
    named |= {f"{times:g} × mean": times * mean for times in _TIMES_AVERAGE}
    unique: dict[float, str] = {}
    for name, threshold in named.items():
        unique.setdefault(float(f"{threshold:.3g}"), name)
    return {name: threshold for threshold, name in sorted(unique.items())}


def below(threshold: float) -> dict[str, float]:
    """Return four lower thresholds by where they come from, two to a decade."""
    lower = [float(f"{t:.3g}") for t in threshold * _LOWER]
    return {f"{threshold:.3g} ÷ {1 / part:.3g}": t for part, t in zip(_LOWER, lower, strict=True)}


def between(best: float, tried: Sequence[float]) -> dict[str, float]:
    """Return thresholds between the best and its neighbours, no factor between two above 2."""
    lower, higher = (t for t in tried if t < best), (t for t in tried if t > best)
    found: dict[str, float] = {}
    for neighbour in (max(lower, default=best), min(higher, default=best)):
        parts = int(np.ceil(abs(np.log2(neighbour / best)) - 1e-9))
        for t in np.geomspace(best, neighbour, parts + 1)[1:-1]:
            rounded = float(f"{t:.3g}")
            found[f"{rounded / best:.3g} × {best:.3g}"] = rounded
    return found


def histogram(norms: Floats) -> tuple[NormsRow, ...]:
    """Return counts in classes of equal ratio, five to a decade and at most forty."""
    if norms.size == 0:
        return ()
    logs = np.log10(norms)
    span = float(np.ptp(logs))
    classes = int(np.clip(np.ceil(span * _CLASSES_PER_DECADE), 1, _MOST_CLASSES))
    if span < 2 and norms.size >= _ENOUGH:  # a narrow one in more detail
        classes = max(classes, 10)
    counts, edges = np.histogram(logs, classes)
    limits = 10**edges
    return tuple(
        NormsRow(float(low), float(high), int(count), 100 * int(count) / norms.size)
        for low, high, count in zip(limits, limits[1:], counts, strict=False)
    )


def distribution(norms: Floats) -> tuple[DistributionRow, ...]:
    """Return the summary of the norms, one row; none where there are no norms."""
    if norms.size == 0:
        return ()
    index = tail_index(norms)
    p50, p90, p99 = (float(np.percentile(norms, p)) for p in (50, 90, 99))
    heavy = None if index is None else index < _HEAVY
    return (
        DistributionRow(
            norms.size, float(norms.mean()), p50, p90, p99, float(norms.max()), index, heavy
        ),
    )


def tail_index(values: Floats) -> float | None:
    """Return Hill's estimate of the tail index α, P(X > x) ~ x^−α, from the largest tenth.

    Hill 1975, "A simple general approach to inference about the tail of a distribution". Below 2
    the variance is infinite. None for fewer than 100 values, or where the tail is flat.
    """
    if values.size < _ENOUGH:
        return None
    ordered = np.sort(values)[::-1]
    count = int(_TAIL * values.size)
    excess = float(np.log(ordered[:count] / ordered[count]).mean())
    return 1 / excess if excess > 0 else None
