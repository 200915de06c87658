"""What a watch leaves of a training run: plain data, from which its result is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers
from gradflow.results.base import RunMeta
from gradflow.results.facts import BatchFacts, RefusedFacts
from gradflow.results.watching import ConflictFacts, OptimizerFacts, WatchFacts


class Norms(NamedTuple):
    """Norms of parameters by name, on their device; −∞ where there was no gradient."""

    names: tuple[str, ...]
    numbers: Numbers


class Loss(NamedTuple):
    """What a backward pass began with, on its device, and what it had been multiplied by."""

    value: float | Tensor | None
    scale: Tensor | None = None

    @property
    def lost(self) -> bool:
        """Whether it is known not to be finite, without waiting for a device."""
        return isinstance(self.value, float) and not math.isfinite(self.value)


class StepNotes(NamedTuple):
    """What was noted of the loop at a recorded step.

    Attributes
    ----------
    losses
        Of the backward passes that the step follows.
    rate
        The learning rate.
    stale
        Norms of gradients that the last step had left; None where nothing was left, or looked at.
    looked
        Whether it was looked at.
    """

    losses: tuple[Loss, ...] = ()
    rate: float | Tensor | None = None
    stale: Numbers | None = None
    looked: bool = False


@dataclass(frozen=True)
class LoopNotes:
    """What was noted of the loop as a whole, as plain data.

    Attributes
    ----------
    unowned
        Parameters that no optimizer stepped, of those that have a gradient at the end.
    final
        Norms of all parameters at the end.
    nonfinite_layer
        The first layer whose output was not finite, where the loss became so; "" for the inputs.
    """

    optimizer: OptimizerFacts | None = None
    unowned: tuple[str, ...] = ()
    final: Norms | None = None
    nonfinite_layer: str | None = None
    first_batch: BatchFacts | None = None
    last_batch: BatchFacts | None = None
    lost_batch: BatchFacts | None = None
    inner: tuple[dict[str, float], ...] = ()
    conflicts: ConflictFacts | None = None
    refused: RefusedFacts | None = None


@dataclass
class Snapshot:
    """One recorded step.

    Attributes
    ----------
    before, after
        Of the gradients as backward left them, unscaled, and as the optimizer met them; None where
        nothing had changed them.
    weights, updates
        Of the matrices, and of what the optimizer did to them.
    notes
        Of the loop.
    spreads
        Of the model's inputs and outputs over the examples: see `gradflow.watching.spread`.
    """

    step: int
    before: Norms
    after: Norms | None = None
    weights: Norms | None = None
    updates: Norms | None = None
    notes: StepNotes = StepNotes()
    spreads: tuple[Numbers, Numbers] | None = None


@dataclass(frozen=True)
class WatchedLayer:
    """A module that owns trained matrices.

    Attributes
    ----------
    parameters
        Names of its matrices.
    place
        In the table of sampled values; None where nothing of it was sampled.
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    place: int | None = None


@dataclass(frozen=True)
class Recording:
    """A watched run.

    Attributes
    ----------
    sampled, skipped_sampled
        (steps, layers, quantities): see `gradflow.watching.sampled.SAMPLED`; of the recorded steps,
        and of those that a GradScaler left out.
    seen, skipped
        Steps that were taken, and those that a GradScaler left out.
    attention
        Entropy and saturation of attention in the first batch that was learnt from, by the place of
        the layer that it belongs to.
    """

    layers: tuple[WatchedLayer, ...]
    snapshots: tuple[Snapshot, ...]
    sampled: Floats
    skipped_sampled: Floats
    every: int
    seen: int
    skipped: int
    attention: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    facts: WatchFacts = field(default_factory=WatchFacts)
    loop: LoopNotes = field(default_factory=LoopNotes)
    meta: RunMeta = field(default_factory=RunMeta)
