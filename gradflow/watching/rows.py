"""From what `watch` recorded to its result: one transfer to the host, then NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gradflow.arrays import Floats
from gradflow.findings.check import judged
from gradflow.measurement.norms import as_tensor
from gradflow.measurement.rates import fit_rates, rate_span
from gradflow.results.watching import (
    WatchHistoryRow,
    WatchResult,
    WatchRow,
    WatchStepRow,
)
from gradflow.watching import checks
from gradflow.watching.facts import loop_facts, losses_and_rates
from gradflow.watching.outcome import tempered
from gradflow.watching.recording import Norms, Recording, Snapshot, WatchedLayer
from gradflow.watching.sampled import SAMPLED

#: Rounding of a fused norm: what is smaller by less than this was not clipped.
_SAME = 1e-6


def summarized(recording: Recording) -> WatchResult:
    """Return the result of a watched run, over or not."""
    layers, recorded = recording.layers, recording.snapshots
    table = Recorded(recorded)
    weights = table.of_layers(layers, table.weights)
    history = {
        "gradient_log10_norm": _log10(table.of_layers(layers, table.before)),
        "clipped_log10_norm": _log10(table.of_layers(layers, table.after)),
        "update_ratio": _ratio(table.of_layers(layers, table.updates), weights),
        "weight_norm": weights,
        **_sampled(layers, recording.sampled[: len(recorded)]),
    }
    history["delta_log10_rms"] = _log10(history.pop("delta_rms"))
    history.pop("output_nonfinite")
    losses, learning_rates = losses_and_rates(recorded)
    steps = tuple(_steps(recorded, table, losses, learning_rates))
    cut = [s for s in steps if s.clipped]
    factors = [s.norm_after / s.norm_before for s in cut if s.norm_after and s.norm_before]
    rate, first_rate = _rates(layers, history["delta_log10_rms"])
    overflowed = _overflowed(layers, recording.skipped_sampled)
    result = WatchResult(
        records=tuple(_rows(layers, history, recording.attention)),
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
        facts=dataclasses.replace(
            loop_facts(recording, history, losses),
            overflowed=overflowed,
            span=_span(layers, history["delta_log10_rms"]),
        ),
    )
    return judged(result, checks.CHECKS, tempered)


def _rates(layers: Sequence[WatchedLayer], deltas: Floats) -> tuple[float | None, float | None]:
    """Return the factor per layer at the median step, and at the first."""
    hidden, names = deltas[:, :-1].T, [layer.name for layer in layers[:-1]]
    every, first = (fit_rates(list(part), names) for part in (hidden, hidden[:, :1]))
    return (
        None if every is None else float(np.median(every)),
        None if first is None else float(first[0]),
    )


def _span(layers: Sequence[WatchedLayer], deltas: Floats) -> int:
    return rate_span(list(deltas[:, :-1].T), [layer.name for layer in layers[:-1]])


def _overflowed(layers: Sequence[WatchedLayer], skipped: Floats) -> int | None:
    """Return the row (from 1) of the first layer that a skipped step overflowed in."""
    columns = _sampled(layers, skipped)
    # Forwards the first layer is the cause, backwards the last.
    bad = (columns["output_nonfinite"] > 0) | _not_finite(columns["activation_rms"])
    for found, place in ((bad, 0), (_not_finite(columns["delta_rms"]), -1)):
        for step in found:
            if step.any():
                return int(np.flatnonzero(step)[place]) + 1
    return None


def _not_finite(values: Floats) -> Any:
    return np.isinf(values)


def _ratio(updates: Floats, weights: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # of two that are infinite there is none
        return np.asarray(updates / np.where(weights == 0, np.nan, weights))


def _sampled(layers: Sequence[WatchedLayer], table: Floats) -> dict[str, Floats]:
    """(steps, layers) by name of what was sampled."""
    steps, columns = len(table), {}
    for q, name in enumerate(SAMPLED):
        by_layer = [
            np.full(steps, np.nan) if layer.place is None else table[:, layer.place, q]
            for layer in layers
        ]
        columns[name] = np.stack(by_layer, 1) if by_layer else np.empty((steps, 0))
    return columns


class Recorded:
    """Every snapshot as float64 arrays, (steps, parameters), brought to the host at once.

    Of a norm, NaN says that there was no gradient; one that is not finite is ∞.
    """

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        parts = [(s.before, s.after, s.weights, s.updates) for s in snapshots]
        names = dict.fromkeys(n for part in parts for norms in part if norms for n in norms.names)
        self.places = {name: place for place, name in enumerate(names)}
        found = [self._moved([part[i] for part in parts]) for i in range(4)]
        before, after, self.weights, self.updates = found
        self.before, after = _marked(before), _marked(after)
        untouched = np.array([s.after is None for s in snapshots], dtype=bool)
        self.after = np.where(untouched[:, None], self.before, after)

    def _moved(self, parts: Sequence[Norms | None]) -> Floats:
        table = np.full((len(parts), len(self.places)), np.nan)
        there = [(step, norms) for step, norms in enumerate(parts) if norms is not None]
        if there:
            flat = torch.cat([as_tensor(n.numbers) for _, n in there]).cpu().double().numpy()
            steps = np.repeat([step for step, _ in there], [len(n.names) for _, n in there])
            table[steps, [self.places[name] for _, n in there for name in n.names]] = np.where(
                np.isnan(flat), np.inf, flat
            )
        return table

    def of_layers(self, layers: Sequence[WatchedLayer], norms: Floats) -> Floats:
        """Return (steps, parameters) as (steps, layers), of those parameters that are known."""
        squares = []
        for layer in layers:
            own = norms[:, [self.places[n] for n in layer.parameters if n in self.places]]
            known = ~np.isnan(own)
            total = np.square(np.where(known, own, 0)).sum(1)
            squares.append(np.where(known.any(1), total, np.nan))
        return np.sqrt(np.stack(squares, 1)) if squares else np.empty((len(norms), 0))


def _marked(norms: Floats) -> Floats:
    """Say NaN where there was no gradient."""
    return np.where(norms == -np.inf, np.nan, norms)


def _log10(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))


def _steps(
    snapshots: Sequence[Snapshot],
    table: Recorded,
    losses: Sequence[float | None],
    rates: Sequence[float | None],
) -> list[WatchStepRow]:
    totals = (np.sqrt(np.nansum(np.square(t), axis=1)) for t in (table.before, table.after))
    rows = []
    for snapshot, before, after, loss, rate in zip(snapshots, *totals, losses, rates, strict=True):
        lost = bool(np.isnan(after) or after < before * (1 - _SAME))
        norms = float(before), float(after)
        rows.append(WatchStepRow(snapshot.step, *norms, lost, loss, rate))
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


def _rows(
    layers: Sequence[WatchedLayer],
    history: dict[str, Floats],
    attention: Mapping[int, tuple[float, float]],
) -> list[WatchRow]:
    rows = []
    for index, layer in enumerate(layers):
        columns = {key: table[:, index] for key, table in history.items()}
        norms = columns["gradient_log10_norm"]
        middle = {key: _median(values) for key, values in columns.items()}
        middle.pop("clipped_log10_norm")
        entropy, flat = attention.get(-1 if layer.place is None else layer.place, (None, None))
        rows.append(
            WatchRow(
                index=index + 1,
                name=layer.name,
                kind=layer.kind,
                gradient_log10_first=_known(norms[0]) if norms.size else None,
                gradient_log10_last=_known(norms[-1]) if norms.size else None,
                attention_entropy=entropy,
                attention_saturated=flat,
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
