"""From what a pass measured, replica by replica, to rows, rates and intervals. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradflow.arrays import Floats
from gradflow.diagnosis.subject import Pass
from gradflow.measurement.half_precision import Underflow
from gradflow.measurement.rates import median, quantile
from gradflow.measurement.records import QUANTITIES
from gradflow.results.diagnosis import LayerRow

_LOG2 = math.log10(2.0)


def layer_fields(
    layers: Sequence[dict[str, Floats | None]],
    weight_sizes: Sequence[int],
    examples: int,
    lr: float,
    *,
    summed: bool,
) -> list[dict[str, Any]]:
    """Return the fields of every row as (replicas,) arrays; None for what was not measured.

    Parameters
    ----------
    layers
        The recorder's quantities of each layer, by name.
    weight_sizes
        Entries of each layer's weight.
    examples
        In the batch.
    lr
        Learning rate that the update ratio is for.
    summed
        Whether the loss was summed over the examples, not averaged.
    """
    to_mean = -math.log10(examples) if summed else 0.0  # gradients are of the mean loss,
    to_own = 0.0 if summed else math.log10(examples)  # δ of each example's own
    return [
        _layer_fields(layer, math.sqrt(size), lr, to_mean, to_own)
        for layer, size in zip(layers, weight_sizes, strict=True)
    ]


def pass_fields(seen: Pass, lr: float) -> list[dict[str, Any]]:
    """Return the fields of every row of one pass, brought to the host at once.

    Parameters
    ----------
    lr
        Learning rate that the update ratio is for.
    """
    measured = seen.measurement
    values = measured.values.cpu().double().numpy()
    layers = [
        {name: layer[i] if name in known else None for i, name in enumerate(QUANTITIES)}
        for layer, known in zip(values, measured.measured, strict=True)
    ]
    fields = layer_fields(
        layers, measured.weight_sizes, seen.examples, lr, summed=not seen.averaged
    )
    return _with_underflow(fields, seen.underflow)


def _with_underflow(fields: list[dict[str, Any]], lost: Underflow | None) -> list[dict[str, Any]]:
    """The fields with what half precision loses of each layer's gradient."""
    none = [None] * len(fields)
    weight, delta = (none, none) if lost is None else (lost.weight, lost.delta)
    return [
        f | {"underflow_fraction": w, "delta_underflow_fraction": d}
        for f, w, d in zip(fields, weight, delta, strict=True)
    ]


def stacked_fields(networks: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the fields of networks measured one by one as those of as many replicas."""
    return [
        {
            name: None
            if any(layer[name] is None for layer in same)
            else np.concatenate([layer[name] for layer in same])
            for name in same[0]
        }
        for same in zip(*networks, strict=True)
    ]


def _layer_fields(
    q: dict[str, Floats | None], root_size: float, lr: float, to_mean: float, to_own: float
) -> dict[str, Any]:
    def scaled(name: str, shift: float, *exponents: str) -> Floats | None:
        value, powers = q[name], [q[e] for e in exponents]
        if value is None:
            return None
        with np.errstate(divide="ignore"):
            total = sum((p for p in powers if p is not None), np.zeros_like(value))
            return np.asarray(np.log10(value) + _LOG2 * total + shift)

    weight = ("weight_exponent", "input_exponent")
    log_norm = scaled("gradient_norm", to_mean, *weight)
    norm = _power(log_norm)
    weight_norm = q["weight_norm"]
    ratio = None
    if norm is not None and weight_norm is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = lr * norm / weight_norm
    return {
        "gradient_norm": norm,
        "gradient_log10_norm": log_norm,
        "gradient_rms": None if norm is None else norm / root_size,
        "gradient_mean_abs": _power(scaled("gradient_mean_abs", to_mean, *weight)),
        "gradient_max_abs": _power(scaled("gradient_max_abs", to_mean, *weight)),
        "bias_gradient_norm": _power(scaled("bias_gradient_norm", to_mean, "weight_exponent")),
        "delta_log10_rms": scaled("delta_rms", to_own, "delta_exponent"),
        "update_ratio": ratio,
        **_activation_fields(q),
        **{
            name: q[name]
            for name in (
                "zero_fraction",
                "example_spread",
                "dead_fraction",
                "saturated_fraction",
                "forward_nonfinite",
                "backward_nonfinite",
            )
        },
    }


def _activation_fields(q: dict[str, Floats | None]) -> dict[str, Floats | None]:
    """Mean and variance in natural numbers, and log₁₀ of the rms, which cannot overflow."""
    mean, variance, power = q["activation_mean"], q["activation_variance"], q["activation_exponent"]
    log_rms = None
    if mean is not None and variance is not None:
        exponent = np.zeros_like(mean) if power is None else power
        with np.errstate(divide="ignore", over="ignore", under="ignore"):
            log_rms = 0.5 * np.log10(variance + mean**2) + _LOG2 * exponent
            mean, variance = mean * 2.0**exponent, variance * 4.0**exponent
    return {
        "activation_mean": mean,
        "activation_variance": variance,
        "activation_log10_rms": log_rms,
    }


def _power(exponent: Floats | None) -> Floats | None:
    with np.errstate(over="ignore", under="ignore"):
        return None if exponent is None else np.asarray(10.0**exponent)


def layer_rows(seen: Pass, fields: Sequence[dict[str, Any]]) -> tuple[LayerRow, ...]:
    """Return the rows: of every layer the medians over the replicas, and what theory predicts."""
    predicted = [{} for _ in fields] if seen.prediction is None else seen.prediction.rows()
    measured = seen.measurement
    named = zip(measured.names, measured.kinds, fields, predicted, strict=True)
    return tuple(_layer_row(index, *parts) for index, parts in enumerate(named, start=1))


def _layer_row(
    index: int, name: str, kind: str, fields: dict[str, Any], predicted: dict[str, float]
) -> LayerRow:
    """The row of a layer: medians over the replicas, bands where there are several."""
    row: dict[str, Any] = {"index": index, "name": name, "kind": kind}
    row["predicted_delta_log10_rms"] = None
    row |= {key: median(values) for key, values in fields.items()}
    for key in ("forward_nonfinite", "backward_nonfinite"):
        row[key] = None if fields[key] is None else int(np.max(fields[key]))
    for key in ("bias_gradient_norm", "delta_log10_rms"):
        row |= dict(zip((f"{key}_low", f"{key}_high"), _band(fields[key]), strict=True))
    return LayerRow(**row | predicted)


def _band(values: Floats | None) -> tuple[float | None, float | None]:
    """5th and 95th percentile over seeds; None for a single one."""
    if values is None or len(values) < 2:
        return None, None
    return float(quantile(values, 0.05)), float(quantile(values, 0.95))
