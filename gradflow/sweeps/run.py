"""sweep(): a config becomes tasks, tasks become rows, rows one result with its findings."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable

import torch

from gradflow.activations import activation
from gradflow.configs.fields import required
from gradflow.configs.sweep import SweepConfig
from gradflow.datasets.batches import batch
from gradflow.errors import GradflowError
from gradflow.executors.tasks import Place, run_each
from gradflow.findings.check import judged
from gradflow.results.sweep import SweepFacts, SweepResult, SweepRow
from gradflow.sweeps import checks
from gradflow.sweeps.grid import Task, tasks
from gradflow.sweeps.measuring import measure_task
from gradflow.sweeps.predictions import edges, predicted, scales
from gradflow.sweeps.rows import summarized
from gradflow.training.devices import run_meta

#: Called with (points measured, points in all).
Progress = Callable[[int, int], None]
#: What tells a point from the others.
_Place = tuple[str, int, int, float, float]
#: Of torch, wherever a task runs: numbers depend on how sums are split.
_THREADS = 1


def sweep(
    config: SweepConfig,
    *,
    known: Iterable[SweepRow] = (),
    progress: Progress | None = None,
) -> SweepResult:
    """Measure networks of every setting in `config`, those of one shape together.

    Parameters
    ----------
    config
        The grid.
    known
        Rows of an earlier sweep of the same config, which are not measured again.
    progress
        Called with how many points were measured, and of how many.

    Returns
    -------
    SweepResult
        A row per point, in the order of the grid. After Ctrl-C, those that were measured.

    Raises
    ------
    GradflowError
        If a name is unknown, a network too large, or a worker ended.
    """
    required(config, SweepConfig, "sweep")
    for act, width in itertools.product(config.act, config.widths):
        activation(act, alpha=config.alpha)
        config.network(act, width, max(config.depths))  # refused before anything is measured
    rows = {_place(row): row for row in known}
    facts = _run(config, rows, progress or (lambda _done, _total: None))
    if facts.failed and not rows:
        raise GradflowError("nothing could be measured: {}: {}".format(*facts.failed[0]))
    return judged(_result(config, rows, facts), checks.CHECKS)


def _run(config: SweepConfig, rows: dict[_Place, SweepRow], progress: Progress) -> SweepFacts:
    """Fill `rows`; return what became of the tasks."""
    todo = [left for task in tasks(config) if (left := _missing(task, rows)).points]

    def on_value(_number: int, new: list[SweepRow]) -> None:
        rows.update((_place(row), row) for row in new)
        progress(len(rows), config.points)

    progress(len(rows), config.points)
    place = Place(config.workers, config.cluster, _THREADS)
    outcome = run_each(measure_task, todo, place, on_value)
    failed = tuple((_named(todo[number]), why) for number, why in sorted(outcome.failed.items()))
    return SweepFacts(interrupted=not outcome.finished, wanted=config.points, failed=failed)


def _named(task: Task) -> str:
    """Name the points of a task."""
    points = len(task.points)
    at = ", ".join(f"{p.weight_variance:g}" for p in task.points[:3])
    more = f" and {points - 3} more" if points > 3 else ""
    return f"{task.act}, width {task.width}, depth {task.depth}, σ_w² = {at}{more}"


def _place(row: SweepRow) -> _Place:
    return row.activation, row.width, row.depth, row.weight_variance, row.bias_variance


def _missing(task: Task, rows: dict[_Place, SweepRow]) -> Task:
    name = activation(task.act).name
    left = [
        p
        for p in task.points
        if (name, task.width, task.depth, p.weight_variance, p.bias_variance) not in rows
    ]
    return dataclasses.replace(task, points=tuple(left))


def _result(config: SweepConfig, rows: dict[_Place, SweepRow], facts: SweepFacts) -> SweepResult:
    network = config.network(config.act[0], config.widths[0], 1)
    mean_squares = {width: _mean_square(config, width) for width in config.widths}
    records = tuple(_with_predictions(config, rows, mean_squares))
    curves = tuple(scales(config, mean_squares[config.widths[0]]))
    return SweepResult(
        records=records,
        summary=tuple(summarized(records, curves)),
        meta=run_meta(network, _THREADS, dataclasses.asdict(config)),
        facts=facts,
        scales=curves,
        edges=tuple(edges(config)),
    )


def _mean_square(config: SweepConfig, width: int) -> float:
    """The mean square of the inputs, which are those of every depth."""
    network = config.network(config.act[0], width, 1)
    inputs = batch(network, torch.float32, torch.device("cpu")).inputs
    return float(inputs.double().square().mean())


def _with_predictions(
    config: SweepConfig, rows: dict[_Place, SweepRow], mean_squares: dict[int, float]
) -> Iterable[SweepRow]:
    """The rows in the order of the grid, each with its prediction."""
    for act, width, bias in itertools.product(config.act, config.widths, config.bias_variances):
        phi = activation(act, alpha=config.alpha)
        gradients = predicted(phi, config, bias, mean_squares[width])
        for depth, weight in itertools.product(config.depths, config.weight_variances):
            row = rows.get((phi.name, width, depth, weight, bias))
            if row is not None:
                ratio = gradients[depth, weight]
                yield dataclasses.replace(row, predicted_gradient_log10=ratio)
