"""What a sweep does wherever its tasks run: measures networks, and trains them. No theory."""

from __future__ import annotations

import dataclasses

from gradflow.results.sweep import SweepRow
from gradflow.sweeps.grid import Task
from gradflow.sweeps.networks import measured


def measure_task(task: Task) -> list[SweepRow]:
    """Return the rows of a task's points, their predictions left out."""
    rows = measured(task)
    if task.config.train is None:
        return rows
    from gradflow.sweeps.training import trained  # the data and the optimizers of a training

    learnt = trained(task, task.config.train)
    return [
        dataclasses.replace(row, accuracy=it.accuracy, learning_rate=it.rate)
        for row, it in zip(rows, learnt, strict=True)
    ]
