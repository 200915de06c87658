"""What is wrong with a loop: zeroing, optimizer, step sizes, targets. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median, median_low

from gradflow.findings.batches import OF_CLASSES, in_words, sized
from gradflow.findings.check import check, finding
from gradflow.findings.graph_checks import mixed_by
from gradflow.findings.thresholds import (
    CONFLICTING,
    CREEPING,
    DECAY_SHARE,
    DECAYED,
    DECAYED_AWAY,
    EARLY,
    FADED,
    FEW_STEPS,
    GROWN,
    HUGE_UPDATE,
    LARGE_START,
    LARGE_UPDATE,
    LEAST_SAMPLED,
    MANY_STEPS,
    MOMENTUM,
    MOVED,
    NO_RATE,
    RIGHT_UPDATE,
    SMALL_UPDATE,
    STALE,
    STOPPED_RATE,
    STUCK_STEPS,
    TINY_UPDATE,
)
from gradflow.findings.words import at, indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.facts import RefusedFacts
from gradflow.results.watching import WatchResult, WatchRow
from gradflow.watching.flow import vanishes
from gradflow.watching.outcome import losses_curve, outcome, penalty_won


@check("not-updated")
def not_updated(result: WatchResult) -> Iterator[Finding]:
    """Layers with a gradient whose weights stay as they are."""
    facts = result.facts
    rows = at(result.records, facts.unchanged)
    if rows and len(rows) == len(result.records):
        yield _nothing_changes(result)
    elif rows:
        yield _some_stay(result, rows)
    elif (share := _without_rate(result)) >= STOPPED_RATE and outcome(result) != "learnt":
        rates = [step.learning_rate or 0.0 for step in result.steps]
        yield finding(
            "not-updated",
            f"the learning rate fell from {max(rates):.3g} to {rates[-1]:.3g}, and was below a "
            f"thousandth of its largest in {share:.0%} of the steps: nothing is learnt in those",
            "call scheduler.step() once an epoch if it counts epochs, or make its decay slower",
        )
    elif 2 * (last := _last_without_gradient(result)) >= len(result.steps) >= FEW_STEPS:
        yield finding(
            "not-updated",
            f"in the last {last} of {len(result.steps)} steps no weight of the optimizer had a "
            "gradient: those steps change nothing",
            "call backward() on a loss of this very model: a copy, or one that was loaded or made "
            "again, has weights of its own, and needs an optimizer of its own",
        )


def _some_stay(result: WatchResult, rows: Sequence[WatchRow]) -> Finding:
    missing = any(_of_rows(name, rows) for name in result.facts.unowned)
    lost = not missing and (vanishes(result) or all(map(_faded, rows)))
    why = "no optimizer was given them" if missing else "their updates were exactly 0"
    return finding(
        "not-updated",
        f"{named_layers(rows)} had a gradient at every step and never changed: "
        + ("it has vanished, and the updates round to 0" if lost else why),
        "what mends vanishing: no learning rate does"
        if lost
        else "give the optimizer all parameters, model.parameters(); set requires_grad_(False) on "
        "what is meant to stay as it is",
        layers=indices(rows),
    )


def _faded(row: WatchRow) -> bool:
    return row.gradient_log10_norm is not None and row.gradient_log10_norm < FADED


def _last_without_gradient(result: WatchResult) -> int:
    """Return how many steps at the end followed no backward pass through the model."""
    count = 0
    for step in reversed(result.steps):
        if step.loss is not None or step.norm_before:
            break
        count += 1
    return count


def _nothing_changes(result: WatchResult) -> Finding:
    rates = [step.learning_rate for step in result.steps if step.learning_rate is not None]
    if rates and not max(rates):
        why, advice = "the learning rate was 0 at every step", "a learning rate above 0"
    else:
        at_rate = f" at a learning rate of {max(rates):.3g}" if rates else ""
        why = f"what the optimizer added{at_rate} was exactly 0"
        advice = (
            "a larger learning rate, or weights in float32: an update that is small beside its "
            "weight rounds to 0"
        )
    return finding(
        "not-updated",
        f"every layer had a gradient, and no weight changed: {why}",
        advice,
        layers=indices(result.records),
        severity="error",
    )


def _of_rows(name: str, rows: Sequence[WatchRow]) -> bool:
    return any(name.startswith(row.name) or row.name.startswith(name) for row in rows)


def _without_rate(result: WatchResult) -> float:
    """Return the share of the steps whose learning rate was far below the largest."""
    rates = [step.learning_rate for step in result.steps if step.learning_rate is not None]
    if len(rates) < FEW_STEPS or not max(rates):
        return 0.0
    return sum(rate < NO_RATE * max(rates) for rate in rates) / len(rates)


@check("stale-gradients")
def stale_gradients(result: WatchResult) -> Iterator[Finding]:
    """Backward passes that begin on the gradients of the step before."""
    share = result.facts.stale
    if share is None or share < STALE:
        return
    learnt = outcome(result) == "learnt"
    yield finding(
        "stale-gradients",
        f"in {share:.0%} of the steps looked at the backward pass began on the gradients of the "
        "step before: each step follows the sum of all gradients since they were last set to 0",
        "optimizer.zero_grad() once for every optimizer.step()",
        severity="warning" if learnt else None,
    )


@check("step-size")
def step_size(result: WatchResult) -> Iterator[Finding]:
    """Updates that are far too large or too small for the weights."""
    ratios = update_ratios(result)
    if len(ratios) < LEAST_SAMPLED:
        return
    early = [ratios[step] for step in sorted(ratios)[:EARLY]]
    usual = max(median(ratios.values()), median(early))
    if (momentum := _lasting_momentum(result)) is not None:
        yield _too_heavy(result, momentum)
    elif _shrunk(result) < DECAYED:
        return  # beside weights that are nearly 0 every step is large
    elif (first := _first_update(result)) > HUGE_UPDATE:
        yield _too_large(result, ratios, max(usual, first))
    elif outcome(result) == "learnt":
        return
    elif usual > LARGE_UPDATE:
        yield _too_large(result, ratios, usual)
    elif (start := median(_start(result))) > LARGE_START and not _of_either_sign(result):
        # Whatever it killed moves no more.
        yield _too_large(result, ratios, start)
    elif lost := _rounded_away(result):
        yield _swallowed(result, lost)
    elif 0 < median(ratios.values()) < RIGHT_UPDATE and not vanishes(result):
        yield from _too_small(result, median(ratios.values()))


def _of_either_sign(result: WatchResult) -> bool:
    """Return whether losses lie below 0, as a policy's: that one does not fall means nothing."""
    found = losses_curve(result)
    return found is not None and min(found.first, found.last, found.lowest) < 0


def _first_update(result: WatchResult) -> float:
    """Return ‖Δw‖/‖w‖ of the first step, if the weights then grew manyfold; 0 if not."""
    grown = [s for s in result.facts.shrunk if s is not None]
    if len(grown) < 2 or median_low(grown) < GROWN:  # not of a head alone that began near 0
        return 0.0
    first = min((row.step for row in result.history), default=0)
    ratios = [r.update_ratio for r in result.history if r.step == first and r.update_ratio]
    return median_low(ratios) if ratios else 0.0


def update_ratios(result: WatchResult) -> dict[int, float]:
    """Return the median over the layers of ‖Δw‖/‖w‖, by sampled step; the first few left out."""
    found = _by_step(result)
    first = sorted(found)[: max(0, min(3, len(found) - LEAST_SAMPLED))]
    return {step: ratio for step, ratio in found.items() if step not in first}


def _by_step(result: WatchResult) -> dict[int, float]:
    steps: dict[int, list[float]] = {}
    for row in result.history:
        if row.update_ratio is not None:
            steps.setdefault(row.step, []).append(row.update_ratio)
    return {step: median(ratios) for step, ratios in steps.items()}


def _start(result: WatchResult) -> list[float]:
    """Return the ratios of the first few sampled steps."""
    found = _by_step(result)
    return [found[step] for step in sorted(found)[:LEAST_SAMPLED]]


def _too_large(result: WatchResult, ratios: dict[int, float], usual: float) -> Finding:
    rows = [row for row in result.records if (row.update_ratio or 0) > LARGE_UPDATE]
    often = sum(ratio > LARGE_UPDATE for ratio in ratios.values()) / len(ratios)
    return finding(
        "step-size",
        f"a step changed the weights by {usual:.2g} of their norm at the median"
        f"{_at_rate(result)}, more than {LARGE_UPDATE:g} in {often:.0%} of the sampled steps"
        + (f", most in {named_layers(rows[:1])}" if rows else ""),
        f"{_right_rate(result, usual)}: a step of about {RIGHT_UPDATE:g} of the weights"
        + ("; a loss that is a sum over the batch needs its rate divided by the batch's size"),
        layers=indices(rows),
    )


def _lasting_momentum(result: WatchResult) -> float | None:
    """Return a momentum that remembers more steps than the run has half."""
    momentum = result.facts.optimizer.momentum if result.facts.optimizer else None
    if momentum is None or not MOMENTUM < momentum < 1 or 2 / (1 - momentum) < result.seen:
        return None
    return momentum


def _too_heavy(result: WatchResult, momentum: float) -> Finding:
    steps = 1 / (1 - momentum)
    return finding(
        "step-size",
        f"momentum {momentum:g} adds up the gradients of {steps:.0f} steps, in a run of "
        f"{result.seen}: its steps grow to {steps:.0f} times the gradient's, and turn too late",
        "momentum 0.9",
    )


#: Of weights: significant digits, in words.
_NARROW = {"bfloat16": "two or three", "float16": "three or four"}


def _rounded_away(result: WatchResult) -> list[WatchRow]:
    """Return the layers of narrow weights of which most updates are 0, with a gradient."""
    if result.meta.dtype not in _NARROW:
        return []
    rows = [row for row in result.records if row.update_ratio == 0]
    return [row for row in rows if FADED <= (row.gradient_log10_norm or -math.inf) < math.inf]


def _swallowed(result: WatchResult, rows: list[WatchRow]) -> Finding:
    dtype = result.meta.dtype or ""
    return finding(
        "step-size",
        f"most updates of {named_layers(rows)} came to exactly 0{_at_rate(result)}: {dtype} holds "
        f"{_NARROW[dtype]} digits, and what is smaller beside its weight is lost",
        "weights in float32, with torch.autocast for the speed; or an optimizer that keeps its own "
        "copy of them in float32",
        layers=indices(rows),
    )


def _too_small(result: WatchResult, usual: float) -> Iterator[Finding]:
    moved = [m for m in result.facts.moved if m is not None]
    # In fewer steps the right ones come nowhere either: a first try of a fine-tuning.
    short = result.seen * RIGHT_UPDATE < MOVED
    least = TINY_UPDATE if short else SMALL_UPDATE
    nowhere = bool(moved) and median(moved) < MOVED and usual < least
    if not moved or not (nowhere or (result.seen > MANY_STEPS and _creeps(result))):
        return
    yield finding(
        "step-size",
        f"in {result.seen} steps the weights moved by at most {median(moved):.2g} of their norm "
        f"(the median layer; {usual:.1g} a step{_at_rate(result)}), and the loss "
        f"{_loss_said(result)}",
        # Steps near the usual size may be too small all the same, as the loss shows.
        f"{_right_rate(result, min(usual, RIGHT_UPDATE / 3))}{_clipped_says(result)}",
    )


def _creeps(result: WatchResult) -> bool:
    """Return whether the loss was falling to the end, and had not fallen far."""
    found = losses_curve(result)
    if found is None or found.last < 0 or not found.clear:
        return False
    second = found.middle - found.last
    return second > max(CREEPING * found.fall, 4 * found.noise)


def _loss_said(result: WatchResult) -> str:
    found = losses_curve(result)
    if found is None:
        return "was not seen to fall"
    return f"went from {found.first:.4g} to {found.last:.4g}"


def _clipped_says(result: WatchResult) -> str:
    if not result.clip_rate or result.clip_rate < 0.5 or result.clip_factor is None:
        return ""
    return f"; clipping cuts {result.clip_rate:.0%} of the steps to {result.clip_factor:.1g}"


def _at_rate(result: WatchResult) -> str:
    rates = [s.learning_rate for s in result.steps if s.learning_rate]
    return f" at a learning rate of {median(rates):.3g}" if rates else ""


def _right_rate(result: WatchResult, usual: float) -> str:
    rates = [s.learning_rate for s in result.steps if s.learning_rate]
    if not rates or not 0 < usual < math.inf:
        return "another learning rate"
    right = median(rates) * RIGHT_UPDATE / usual
    return f"a learning rate near {float(f'{right:.0e}'):g}"


@check("weight-decay")
def weight_decay(result: WatchResult) -> Iterator[Finding]:
    """Weights that shrink away under weight decay."""
    optimizer = result.facts.optimizer
    decay = optimizer.weight_decay if optimizer else None
    if not decay or _shrunk(result) > DECAYED:
        return
    pulled, share = _pulled(result, decay), _decay_share(result, decay)
    led = pulled >= DECAYED_AWAY
    if not (led or share >= DECAY_SHARE) or outcome(result) == "learnt":
        return
    why = (
        f"alone takes off a factor of {math.exp(min(pulled, 700)):.2g} in {result.seen} steps"
        if led
        else f"adds {share:.2g} times the gradient to it"
    )
    yield finding(
        "weight-decay",
        f"the weights shrank to {_shrunk(result):.2g} of their norm (the median layer): weight "
        f"decay of {decay:g} {why}",
        "a weight decay of 1e-4 to 1e-2",
        layers=indices(result.records),
    )


@check("weight-decay")
def penalty(result: WatchResult) -> Iterator[Finding]:
    """Weights that shrink away under a penalty in the loss, and nothing learnt of the targets."""
    won = penalty_won(result)
    if won is None or _shrunk(result) > DECAYED:
        return
    first, last = won
    yield finding(
        "weight-decay",
        f"the loss takes the size of the weights, and they shrank to {_shrunk(result):.2g} of "
        f"their norm (the median layer); {in_words(last.kind)} went from {first.first_loss:.4g} to "
        f"{last.first_loss:.4g}, where a constant prediction has {last.constant_loss:.4g}",
        "a penalty far smaller than the loss of the targets: a hundredth of it at the start",
        layers=indices(result.records),
    )


def _decay_share(result: WatchResult, decay: float) -> float:
    """Return how large the decay's part of the gradient is beside the loss's, at the median."""
    optimizer = result.facts.optimizer
    if optimizer is None or optimizer.decoupled:
        return 0.0
    shares = [
        decay * row.weight_norm / 10**row.gradient_log10_norm
        for row in result.history
        if row.weight_norm is not None
        and row.gradient_log10_norm is not None
        and abs(row.gradient_log10_norm) < 30
    ]
    return median(shares) if shares else 0.0


def _shrunk(result: WatchResult) -> float:
    """Return the last ‖w‖ over the first, of the median layer."""
    known = [s for s in result.facts.shrunk if s is not None]
    return median(known) if known else 1.0


def _pulled(result: WatchResult, decay: float) -> float:
    """Return the logarithm of the factor that the decay alone would take off."""
    rates = [s.learning_rate for s in result.steps if s.learning_rate is not None]
    if not rates:
        return 0.0
    optimizer = result.facts.optimizer
    momentum = optimizer.momentum if optimizer and optimizer.kind == "SGD" else None
    friction = 1 - momentum if momentum and momentum < 1 else 1.0
    return decay * sum(rates) / len(rates) * result.seen / friction


@check("targets", "shapes", "output-activation")
def refused(result: WatchResult) -> Iterator[Finding]:
    """Labels or shapes that a criterion did not take, so that the program ended there."""
    found = result.facts.refused
    if found is None:
        return
    severity = "warning" if result.steps else "error"  # a loop may catch it, and go on
    classes = found.output[:2][-1] if found.output else 0
    of_classes, labels = found.kind in OF_CLASSES, found.labels
    if of_classes and labels is not None and not 0 <= labels[0] <= labels[1] < classes:
        yield finding(
            "targets",
            f"the labels go from {labels[0]} to {labels[1]}, and {in_words(found.kind)} of "
            f"{classes} classes takes 0 to {classes - 1}: it raised {found.why!r}",
            "labels that begin at 0, and as many outputs as there are classes; ignore_index for "
            "labels that do not count",
            severity=severity,
        )
    elif found.output == found.target and not of_classes:
        yield from _out_of_bounds(found, severity)
    elif found.output[:1] != found.target[:1] or not of_classes:
        yield finding(
            "shapes",
            f"{in_words(found.kind)} was given outputs of shape {sized(found.output)} and targets "
            f"of shape {sized(found.target)}, and raised {found.why!r}",
            "outputs and targets of one shape; for class indices outputs (examples, classes) and "
            "targets (examples,)",
            severity=severity,
        )


def _out_of_bounds(found: RefusedFacts, severity: str) -> Iterator[Finding]:
    """Outputs or targets of one shape that are no probabilities."""
    said = f"{in_words(found.kind)} takes {{}} from 0 to 1 alone: it raised {found.why!r}"
    if "input should be between 0 and 1" in found.why:
        yield finding(
            "output-activation",
            said.format("outputs"),
            "binary_cross_entropy_with_logits on what the last layer gives, or a sigmoid after it; "
            "outputs that are not a number come from steps that are too large",
            severity=severity,
        )
    elif "target should be between 0 and 1" in found.why:
        yield finding(
            "targets",
            said.format("targets"),
            "labels 0 and 1; images divided by 255",
            severity=severity,
        )


@check("targets")
def conflicting_targets(result: WatchResult) -> Iterator[Finding]:
    """Examples that come again with another target."""
    found = result.facts.conflicts
    if found is None or not found.chance or found.share < CONFLICTING * found.chance:
        return
    yield finding(
        "targets",
        f"{found.examples} examples came again, and their targets were no more alike than those of "
        f"other examples ({found.share:.0%} differed, {found.chance:.0%} by chance)",
        "shuffle inputs and targets by one and the same order",
        severity="warning",
    )


@check("mixed")
def perhaps_mixed(result: WatchResult) -> Iterator[Finding]:
    """Examples that mix if axis 0 is theirs, where another is as long: if nothing was learnt."""
    batch = result.facts.batch
    found = [c.mixing for c in batch.criteria if c.mixing] if batch is not None else []
    unsure = bool(found) and not any(mixing.sure for mixing in found)
    if unsure and len(result.steps) >= STUCK_STEPS and outcome(result) == "not":
        yield mixed_by(found[0])
