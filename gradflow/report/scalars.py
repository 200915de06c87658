"""A watched run as scalars for TensorBoard, which is an extra."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

from gradflow.errors import GradflowError
from gradflow.results.watching import WatchResult


def write(result: WatchResult, folder: str | Path) -> Path:
    """Write every recorded step of `result` to an event file in `folder`.

    Tags are ``gradflow/quantity/layer``, and ``gradflow/norm_before`` and ``norm_after`` of the
    whole gradient.

    Raises
    ------
    GradflowError
        If tensorboard is not installed, or the folder cannot be written to.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise GradflowError(
            f"to_tensorboard needs tensorboard: {error}",
            "pip install 'gradflow-diagnostics[tensorboard]'",
        ) from None
    try:
        writer = EventFileWriter(str(folder))
    except OSError as error:
        raise GradflowError(f"cannot write to '{folder}': {error.strerror}") from error
    try:
        now = time.time()
        for tag, step, value in scalars(result):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=now, step=step, summary=summary))
    finally:
        writer.close()
    return Path(folder)


def scalars(result: WatchResult) -> Iterator[tuple[str, int, float]]:
    """Yield (tag, step, value) of everything that was measured and is finite."""
    names = {row.index: row.name for row in result.records}
    for step in result.steps:
        for name in ("norm_before", "norm_after"):
            yield from _one(f"gradflow/{name}", step.step, getattr(step, name))
    for row in result.history:
        for field in dataclasses.fields(row)[2:]:
            tag = f"gradflow/{field.name}/{names[row.index]}"
            yield from _one(tag, row.step, getattr(row, field.name))


def _one(tag: str, step: int, value: float | None) -> Iterator[tuple[str, int, float]]:
    if value is not None and math.isfinite(value):
        yield tag, step, value
