"""Result of ``lr``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column


@dataclass(frozen=True)
class RateRow(Row):
    """One step of the range test; over several seeds every value is the median.

    Attributes
    ----------
    loss
        After the step at this rate; ∞ for a seed that has diverged. ``_low``, ``_high``: smallest
        and largest over the seeds.
    seeds
        That came so far.
    """

    step: int = column("step", "d")
    rate: float = column("learning rate", ".2e")
    loss: float = column("loss after it", ".4g")
    loss_low: float | None = column("lowest", ".4g", priority=2, default=None)
    loss_high: float | None = column("highest", ".4g", priority=2, default=None)
    seeds: int = column("seeds", "d", priority=1, default=1)


@dataclass(frozen=True, kw_only=True)
class LearningRateResult(Result):
    """A range test: what the loss does while the learning rate grows from step to step.

    Attributes
    ----------
    optimizer
        That the rates are for.
    suggested
        The rate to start from. ``_low``, ``_high``: the smallest and largest over the seeds.
    largest_stable
        The largest rate that was tried at which the loss did not rise above its start.
    estimate
        What one pass says, without a step of the test.
    start
        The loss before the first step.
    lost_decades
        Of gradient descent: by how many powers of ten the gradient of half of the weight matrices
        lies below the largest, each beside its weights.
    passes
        Forward and backward passes that one seed took.
    in_use
        The rate that the user named to be judged, if any.
    """

    command: ClassVar[str] = "lr"
    row_type: ClassVar[type[Row]] = RateRow

    optimizer: str = ""
    suggested: float | None = None
    suggested_low: float | None = None
    suggested_high: float | None = None
    largest_stable: float | None = None
    largest_stable_low: float | None = None
    largest_stable_high: float | None = None
    estimate: float | None = None
    estimate_low: float | None = None
    estimate_high: float | None = None
    start: float | None = None
    lost_decades: float | None = None
    passes: int = 0
    in_use: float | None = None

    @property
    def title(self) -> str:
        """Say the rate, its interval over the seeds, and up to where training is stable."""
        if self.suggested is None:
            return f"{self.optimizer}: no learning rate to be found"
        said = f"{self.optimizer}: a learning rate of {self.suggested:.2g}"
        if self.suggested_low is not None and self.suggested_high is not None:
            seeds = len(self.meta.seeds)
            ends = f"{self.suggested_low:.2g}", f"{self.suggested_high:.2g}"
            spread = " to ".join(ends) if ends[0] != ends[1] else "the same"
            said += f" ({spread} over {seeds} seeds)"
        if self.largest_stable is not None:
            said += f"; stable up to {self.largest_stable:.2g}"
        return said
