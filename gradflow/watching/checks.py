"""Checks of a watched run: a result in, a finding or nothing out. Standard library only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from gradflow.findings.thresholds import DEAD, DECADES
from gradflow.findings.words import lost_decades, named_layers
from gradflow.results.base import Finding
from gradflow.results.watching import WatchResult

#: More than half of the updates clipped: something else is wrong (Godbole et al., Deep Learning
#: Tuning Playbook, 2023).
CLIPPED_OFTEN = 0.5
#: A GradScaler starts at 2¹⁶; what shrinks by less than this may be clipping.
_LEAST_SCALE = 8

Check = Callable[[WatchResult], Finding | None]


def broken(result: WatchResult) -> Finding | None:
    """A gradient that is not finite, and the first step at which it was met."""
    bad = [s.step for s in result.steps if not math.isfinite(s.norm_before or 0.0)]
    if not bad:
        return None
    at = [row for row in result.history if row.step == bad[0]]
    layers = tuple(r.index for r in at if not _finite(r.gradient_log10_norm))
    return Finding(
        "broken",
        "error",
        layers,
        f"the gradient is not finite at step {bad[0]}"
        + (f", and in {len(bad) - 1} of the recorded steps after it" if len(bad) > 1 else ""),
        "a lower learning rate, clipping, or a wider dtype",
    )


def _finite(log: float | None) -> bool:
    return log is not None and log < math.inf and not math.isnan(log)


def dead(result: WatchResult) -> Finding | None:
    """Layers nearly all of whose units gave slope 0 for every example of the last window."""
    rows = [row for row in result.records if (row.dead_fraction or 0) >= DEAD]
    if not rows:
        return None
    return Finding(
        "dead",
        "error",
        tuple(row.index for row in rows),
        f"in {named_layers([r.index for r in rows])} at least {DEAD:.0%} of the units gave slope "
        "0 for every example of the last batches",
        "a smaller learning rate, biases nearer to 0, or Leaky ReLU",
    )


def flow(result: WatchResult) -> Finding | None:
    """δ shrinks or grows on its way back, at the median step."""
    hidden = len(result.records) - 1
    lost = lost_decades(result.rate, hidden)
    if lost is None or abs(lost) < DECADES:
        return None
    code, verb = ("vanishing", "shrinks") if lost > 0 else ("exploding", "grows")
    return Finding(
        code,
        "error",
        (),
        f"δ {verb} by {abs(lost):.1f} decades over {hidden} layers (a factor of "
        f"{result.rate:.3g} per layer) at the median step",
        "other weights at the start, normalisation, or residual connections",
    )


def unrecorded(result: WatchResult) -> Finding | None:
    """No step at all, as of an optimizer that trains another model."""
    if result.steps:
        return None
    return Finding(
        "unrecorded",
        "warning",
        (),
        "no step of an optimizer that trains this model was seen",
        "step inside the `with`, with the optimizer that was given, if one was; a loop that "
        "updates by hand calls w.step() between backward and update",
    )


def clipping(result: WatchResult) -> Finding | None:
    """Clipping that engages all the time."""
    if result.clip_rate is None or result.clip_rate <= CLIPPED_OFTEN or scaled(result):
        return None
    factor = "" if result.clip_factor is None else f", to {result.clip_factor:.2g} of the norm"
    return Finding(
        "clipping",
        "warning",
        (),
        f"clipping engaged in {result.clip_rate:.0%} of the recorded steps{factor}: it acts as a "
        "smaller learning rate",
        "a lower learning rate or a longer warm-up; a threshold near the 90th percentile of the "
        "norms",
    )


def scaled(result: WatchResult) -> Finding | None:
    """Gradients that shrink by one exact power of two: a GradScaler that watch was not told of."""
    cut = [s for s in result.steps if s.clipped and s.norm_after and s.norm_before]
    powers = [math.log2((s.norm_before or 1) / (s.norm_after or 1)) for s in cut]
    exact = [p >= _LEAST_SCALE - 1e-3 and abs(p - round(p)) < 1e-4 for p in powers]
    if not powers or not all(exact):
        return None
    return Finding(
        "scaled",
        "warning",
        (),
        f"between backward and step every gradient shrinks by exactly 2^{round(powers[0])}: these "
        "are a GradScaler's, and the magnitudes here are scaled",
        "gradflow.watch(model, scaler=scaler)",
    )


#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check, ...] = (broken, dead, flow, unrecorded, clipping, scaled)


def judged(result: WatchResult, notes: tuple[Finding, ...] = ()) -> WatchResult:
    """Return `result` with its findings, and the first error as its verdict."""
    found = [finding for check in CHECKS if (finding := check(result)) is not None]
    errors = [finding.code for finding in found if finding.severity == "error"]
    verdict = errors[0] if errors else "healthy"
    return dataclasses.replace(result, verdict=verdict, findings=(*found, *notes))


def unread() -> Finding:
    """Say that a compiled model's activations were not read."""
    return Finding(
        "compiled",
        "info",
        (),
        "the model goes through torch.compile: gradients and updates were recorded, activations "
        "were not",
        "gradflow.diagnose(model, …) reads them through the original module",
    )
