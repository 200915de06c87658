"""Result of ``clip``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column, rows_of


@dataclass(frozen=True)
class PolicyRow(Row):
    """What one policy does to the first gradient, and to training; medians over the seeds.

    Attributes
    ----------
    threshold
        λ of ``agc``, the percentile of ``autoclip``; None for ``none``.
    proposal
        With ``--suggest``: where the threshold comes from.
    norm_before, norm_after, cosine
        Of the first gradient.
    clipped_fraction, layers_touched
        Shares of its entries and of its layers that were changed.
    final_loss
        Mean over the last tenth of the steps; ∞ where it diverged. ``_low``, ``_high``: smallest
        and largest over the seeds.
    diverged
        Whether any seed did; `diverged_seeds`: how many, `diverged_step`: the first to, when.
    outcome
        Seeds that train, stall (end no better than an answer that ignores the input) or diverge.
    engaged_fraction
        Share of the updates that were clipped.
    """

    policy: str = column("policy")
    threshold: float | None = column("threshold", ".3g", priority=4)
    norm_before: float = column("‖g‖", ".4g", priority=3)
    norm_after: float = column("clipped", ".4g", priority=3)
    cosine: float | None = column("cosine", ".4f", priority=2)
    clipped_fraction: float = column("entries cut", ".1%", priority=2)
    final_loss: float | None = column("final loss", ".4g", default=None)
    diverged: bool | None = column("diverged", priority=None, default=None)
    engaged_fraction: float | None = column("steps cut", ".0%", default=None)
    outcome: str = column("outcome", default="")
    diverged_step: int | None = column("from step", "d", priority=1, default=None)
    layers_touched: float | None = column("layers cut", ".0%", priority=5, default=None)
    proposal: str | None = column("where from", priority=0, default=None)
    final_loss_low: float | None = column("lowest", ".4g", priority=None, default=None)
    final_loss_high: float | None = column("highest", ".4g", priority=None, default=None)
    diverged_seeds: int | None = column("seeds diverged", "d", priority=None, default=None)
    seeds: int = column("seeds", "d", priority=None, default=1)


@dataclass(frozen=True)
class ClippedLayerRow(Row):
    """One layer's share of the gradient under one policy.

    ``share`` is the layer's part of the squared global norm, ``share_before`` that of the raw
    gradient. Over several seeds shares are means, norms and cosines medians.
    """

    policy: str = column("policy")
    index: int = column("#")
    name: str = column("layer")
    norm: float = column("norm", ".3e")
    share: float = column("share", ".1%")
    cosine: float | None = column("cosine", ".6f")
    clipped_fraction: float = column("cut", ".1%")
    share_before: float = column("share before", ".1%", default=math.nan)
    norm_before: float = column("norm before", ".3e", default=math.nan)


@dataclass(frozen=True)
class StepRow(Row):
    """One training step under one policy; norms are of the whole gradient.

    Medians over the seeds, in which a seed that has stopped counts as ∞; ``_low`` and ``_high``
    are the smallest and largest of those that still train, of which there are `seeds`.
    """

    policy: str = column("policy")
    step: int = column("step")
    loss: float = column("loss", ".4g")
    norm_before: float = column("‖g‖", ".4g")
    norm_after: float = column("clipped", ".4g")
    loss_low: float | None = column("lowest loss", ".4g", default=None)
    loss_high: float | None = column("highest loss", ".4g", default=None)
    norm_low: float | None = column("lowest ‖g‖", ".4g", default=None)
    norm_high: float | None = column("highest ‖g‖", ".4g", default=None)
    seeds: int = column("seeds", "d", default=1)


@dataclass(frozen=True)
class TimeStepRow(Row):
    """The first raw gradient with respect to the inputs of one step of a sequence, as log₁₀."""

    step: int = column("step")
    gradient_log10: float = column("log₁₀ ‖∂C/∂x‖", "bar")


@dataclass(frozen=True)
class NormsRow(Row):
    """One class of the histogram of the norms that unclipped training met, from `low` to `high`."""

    low: float = column("from", ".3g")
    high: float = column("to", ".3g")
    count: int = column("updates", "d")
    percent: float | None = column("% of them", "bar", default=None)


@dataclass(frozen=True)
class DistributionRow(Row):
    """The norms that unclipped training met.

    Attributes
    ----------
    tail_index
        Hill's estimate from the largest tenth: P(‖g‖ > x) falls like x^−index. None for fewer
        than 100 norms.
    heavy_tail
        Whether that index is below 2, so that the norms have no variance.
    """

    updates: int = column("updates", "d")
    mean: float = column("mean", ".3g")
    median: float = column("median", ".3g")
    percentile_90: float = column("90 %", ".3g")
    percentile_99: float = column("99 %", ".3g")
    largest: float = column("largest", ".3g")
    tail_index: float | None = column("tail index", ".2f", default=None)
    heavy_tail: bool | None = column("heavy tail", default=None)


@dataclass(frozen=True, kw_only=True)
class ClipResult(Result):
    """Clipping policies compared on one gradient and on training.

    Attributes
    ----------
    task, steps
        What was trained, and for how many steps.
    chance
        Loss of the best answer that ignores its input.
    suggested
        With ``--suggest``: the threshold under which training ended best.
    """

    command: ClassVar[str] = "clip"
    row_type: ClassVar[type[Row]] = PolicyRow

    layers: tuple[ClippedLayerRow, ...] = rows_of(ClippedLayerRow)
    history: tuple[StepRow, ...] = rows_of(StepRow)
    flow: tuple[TimeStepRow, ...] = rows_of(TimeStepRow)
    norms: tuple[NormsRow, ...] = rows_of(NormsRow)
    distribution: tuple[DistributionRow, ...] = rows_of(DistributionRow)
    threshold: float = 0.5
    suggested: float | None = None
    task: str = "mlp"
    steps: int = 0
    chance: float | None = None

    @property
    def title(self) -> str:
        """Say what each policy does to the gradient's direction, and which trained best."""
        if self.distribution:
            return self._suggestion()
        kept = _directions([row for row in self.records if row.policy != "none"])
        shared = any(row.threshold == self.threshold for row in self.records)
        limit = f"Threshold {self.threshold:g}: " if shared or not kept else ""
        parts = [f"{limit}{'; '.join(kept) or 'nothing is clipped'}"]
        lost: dict[str, list[str]] = {}
        for row in self.records:
            if row.diverged:
                lost.setdefault(_of_seeds(row), []).append(f"'{row.policy}'")
        parts += [f"Under {listed(p)} training diverges{seeds}" for seeds, p in lost.items()]
        best = best_of(self.records)
        if best is not None and len(self.records) > 1:
            parts.append(f"Lowest loss after {self.steps} steps: {self._lowest(best)}")
        return ". ".join(parts)

    def _lowest(self, best: PolicyRow) -> str:
        """Name the policies that end lowest: all that the table shows to be alike."""
        shown = cell_of(best)
        alike = [f"'{row.policy}'" for row in self.records if cell_of(row) == shown]
        return f"{listed(alike)}{' alike' if len(alike) > 1 else ''}, {_loss(best)}"

    def _suggestion(self) -> str:
        best = best_of(self.records)
        raw = next((row for row in self.records if row.policy == "none"), None)
        if best is None or raw is None:
            return "No threshold was tried to the end"
        if best.threshold is None:
            said = f"Clipping does not help here: {_loss(best)} unclipped is the lowest final loss"
            return f"{said}, and that is no training" if raw.outcome == "stalls" else said
        without = "diverges" if raw.diverged else _loss(raw)
        return (
            f"Clip the norm at {best.threshold:.3g} ({best.proposal}): final loss {_loss(best)}, "
            f"unclipped {without}"
        )


def best_of(records: Sequence[PolicyRow]) -> PolicyRow | None:
    """Return the row of the lowest finite final loss, if there is one."""
    trained = [r for r in records if r.final_loss is not None and math.isfinite(r.final_loss)]
    return min(trained, key=lambda row: row.final_loss or 0.0, default=None)


def listed(names: Sequence[str]) -> str:
    """Return names as words: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def cell_of(row: PolicyRow) -> str:
    """Return the final loss as the table has it."""
    if row.final_loss is None:
        return ""
    return format(row.final_loss, row.columns()["final_loss"].format)


def _of_seeds(row: PolicyRow) -> str:
    """Say in how many seeds, where it is not in all."""
    several = row.diverged_seeds is not None and row.diverged_seeds < row.seeds
    return f" in {row.diverged_seeds} of {row.seeds} seeds" if several else ""


def tally(outcomes: Sequence[str]) -> str:
    """Return one seed's outcome, or how many seeds have which: ``trains 3, stalls 2``."""
    counts = Counter(outcomes)
    if len(counts) <= 1:
        return "".join(counts)
    return ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())


def _loss(row: PolicyRow) -> str:
    return "–" if row.final_loss is None else f"{row.final_loss:.3g}"


def _directions(rows: Sequence[PolicyRow]) -> list[str]:
    """Say what becomes of the gradient, policies of the same effect in one phrase."""
    idle: list[str] = []
    kept: list[str] = []
    turned: list[str] = []
    lost: list[str] = []
    for row in rows:
        if row.cosine is None:
            lost.append(row.policy)
        elif row.norm_before == row.norm_after:
            idle.append(row.policy)
        elif row.cosine > 1 - 1e-6:
            kept.append(row.policy)
        else:
            by = f"by {math.degrees(math.acos(min(max(row.cosine, -1.0), 1.0))):.0f}°"
            turned.append(
                f"{row.policy} {by}" if turned else f"{row.policy} turns the gradient {by}"
            )
    said = [", ".join(turned)]
    said.append(_together(kept, "keeps", "keep", "the gradient's direction"))
    said.append(_together(idle, "changes", "change", "nothing"))
    said.append(_together(lost, "meets", "meet", "a gradient that is 0 or not finite"))
    return [phrase for phrase in said if phrase]


def _together(names: Sequence[str], one: str, several: str, what: str) -> str:
    return f"{', '.join(names)} {one if len(names) == 1 else several} {what}" if names else ""
