"""Trials of clipping policies as rows: medians over the seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradflow.arrays import Floats
from gradflow.clipping.effect import Effect, changed_fraction, cosine, share
from gradflow.clipping.policies import Clipping
from gradflow.clipping.training import TrainingCurves
from gradflow.results.clipping import ClippedLayerRow, PolicyRow, StepRow, tally


@dataclass(frozen=True)
class Trial:
    """One policy: what it does to every seed's first gradient, and its training, if any."""

    clipping: Clipping
    effects: tuple[Effect, ...]
    curves: TrainingCurves | None
    proposal: str | None = None


def policy_row(trial: Trial, chance: float) -> PolicyRow:
    """Return the row of one policy; `chance` as in `tasks.Problem`."""
    wholes = [effect.whole() for effect in trial.effects]
    row = PolicyRow(
        policy=trial.clipping.label,
        threshold=trial.clipping.limit,
        norm_before=float(np.median([float(before.norm()) for before, _ in wholes])),
        norm_after=float(np.median([float(after.norm()) for _, after in wholes])),
        cosine=median([cosine(before, after) for before, after in wholes]),
        clipped_fraction=_mean(changed_fraction(before, after) for before, after in wholes),
        layers_touched=_mean(effect.layers_touched for effect in trial.effects),
        proposal=trial.proposal,
        seeds=len(trial.effects),
    )
    if trial.curves is None or not len(trial.curves.loss):
        return row
    return _trained(row, trial.curves, chance)


def _trained(row: PolicyRow, curves: TrainingCurves, chance: float) -> PolicyRow:
    diverged = [step for step in curves.diverged_at(chance) if step is not None]
    final = curves.final_loss
    return dataclasses.replace(
        row,
        final_loss=float(np.median(final)),
        final_loss_low=float(final.min()),
        final_loss_high=float(final.max()),
        diverged=bool(diverged),
        diverged_seeds=len(diverged),
        diverged_step=min(diverged, default=None),
        engaged_fraction=curves.engaged_fraction,
        outcome=tally(curves.outcomes(chance)),
    )


def step_rows(trial: Trial) -> Iterator[StepRow]:
    """Yield a row per step, up to the one at which the last seed stopped."""
    curves = trial.curves
    if curves is None:
        return
    for step in range(len(curves.loss)):
        loss, before, after = (
            part[step] for part in (curves.loss, curves.norm_before, curves.norm_after)
        )
        running = int((~np.isnan(after) | (curves.stopped == step + 1)).sum())
        if running == 0:
            return
        yield StepRow(
            trial.clipping.label,
            step + 1,
            _median(loss),
            _median(before),
            _median(after),
            *_range(loss),
            *_range(before),
            running,
        )


def _median(values: Floats) -> float:
    """Median in which what is not finite counts as ∞."""
    return float(np.median(np.where(np.isfinite(values), values, math.inf)))


def _range(values: Floats) -> tuple[float | None, float | None]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def layer_rows(trial: Trial, names: Sequence[str]) -> list[ClippedLayerRow]:
    """Return a row per layer: means of the shares, medians of the rest, over the seeds."""
    return [
        _layer_row(trial.clipping.label, index, name, trial.effects)
        for index, name in enumerate(names, start=1)
    ]


def _layer_row(label: str, index: int, name: str, effects: Sequence[Effect]) -> ClippedLayerRow:
    before = [effect.before[index - 1] for effect in effects]
    after = [effect.after[index - 1] for effect in effects]
    pairs = list(zip(before, after, strict=True))
    return ClippedLayerRow(
        policy=label,
        index=index,
        name=name,
        norm=median([float(a.norm()) for a in after]) or 0.0,
        share=_mean(share(e.after, index - 1) for e in effects),
        cosine=median([cosine(b, a) for b, a in pairs]),
        clipped_fraction=_mean(changed_fraction(b, a) for b, a in pairs),
        share_before=_mean(share(e.before, index - 1) for e in effects),
        norm_before=median([float(b.norm()) for b in before]) or 0.0,
    )


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of what is known; None where nothing is."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = (known[(len(known) - 1) // 2], known[len(known) // 2])
    return middle[0] if middle[0] == middle[1] else (middle[0] + middle[1]) / 2


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)
