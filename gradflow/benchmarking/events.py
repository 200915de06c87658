"""What a training run says while it goes. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.results.benchmark import FlowRow, HistoryRow, Setting


@dataclass(frozen=True)
class Progress:
    """Where one training run is; loss and accuracy are means over the epoch so far."""

    setting: Setting
    seed: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float


@dataclass(frozen=True)
class EpochDone:
    """A finished epoch, and its gradient flow by layer.

    ``restored`` is one that an earlier session trained and a checkpoint kept.
    """

    history: HistoryRow
    flow: tuple[FlowRow, ...]
    restored: bool = False


Event = Progress | EpochDone
