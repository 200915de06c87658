"""From what a pass measured, replica by replica, to the rows of a result."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from gradflow.arrays import Floats
from gradflow.diagnosis.subject import Pass
from gradflow.measurement.half_precision import Underflow
from gradflow.measurement.preserving import plain_name
from gradflow.measurement.quantities import QUANTITIES, LayerValues, row_fields
from gradflow.measurement.rates import fit_rates, interval, quantiles
from gradflow.measurement.records import Measurement
from gradflow.measurement.recurrence import RecurrentCall
from gradflow.results.diagnosis import InputStepRow, LayerRow, Recurrence


def pass_fields(seen: Pass, lr: float) -> list[dict[str, Any]]:
    """Return the fields of every row of one pass, brought to the host at once.

    Each is (replicas,), or None for what was not measured.

    Parameters
    ----------
    lr
        Learning rate that the update ratio is for.
    """
    measured = seen.measurement
    values = measured.values.cpu().double().numpy()
    alike: dict[frozenset[str], list[int]] = {}
    for row, known in enumerate(measured.measured):
        alike.setdefault(known, []).append(row)
    fields: list[dict[str, Any]] = [{} for _ in measured.names]
    for known, rows in alike.items():  # of which one call computes all
        sizes = np.array([measured.weight_sizes[row] for row in rows], dtype=np.float64)
        found = row_fields(_layer_values(values[rows], known, sizes[:, None], seen, lr))
        for place, row in enumerate(rows):
            fields[row] = {name: None if v is None else v[place] for name, v in found.items()}
    return _with_underflow(fields, seen.underflow)


def _layer_values(
    values: Floats, known: Collection[str], sizes: Floats, seen: Pass, lr: float
) -> LayerValues:
    """What layers measured, of which the same quantities are known."""
    summed = not seen.averaged
    to_mean = -math.log10(seen.examples) if summed else 0.0  # gradients are of the mean loss,
    to_own = 0.0 if summed else math.log10(seen.examples)  # δ of each example's own
    raw = {n: values[:, place] if n in known else None for place, n in enumerate(QUANTITIES)}
    return LayerValues(raw, sizes, lr, to_mean, to_own, 0.0 if seen.as_given else to_mean)


def _with_underflow(fields: list[dict[str, Any]], lost: Underflow | None) -> list[dict[str, Any]]:
    """The fields with what half precision loses of each layer's gradient."""
    none = [None] * len(fields)  # parameters that belong to no layer have none of it
    weight, delta = (none, none) if lost is None else (lost.weight + none, lost.delta + none)
    return [
        f | {"underflow_fraction": w, "delta_underflow_fraction": d}
        for f, w, d in zip(fields, weight, delta, strict=False)
    ]


def stacked_fields(networks: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the fields of networks measured one by one as those of as many replicas."""
    if len(networks) == 1:
        return networks[0]
    return [
        {
            name: None
            if any(layer[name] is None for layer in same)
            else np.concatenate([layer[name] for layer in same])
            for name in same[0]
        }
        for same in zip(*networks, strict=True)
    ]


def layer_rows(seen: Pass, fields: Sequence[dict[str, Any]]) -> tuple[LayerRow, ...]:
    """Return the rows: of every layer the medians over the replicas, and what theory predicts."""
    predicted = [{} for _ in fields] if seen.prediction is None else seen.prediction.rows()
    measured = seen.measurement
    names = list(fields[0]) if fields else []
    middle, low, high = (_over_replicas(fields, share) for share in (0.5, 0.05, 0.95))
    rows = []
    for place, (name, kind) in enumerate(zip(measured.names, measured.kinds, strict=True)):
        row: dict[str, Any] = {"index": place + 1, "name": name, "kind": kind}
        row["predicted_delta_log10_rms"] = None
        row |= {key: middle[key][place] for key in names}
        for key in _COUNTS:
            counts = fields[place][key]
            row[key] = None if counts is None else int(np.max(counts))
        for key in _BANDS:  # of a single network there is none
            several = fields[place][key] is not None and len(fields[place][key]) > 1
            row[f"{key}_low"] = low[key][place] if several else None
            row[f"{key}_high"] = high[key][place] if several else None
        rows.append(LayerRow(**row | predicted[place]))
    return tuple(rows)


#: Of these the largest over the replicas is shown; of those the 5th and 95th percentile as well.
_COUNTS = ("forward_nonfinite", "backward_nonfinite")
_BANDS = ("bias_gradient_norm", "delta_log10_rms")


def _over_replicas(fields: Sequence[dict[str, Any]], share: float) -> dict[str, list[float | None]]:
    """A quantile over the replicas of every field, by layer."""
    keys = list(fields[0]) if fields else []
    wanted = keys if share == 0.5 else [key for key in keys if key in _BANDS]
    flat = quantiles([layer[key] for key in wanted for layer in fields], share)
    numbers = [None if v is None else float(v) for v in flat]
    size = len(fields)
    return {key: numbers[i * size : (i + 1) * size] for i, key in enumerate(wanted)}


def in_chain(deltas: Sequence[Floats | None], calls: Sequence[int]) -> list[Floats | None]:
    """Return δ of the layers that stand at one place of the chain; None for others.

    A block that is called several times behind a layer that is called once, as ALBERT's is, has one
    row for all its places: that one row after the other says nothing of depth.

    Parameters
    ----------
    calls
        Of every layer, in the order of their first ones.
    """
    if not calls:
        return list(deltas)
    return [d if n <= calls[0] else None for d, n in zip(deltas, calls, strict=False)]


def whole_deltas(
    deltas: Sequence[Floats | None], measured: Measurement
) -> list[Floats | None] | None:
    """Return log₁₀ of the norm of δ instead of its rms; None where it tells nothing else.

    Where layers have fewer and fewer positions (strides, pooling, nodes and their edges), the rms
    shrinks backwards because the same δ is spread over more entries, which loses no gradient.
    """
    sizes = [n / c for n, c in zip(measured.entries, measured.calls, strict=True) if n][
        : len(deltas)
    ]
    if len(sizes) < len(deltas) or len(set(sizes)) < 2:
        return None
    return [
        None if d is None else d + 0.5 * math.log10(size)
        for d, size in zip(deltas, sizes, strict=True)
    ]


#: A gain is small: the root mean square of its entries.
_SMALL_GAIN = 0.01
#: Decades by which its gradient may be below that of the output layer.
_FULL_GRADIENT = 2


def small_gains(rows: Sequence[LayerRow], measured: Measurement) -> tuple[int, ...]:
    """Return the rows of small parameters beside layers that get a full gradient.

    Branches behind such a gain (a layer scale of 1e-6) have little of a gradient, and soon more.
    """
    norms = measured.values[:, QUANTITIES.index("weight_norm"), 0].tolist()
    output = rows[max(measured.layers - 1, 0)].gradient_log10_norm
    if output is None:
        return ()
    return tuple(
        row.index
        for row, norm, size in zip(rows, norms, measured.weight_sizes, strict=True)
        if row.index > measured.layers
        and 0 < norm <= _SMALL_GAIN * math.sqrt(size)
        and (row.gradient_log10_norm or -math.inf) >= output - _FULL_GRADIENT
    )


def recurrences(measured: Measurement) -> tuple[Recurrence, ...]:
    """Return what was seen of the time steps of torch's own recurrent layers."""
    return tuple(
        _recurrence(call, measured.names)
        for call in measured.recurrent
        if call.delta_rms is not None and len(call.delta_rms) > 1
    )


def _recurrence(call: RecurrentCall, names: Sequence[str]) -> Recurrence:
    assert call.delta_rms is not None
    with np.errstate(divide="ignore"):
        logs = np.log10(call.delta_rms.cpu().double().numpy())
    gates = (call.saturated or {}).items()
    return Recurrence(
        name=plain_name(call.name),
        layers=tuple(i for i, n in enumerate(names, start=1) if n == plain_name(call.name)),
        input_delta_log10_rms=tuple(logs.tolist()),
        rate=interval(fit_rates([log[None] for log in logs]))[0],
        saturated=tuple((gate, float(share)) for gate, share in gates),
    )


def step_rate(seen: Sequence[Recurrence]) -> float | None:
    """Return the rate per time step that is furthest from 1."""
    rates = [r.rate for r in seen if r.rate is not None]
    return max(rates, key=lambda rate: abs(math.log10(rate)), default=None)


def step_rows(seen: Sequence[Recurrence]) -> tuple[InputStepRow, ...]:
    """Return a row per time step of every recurrent layer."""
    return tuple(
        InputStepRow(layer.name, step, log)
        for layer in seen
        for step, log in enumerate(layer.input_delta_log10_rms, start=1)
    )
