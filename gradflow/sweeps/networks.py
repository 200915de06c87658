"""The points of a task of a sweep, measured and judged as `diagnose` does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradflow.activations import Activation
from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import batch
from gradflow.diagnosis.builtin import measure_replicas, network_pass
from gradflow.diagnosis.rows import pass_fields
from gradflow.diagnosis.run import judged_pass
from gradflow.diagnosis.subject import Subject, seeds_of
from gradflow.measurement.rates import median
from gradflow.measurement.records import Measurement
from gradflow.networks.architectures import network_activation
from gradflow.results.sweep import SweepRow
from gradflow.sweeps.grid import Point, Task
from gradflow.sweeps.scaling import drawn
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select

#: What a row shows, and what its verdict rests on.
_JUDGED_BY = frozenset(
    {
        "activation_mean",
        "activation_variance",
        "backward_nonfinite",
        "dead_fraction",
        "delta_rms",
        "example_spread",
        "forward_nonfinite",
        "gradient_norm",
        "saturated_fraction",
        "weight_norm",
        "zero_fraction",
    }
)


def measured(task: Task) -> list[SweepRow]:
    """Measure every point of a task in one pass: a row each, its prediction left out.

    A network is the one that ``diagnose`` measures with the same options.
    """
    one = task.config.network(task.act, task.width, task.depth)
    device, dtype = select(one.device), dtype_of(one.dtype)
    data = batch(one, dtype, device)
    model = drawn(task, data.inputs.shape[-1], data.classes, dtype, one.seeds).to(device)
    every = replace(one, seeds=one.seeds * len(task.points))
    together = measure_replicas(model, data, every, _JUDGED_BY)
    phi = network_activation(one)
    fields = pass_fields(network_pass(every, together, phi), one.lr)
    return [
        _row(task, point, one, phi, *_of_point(together, fields, place, one.seeds))
        for place, point in enumerate(task.points)
    ]


def _of_point(
    together: Measurement, fields: list[dict[str, Any]], place: int, seeds: int
) -> tuple[Measurement, list[dict[str, Any]]]:
    """What the replicas of one point gave, and the fields of its rows."""
    own = slice(place * seeds, (place + 1) * seeds)
    seen = replace(together, values=together.values[..., own], loss=together.loss[own])
    return seen, [{k: None if v is None else v[own] for k, v in row.items()} for row in fields]


def _row(
    task: Task,
    point: Point,
    network: NetworkConfig,
    phi: Activation,
    seen: Measurement,
    fields: list[dict[str, Any]],
) -> SweepRow:
    subject = Subject(
        passes=list,
        lr=network.lr,
        dtype=network.dtype,
        seeds=seeds_of(network),
        optimizer="sgd",
    )
    result = judged_pass(subject, network_pass(network, seen, phi), fields)
    with np.errstate(invalid="ignore"):  # 0 over 0 where no gradient is left
        ratios = fields[0]["delta_log10_rms"] - fields[network.depth - 1]["delta_log10_rms"]
    known = ratios[~np.isnan(ratios)]
    return SweepRow(
        activation=phi.name,
        width=task.width,
        bias_variance=point.bias_variance,
        depth=task.depth,
        weight_variance=point.weight_variance,
        gradient_log10=median(known) if known.size else None,
        predicted_gradient_log10=None,
        verdict=result.verdict,
        rate=result.rate,
        gradient_log10_low=float(known.min()) if known.size else None,
        gradient_log10_high=float(known.max()) if known.size else None,
    )
