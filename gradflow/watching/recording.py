"""What a watch leaves of a training run: plain data, from which its result is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers
from gradflow.results.base import RunMeta
from gradflow.results.watching import WatchFacts


class Norms(NamedTuple):
    """Norms of parameters by name, on their device; −∞ where there was no gradient."""

    names: tuple[str, ...]
    numbers: Numbers


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
    """

    step: int
    before: Norms
    after: Norms | None = None
    weights: Norms | None = None
    updates: Norms | None = None


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
    """

    layers: tuple[WatchedLayer, ...]
    snapshots: tuple[Snapshot, ...]
    sampled: Floats
    skipped_sampled: Floats
    every: int
    seen: int
    skipped: int
    facts: WatchFacts = field(default_factory=WatchFacts)
    meta: RunMeta = field(default_factory=RunMeta)
