"""What the losses of a run say. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import linear_regression, median, pstdev

from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    ALIKE,
    COLLAPSED,
    DIVERGED,
    DRAWN_ALIKE,
    ENOUGH_EXAMPLES,
    FAR_DOWN,
    FELL,
    FEW_STEPS,
    GRADIENT_GROWTH,
    JUMP,
    LEAST_LOSSES,
    MANY_STEPS,
    MOVED,
    RISEN,
    SHORT_RUN,
    SPREAD_KEPT,
    STILL_FALLING,
    STUCK_FOR_GOOD,
    STUCK_STEPS,
)
from gradflow.findings.words import at, dead_rows, named_layers
from gradflow.results.base import Finding
from gradflow.results.watching import WatchResult, WatchRow, WatchStepRow
from gradflow.watching.growth import growth, growth_said
from gradflow.watching.loop_checks import step_size
from gradflow.watching.outcome import Curve, constant_loss, losses_curve, outcome


@check("diverged")
def diverged(result: WatchResult) -> Iterator[Finding]:
    """A loss that ends far above its start."""
    found = losses_curve(result)
    if found is None or min(found.first, found.lowest) <= 0:
        return
    times = found.last / found.first
    if times < DIVERGED or found.last - found.first < 4 * found.noise:
        return
    alone = constant_loss(result) is not None and not _has_a_rival(result)
    sure = alone or times > DIVERGED**3
    grown = growth(result)
    also = ""
    if grown is not None and grown.decades >= GRADIENT_GROWTH:
        also = f"; {growth_said(result, grown)}"
    yield finding(
        "diverged",
        f"the loss ended at {found.last:.4g}, {times:.2g} times its start of {found.first:.4g}"
        + also,
        "a lower learning rate, or clipping",
        severity="error" if sure else "warning",  # a generator's grows as its rival learns
    )


def _has_a_rival(result: WatchResult) -> bool:
    """Return whether another model, with an optimizer of its own, makes the loss what it is."""
    batch = result.facts.batch
    return batch is not None and batch.through_others


@check("exploding")
def growing(result: WatchResult) -> Iterator[Finding]:
    """A gradient that grows and grows, where nothing else says why the run has not learnt."""
    grown, found = growth(result), losses_curve(result)
    if grown is None or grown.decades < GRADIENT_GROWTH or outcome(result) == "learnt":
        return
    if found is None or result.facts.first_nonfinite is not None or _said_otherwise(result):
        return
    yield finding(
        "exploding",
        f"{growth_said(result, grown)}: the loss went from {found.first:.4g} to {found.last:.4g}",
        "clipping near the norm of the first steps, a lower learning rate, and weights that cannot "
        "grow (normalisation, orthogonal recurrent weights, an LSTM or GRU)",
        layers=() if grown.layer is None else (grown.layer,),
        severity="warning",
    )


def _said_otherwise(result: WatchResult) -> bool:
    """Whether the same cause has a better name: a loss that diverges, steps that are too large."""
    large = any("changed the weights by" in f.message for f in step_size(result))
    return large or any(True for _ in diverged(result))


@check("stuck")
def stuck(result: WatchResult) -> Iterator[Finding]:
    """A loss that stays where it began, or where a constant prediction is."""
    found, spread = losses_curve(result), result.facts.spread
    if found is None or found.count < STUCK_STEPS or outcome(result) != "not":
        return
    if _has_a_rival(result):  # whose own loss is judged
        return
    if found.first > 0 and found.last > DIVERGED * found.first:
        return
    constant = constant_loss(result)
    alike = spread is not None and spread.last < ALIKE
    risen = constant is None and found.last > RISEN * found.first
    start = found.first if constant is None else min(found.first, constant)
    if found.lowest < FELL * start or risen:  # a game's loss rises when its rival learns
        return
    long = result.seen >= STUCK_FOR_GOOD
    said = f"; a constant prediction has {constant:.4g}" if constant is not None else ""
    same = "; the outputs are alike for all examples" if alike else ""
    yield finding(
        "stuck",
        f"the loss went from {found.first:.4g} to {found.last:.4g} in {found.count} recorded "
        f"steps{said}{same}",
        "see what else is said here; else look whether the targets can be told from the inputs",
        severity="error" if alike and constant is not None and long else "warning",
    )


@check("unfinished")
def unfinished(result: WatchResult) -> Iterator[Finding]:
    """A loss that was still falling fast when the run ended."""
    found = losses_curve(result)
    if found is None or found.last < 0 or found.last < FAR_DOWN * found.first:
        return
    moved = [m for m in result.facts.moved if m is not None]
    if found.count <= FEW_STEPS and moved and median(moved) < 2 * MOVED:
        yield _too_few(result, found, median(moved))
        return
    if _short_and_steady(result):
        yield _still_falling(result, found)
        return
    if not found.clear:
        return
    second = found.middle - found.last
    if second < STILL_FALLING * found.fall or second < 4 * found.noise:
        return
    yield _still_falling(result, found)


def _still_falling(result: WatchResult, found: Curve) -> Finding:
    return finding(
        "unfinished",
        f"the loss was still falling when training ended: from {found.first:.4g} over "
        f"{found.middle:.4g} halfway to {found.last:.4g}, in {result.seen} steps",
        "more steps (more epochs, smaller batches), or a higher learning rate",
    )


def _short_and_steady(result: WatchResult) -> bool:
    """Return whether the losses of a short run lie along a falling line, noise or not."""
    losses = [s.loss for s in result.steps if s.loss is not None and math.isfinite(s.loss)]
    if not LEAST_LOSSES < len(losses) <= SHORT_RUN or outcome(result) == "learnt":
        return False
    places, half = list(range(len(losses))), len(losses) // 2
    slope, start = linear_regression(places, losses)
    rest = [loss - start - slope * i for i, loss in zip(places, losses, strict=True)]
    error = pstdev(rest) / (pstdev(places) * math.sqrt(len(losses)))
    late, _ = linear_regression(places[half:], losses[half:])
    return slope < -4 * error and late < slope / 2


def _too_few(result: WatchResult, found: Curve, moved: float) -> Finding:
    return finding(
        "unfinished",
        f"the run ended after {result.seen} steps, in which the weights moved by at most "
        f"{moved:.2g} of their norm and the loss went from {found.first:.4g} to {found.last:.4g}",
        "more steps: more epochs, or smaller batches",
    )


@check("spike")
def spike(result: WatchResult) -> Iterator[Finding]:
    """A loss that jumps far above its start and comes back."""
    steps = [s for s in result.steps if s.loss is not None and math.isfinite(s.loss)]
    if min((s.loss or 0.0 for s in steps), default=0.0) < 0:  # multiples mean nothing
        return
    jumps = [j for j in range(5, len(steps)) if _jumps(steps, j)]
    if not jumps:
        return
    first = steps[jumps[0]]
    layer = _first_layer(result, first.step)
    where = (
        f"; the gradient grew most in {named_layers(at(result.records, (layer,)))}" if layer else ""
    )
    yield finding(
        "spike",
        f"the loss jumped to {first.loss:.4g} at step {first.step}, from about "
        f"{_usual(steps, jumps[0]):.4g}{where}"
        + (f"; {len(jumps)} steps in all" if len(jumps) > 1 else ""),
        "a lower learning rate, a longer warm-up, or clipping near the usual norm",
        layers=() if layer is None else (layer,),
    )


def _usual(steps: list[WatchStepRow], place: int) -> float:
    return median(s.loss for s in steps[max(0, place - 10) : place] if s.loss is not None)


def _jumps(steps: list[WatchStepRow], place: int) -> bool:
    here, usual, start = steps[place].loss, _usual(steps, place), steps[0].loss
    if here is None or start is None or usual <= 0:
        return False
    return here > JUMP * usual and here > 2 * start


def _first_layer(result: WatchResult, step: int) -> int | None:
    """Return the row of the layer whose gradient grew most at a step, over its usual one."""
    usual: dict[int, list[float]] = {}
    here: dict[int, float] = {}
    for row in result.history:
        if row.gradient_log10_norm is None or not math.isfinite(row.gradient_log10_norm):
            continue
        if step - 10 <= row.step < step:
            usual.setdefault(row.index, []).append(row.gradient_log10_norm)
        elif row.step == step:
            here[row.index] = row.gradient_log10_norm
    grown = {i: g - median(usual[i]) for i, g in here.items() if i in usual}
    return max(grown, key=lambda i: grown[i]) if grown and max(grown.values()) > 0.5 else None


@check("collapse")
def collapse(result: WatchResult) -> Iterator[Finding]:
    """Outputs, or codes inside, that come to be the same for every example."""
    if len(result.steps) < LEAST_LOSSES or result.facts.first_nonfinite is not None:
        return  # of NaN nothing differs
    found = (
        _one_code(result) or _same_draw(result) or _alike_outputs(result) or _alike_inside(result)
    )
    if found is not None:
        yield found


def _alike_outputs(result: WatchResult) -> Finding | None:
    spread = result.facts.spread
    most = ALIKE if _of_outputs(result) else COLLAPSED
    if spread is None or spread.last > most or spread.last > SPREAD_KEPT * spread.first:
        return None
    return finding(
        "collapse",
        f"the outputs came to be the same for all examples: they differ by {spread.last:.1g} of "
        f"their size, {spread.first:.1g} at the first step{_from_where(result)}",
        "look for weight decay, dead units or a loss that one point satisfies: contrastive losses "
        "need negative examples, a stop-gradient or a variance term",
        severity="warning",
    )


def _from_where(result: WatchResult) -> str:
    """Say from which layer on everything is the same."""
    rows = _inside(result)[:1]
    return f"; so are they in front of {named_layers(rows)}" if rows else ""


def _inside(result: WatchResult) -> list[WatchRow]:
    """Return layers whose inputs came to be the same for all examples."""
    pairs = zip(result.records, result.facts.inner_spread, strict=False)
    return [
        row
        for row, spread in pairs
        if spread and spread[1] <= COLLAPSED and spread[1] <= SPREAD_KEPT * spread[0]
    ]


def _alike_inside(result: WatchResult) -> Finding | None:
    """A code that came to be the same for every example, though the outputs did not."""
    rows = _inside(result)
    if not rows or outcome(result) == "learnt" or dead_rows(result.records):
        return None
    first, last = result.facts.inner_spread[result.records.index(rows[0])] or (0.0, 0.0)
    return finding(
        "collapse",
        f"what {named_layers(rows[:1])} is given came to be the same for all examples: it differs "
        f"by {last:.1g} of its size, {first:.1g} at the first step",
        "look what in front of it no longer reacts to the inputs: dead units, weight decay, or a "
        "way around it that the loss prefers",
        layers=(rows[0].index,),
        severity="warning",
    )


def _of_outputs(result: WatchResult) -> bool:
    """Whether outputs are held against outputs alone: one point for all is their best answer."""
    criteria = result.facts.batch.criteria if result.facts.batch is not None else ()
    return bool(criteria) and all(criterion.of_outputs for criterion in criteria)


def _one_code(result: WatchResult) -> Finding | None:
    """A codebook of which one code stands for everything."""
    batch = result.facts.last_batch
    books = [c.codebook for c in batch.criteria if c.codebook] if batch is not None else []
    lookups = [b.lookups for b in books if b.used == 1 and b.lookups >= ENOUGH_EXAMPLES]
    if not lookups or len(result.steps) < FEW_STEPS:
        return None
    return finding(
        "collapse",
        f"all {lookups[0]} vectors of a batch are given the same code: the others of the codebook "
        "are never used",
        "codes that start at vectors of the first batch, unused ones put there again; or codes "
        "that follow by moving averages",
        severity="warning",
    )


def _same_draw(result: WatchResult) -> Finding | None:
    """A drawn code that says nothing of its example."""
    first, last = result.facts.batch, result.facts.last_batch
    signal = None if last is None else last.drawn_signal
    if first is None or first.drawn_signal is None or signal is None:
        return None
    if len(result.steps) < MANY_STEPS or signal > min(DRAWN_ALIKE, first.drawn_signal):
        return None
    return finding(
        "collapse",
        f"the code that is drawn says nothing of its example: between examples its mean has "
        f"{signal:.1g} of the variance of the draw, in the unit where that is largest",
        "a smaller weight of the divergence from the prior, one that grows from 0, or free bits",
        severity="warning",
    )
