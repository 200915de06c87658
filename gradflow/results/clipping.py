"""Result of ``clip``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column, rows_of


@dataclass(frozen=True)
class PolicyRow(Row):
    """What one policy does to the first gradient, and to training."""

    policy: str = column("policy")
    threshold: float | None = column("threshold", ".3g", priority=3)
    norm_before: float = column("‖g‖", ".4g")
    norm_after: float = column("clipped", ".4g")
    cosine: float | None = column("cosine", ".6f")
    clipped_fraction: float = column("entries cut", ".2%")
    final_loss: float | None = column("final loss", ".4g", default=None)
    diverged: bool | None = column("diverged", priority=1, default=None)
    engaged_fraction: float | None = column("steps cut", ".0%", priority=2, default=None)


@dataclass(frozen=True)
class ClippedLayerRow(Row):
    """One layer's share of the gradient under one policy.

    ``share`` is the layer's part of the squared global norm.
    """

    policy: str = column("policy")
    index: int = column("#")
    name: str = column("layer")
    norm: float = column("norm", ".3e")
    share: float = column("share", ".1%")
    cosine: float | None = column("cosine", ".6f")
    clipped_fraction: float = column("cut", ".1%")


@dataclass(frozen=True)
class StepRow(Row):
    """One training step under one policy; norms are of the global gradient."""

    policy: str = column("policy")
    step: int = column("step")
    loss: float = column("loss", ".4g")
    norm_before: float = column("‖g‖", ".4g")
    norm_after: float = column("clipped", ".4g")


@dataclass(frozen=True, kw_only=True)
class ClipResult(Result):
    """Clipping policies compared on one gradient and on training."""

    command: ClassVar[str] = "clip"
    row_type: ClassVar[type[Row]] = PolicyRow

    layers: tuple[ClippedLayerRow, ...] = rows_of(ClippedLayerRow)
    history: tuple[StepRow, ...] = rows_of(StepRow)
    threshold: float = 0.5

    @property
    def title(self) -> str:
        """Say what each policy does to the gradient's direction."""
        kept = [_direction(row) for row in self.records if row.policy != "none"]
        return f"Threshold {self.threshold:g}: " + ("; ".join(kept) or "nothing is clipped")


def _direction(row: PolicyRow) -> str:
    if row.cosine is None:
        return f"{row.policy} meets a gradient that is 0 or not finite"
    if row.norm_before == row.norm_after:
        return f"{row.policy} changes nothing"
    if row.cosine > 1 - 1e-6:
        return f"{row.policy} keeps the gradient's direction"
    return f"{row.policy} turns the gradient by {math.degrees(math.acos(row.cosine)):.0f}°"
