"""What a watch leaves of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.measurement.norms import Numbers


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
