"""Facts of one batch, as plain numbers: what its checks read. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchFacts:
    """What was seen of one batch and its loss, just before the backward pass.

    What could not be read is None, or empty.

    Attributes
    ----------
    examples
        In the batch.
    loss
        Its value.
    """

    examples: int | None = None
    loss: float | None = None
