"""What a watch leaves of a training run: plain data, from which its result is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers
from gradflow.results.base import RunMeta


@dataclass
class Snapshot:
    """One recorded step, on the model's device: per parameter, and per layer.

    Attributes
    ----------
    before, after
        (parameters,): norms of the gradients as backward left them, unscaled; and as the
        optimizer met them, None where nothing had changed them.
    factor
        (1,): the last gradient's norm at the step over that after backward. A GradScaler's own
        kernel changes gradients without a trace in their version.
    weights, updates
        (parameters,): norms of the parameters, and of what the optimizer did to them.
    """

    step: int
    before: Numbers
    after: Numbers | None = None
    factor: Numbers | None = None
    weights: Numbers | None = None
    updates: Numbers | None = None


@dataclass(frozen=True)
class WatchedLayer:
    """A module that owns trained matrices.

    Attributes
    ----------
    parameters
        Places of its matrices among the parameters of every snapshot.
    sensor
        Its place in the table of sampled values; None where nothing of it was sampled.
    """

    name: str
    kind: str
    parameters: tuple[int, ...]
    sensor: int | None = None


@dataclass(frozen=True)
class Recording:
    """A watched run.

    Attributes
    ----------
    parameters
        How many there are in every snapshot.
    sampled
        (steps, sensors, quantities): see `step_table.SAMPLED`.
    seen, skipped
        Steps that were taken, and those that a GradScaler left out.
    compiled
        Whether the model goes through `torch.compile`.
    batch_norm
        Whether a part of it normalises over the batch.
    """

    layers: tuple[WatchedLayer, ...]
    parameters: int
    snapshots: tuple[Snapshot, ...]
    sampled: Floats
    every: int
    seen: int
    skipped: int
    compiled: bool
    batch_norm: bool = False
    meta: RunMeta = field(default_factory=RunMeta)
