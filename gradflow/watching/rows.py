"""From what `watch` recorded to its result: one transfer to the host, then NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gradflow.arrays import Floats
from gradflow.findings.check import judged
from gradflow.measurement.norms import Numbers, as_tensor
from gradflow.measurement.rates import fit_rates
from gradflow.results.watching import (
    WatchFacts,
    WatchHistoryRow,
    WatchResult,
    WatchRow,
    WatchStepRow,
)
from gradflow.watching import checks
from gradflow.watching.recording import Recording, Snapshot, WatchedLayer
from gradflow.watching.step_table import SAMPLED

#: Rounding of a fused norm: what is smaller by less than this was not clipped.
_SAME = 1e-6


def summarized(recording: Recording) -> WatchResult:
    """Return the result of a watched run, over or not."""
    layers, recorded = recording.layers, recording.snapshots
    table = Recorded(recorded, recording.parameters)
    history = {
        "gradient_log10_norm": _log10(_of_layers(layers, table.before)),
        "clipped_log10_norm": _log10(_of_layers(layers, table.after)),
        "update_ratio": _ratio(
            _of_layers(layers, table.updates), _of_layers(layers, table.weights)
        ),
        "weight_norm": _of_layers(layers, table.weights),
        **_sampled(layers, recording.sampled),
    }
    steps = tuple(_steps(recorded, table))
    cut = [s for s in steps if s.clipped]
    factors = [s.norm_after / s.norm_before for s in cut if s.norm_after and s.norm_before]
    rate, first_rate = _rates(layers, history["delta_log10_rms"])
    result = WatchResult(
        records=tuple(_rows(layers, history)),
        meta=recording.meta,
        rate=rate,
        first_rate=first_rate,
        seen=recording.seen,
        every=recording.every,
        clip_rate=len(cut) / len(steps) if steps else None,
        clip_factor=float(np.median(factors)) if factors else None,
        skipped=recording.skipped,
        history=tuple(_history(recorded, len(layers), history)),
        steps=steps,
        facts=WatchFacts(compiled=recording.compiled, batch_norm=recording.batch_norm),
    )
    return judged(result, checks.CHECKS)


def _rates(layers: Sequence[WatchedLayer], deltas: Floats) -> tuple[float | None, float | None]:
    """Return the factor per layer at the median step, and at the first."""
    hidden, names = deltas[:, :-1].T, [layer.name for layer in layers[:-1]]
    every, first = (fit_rates(list(part), names) for part in (hidden, hidden[:, :1]))
    return (
        None if every is None else float(np.median(every)),
        None if first is None else float(first[0]),
    )


def _of_layers(layers: Sequence[WatchedLayer], norms: Floats) -> Floats:
    """(steps, parameters) to (steps, layers)."""
    squares = [np.square(norms[:, list(layer.parameters)]).sum(1) for layer in layers]
    return np.sqrt(np.stack(squares, 1)) if squares else norms[:, :0]


def _ratio(updates: Floats, weights: Floats) -> Floats:
    return updates / np.where(weights == 0, np.nan, weights)


def _sampled(layers: Sequence[WatchedLayer], table: Floats) -> dict[str, Floats]:
    """(steps, layers) by name of what was sampled."""
    steps, columns = len(table), {}
    for q, name in enumerate(SAMPLED):
        by_layer = [
            np.full(steps, np.nan) if layer.sensor is None else table[:, layer.sensor, q]
            for layer in layers
        ]
        columns[name] = np.stack(by_layer, 1) if by_layer else np.empty((steps, 0))
    columns["delta_log10_rms"] = _log10(columns.pop("delta_rms"))
    return columns


class Recorded:
    """Every snapshot as float64 arrays, brought to the host at once.

    Of a norm, NaN says that there was no gradient; one that is not finite is ∞.
    """

    def __init__(self, snapshots: Sequence[Snapshot], parameters: int) -> None:
        def moved(part: Callable[[Snapshot], Numbers | None], size: int) -> Floats:
            there = [(i, n) for i, s in enumerate(snapshots) if (n := part(s)) is not None]
            if not there:
                return np.full((len(snapshots), size), np.nan)
            found = torch.stack([as_tensor(n) for _, n in there]).cpu().double().numpy()
            table = np.full((len(snapshots), *found.shape[1:]), np.nan)
            table[[i for i, _ in there]] = found
            return table

        self.before = _marked(moved(lambda s: s.before, parameters))
        after = _marked(moved(lambda s: s.after, parameters))
        untouched = np.array([s.after is None for s in snapshots], dtype=bool)
        factor = moved(lambda s: s.factor, 1)
        factor = np.where(np.isfinite(factor), factor, 1.0)
        self.after = np.where(untouched[:, None], self.before * factor, after)
        self.weights = moved(lambda s: s.weights, parameters)
        self.updates = moved(lambda s: s.updates, parameters)


def _marked(norms: Floats) -> Floats:
    known = np.where(np.isnan(norms), np.inf, norms)
    return np.where(known == -np.inf, np.nan, known)


def _log10(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))


def _steps(snapshots: Sequence[Snapshot], table: Recorded) -> list[WatchStepRow]:
    totals = (np.sqrt(np.nansum(np.square(t), axis=1)) for t in (table.before, table.after))
    rows = []
    for snapshot, before, after in zip(snapshots, *totals, strict=True):
        lost = bool(np.isnan(after) or after < before * (1 - _SAME))
        rows.append(WatchStepRow(snapshot.step, float(before), float(after), lost))
    return rows


def _history(
    snapshots: Sequence[Snapshot], layers: int, history: dict[str, Floats]
) -> list[WatchHistoryRow]:
    return [
        WatchHistoryRow(
            step=snapshot.step,
            index=layer + 1,
            **{name: _known(table[row, layer]) for name, table in history.items()},
        )
        for row, snapshot in enumerate(snapshots)
        for layer in range(layers)
    ]


def _rows(layers: Sequence[WatchedLayer], history: dict[str, Floats]) -> list[WatchRow]:
    rows = []
    for index, layer in enumerate(layers):
        columns = {key: table[:, index] for key, table in history.items()}
        norms = columns["gradient_log10_norm"]
        middle = {key: _median(values) for key, values in columns.items()}
        middle.pop("clipped_log10_norm")
        rows.append(
            WatchRow(
                index=index + 1,
                name=layer.name,
                kind=layer.kind,
                gradient_log10_first=_known(norms[0]) if norms.size else None,
                gradient_log10_last=_known(norms[-1]) if norms.size else None,
                **middle | {key: _last(columns[key]) for key in ("dead_fraction", "weight_norm")},
            )
        )
    return rows


def _known(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def _median(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    # −∞ has a place in the order but no arithmetic: no mean of the middle two
    return float(np.quantile(there, 0.5, method="lower")) if there.size else None


def _last(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    return float(there[-1]) if there.size else None
