"""The checks of a watched run. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from gradflow.findings.attention import sharp_attention
from gradflow.findings.batch_checks import BATCH_CHECKS, LATE_BATCH_CHECKS
from gradflow.findings.batches import hazard, lost_at
from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import (
    CLIPPED_AWAY,
    CLIPPED_OFTEN,
    DEAD,
    DIVERGED,
    FLAT,
    HEAD_DECADES,
    LEAST_SCALE,
    NO_GRADIENT,
)
from gradflow.findings.words import (
    at,
    dead_rows,
    indices,
    named_layers,
)
from gradflow.results.base import Finding
from gradflow.results.watching import NonFiniteFacts, WatchResult, WatchRow
from gradflow.watching.curve_checks import (
    collapse,
    diverged,
    growing,
    spike,
    stuck,
    unfinished,
)
from gradflow.watching.flow import bad_flow
from gradflow.watching.loop_checks import (
    conflicting_targets,
    not_updated,
    penalty,
    perhaps_mixed,
    refused,
    stale_gradients,
    step_size,
    weight_decay,
)

#: Kinds of layers that look vectors up.
_TABLES = frozenset({"Embedding", "EmbeddingBag"})
#: Optimizers whose step is as long for a gradient as for a part of it.
_SCALE_FREE = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam"})


@check("broken")
def broken(result: WatchResult) -> Iterator[Finding]:
    """A value that is not finite: the first, and where and when it was met."""
    bad = [s.step for s in result.steps if not math.isfinite(s.norm_before or 0.0)]
    first = result.facts.first_nonfinite
    if not bad and first is None:
        return
    if first is None:
        met = [row for row in result.history if row.step == bad[0]]
        layers = tuple(row.index for row in met if not _finite(row.gradient_log10_norm))
        first = NonFiniteFacts("gradient", bad[0], layers)
    said, advice = _of_first(result, first)
    after = sum(step > first.step for step in bad)
    yield finding(
        "broken",
        said
        + (f"; so are the gradients of {after} of the recorded steps after it" if after else ""),
        advice,
        layers=first.layers,
    )


def _of_first(result: WatchResult, first: NonFiniteFacts) -> tuple[str, str]:
    """Say what was the first not to be finite, and what to do about it."""
    rows = at(result.records, first.layers)
    where, step = f" of {named_layers(rows)}" if rows else "", f"at step {first.step}"
    if (cause := _cause(result, first)) is not None:
        return f"{cause[0]} ({step.removeprefix('at ')})", cause[1]
    if first.what == "inputs":
        return (
            f"the inputs are not finite {step}",
            "look for NaN in the data, and for a division by 0",
        )
    if first.what == "update":
        return _of_update(result, where, step)
    if first.what in ("output", "loss") and (grown := _grown(result, first.step)):
        return (
            f"the {first.what}{where} is not finite {step}, after {grown}",
            "a lower learning rate, clipping, or a wider dtype",
        )
    if first.what == "output":
        return (
            f"the output{where} is the first value that is not finite, {step}",
            "look at what that layer and what follows it compute; a lower learning rate, clipping, "
            "or a wider dtype if it grew",
        )
    return _of_loss(step) if first.what == "loss" else _of_gradient(result, first, where, step)


def _cause(result: WatchResult, first: NonFiniteFacts) -> tuple[str, str] | None:
    """Tell inputs, targets and operations of the loss apart, where its batch was read."""
    facts = result.facts
    if first.what in ("inputs", "loss") and facts.lost_batch is not None:
        return lost_at(facts.lost_batch)
    first_step = result.steps[0].step if result.steps else 0
    if first.what == "gradient" and first.step == first_step and facts.batch is not None:
        return hazard(facts.batch)
    return None


def _of_loss(step: str) -> tuple[str, str]:
    return (
        f"the loss is not finite {step}, though every layer's output is",
        "look at the loss: a logarithm or a division of 0, NaN in the targets",
    )


def _of_gradient(
    result: WatchResult, first: NonFiniteFacts, where: str, step: str
) -> tuple[str, str]:
    """Tell a gradient that the loss makes from one that a layer makes."""
    whole = len(first.layers) >= len(result.records)
    if whole and first.loss is not None:
        return (
            f"the gradient is not finite {step} in every layer, though the loss ({first.loss:.4g}) "
            "is: its slope at the outputs is not",
            "look at the loss: the slopes of sqrt, of a norm and of a logarithm at 0 are infinite; "
            "add a small ε inside",
        )
    return (
        f"the gradient{where} is not finite {step}",
        "a lower learning rate, clipping, or a wider dtype",
    )


def _grown(result: WatchResult, step: int) -> str:
    """Say how the loss had grown up to a step, if it had grown far."""
    losses = [s.loss for s in result.steps if s.loss is not None and s.step < step]
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 2 or abs(finite[-1]) < DIVERGED * abs(finite[0]):
        return ""
    return f"the loss had grown from {finite[0]:.3g} to {finite[-1]:.3g}"


def _of_update(result: WatchResult, where: str, step: str) -> tuple[str, str]:
    """Say that the optimizer made weights that are not finite."""
    optimizer = result.facts.optimizer
    eps, half = optimizer.eps if optimizer else None, result.meta.dtype == "float16"
    small = half and eps is not None and eps < 6e-8
    return (
        f"the update {step} made the weights{where} not finite; the gradient was finite"
        + (f": ε = {eps:g} is 0 in float16, and Adam divides by it" if small else ""),
        "weights in float32, or a larger ε" if small else "a lower learning rate, or clipping",
    )


def _finite(log: float | None) -> bool:
    return log is not None and log < math.inf and not math.isnan(log)


@check("dead")
def dead(result: WatchResult) -> Iterator[Finding]:
    """Layers nearly all of whose units gave slope 0 for every example of the last window."""
    rows = _dead(result)
    if rows:
        yield finding(
            "dead",
            f"in {named_layers(rows)} at least {DEAD:.0%} of the units gave slope "
            "0 for every example of the last batches",
            "a smaller learning rate, biases nearer to 0, or Leaky ReLU",
            layers=indices(rows),
        )


def _dead(result: WatchResult) -> list[WatchRow]:
    """Dead layers; not those whose weights are 0, which give every unit the slope of 0."""
    return [row for row in dead_rows(result.records) if row.weight_norm != 0]


@check("saturated")
def attention(result: WatchResult) -> Iterator[Finding]:
    """Attention that sees one key alone from the start: a trained model's may well.

    It is untrained where its first loss is no better than that of a constant prediction. That of a
    pre-trained body under a new head is not: so less than an error is not told.
    """
    batch = result.facts.batch
    known = [(c.first_loss, c.constant_loss) for c in batch.criteria] if batch else []
    fresh = [own >= FLAT * alike for own, alike in known if own is not None and alike is not None]
    found = sharp_attention(result.records) if fresh and all(fresh) else None
    if found is not None and found.severity == "error":
        yield found


@check("no-gradient")
def no_gradient(result: WatchResult) -> Iterator[Finding]:
    """Layers whose gradient was exactly 0 at every recorded step, as a weight at 0 leaves them."""
    known = [row for row in result.records if row.gradient_log10_norm is not None]
    largest = _largest_gradients(result)
    rows = [row for row in known if largest.get(row.index) == -math.inf]
    few = len(rows) < NO_GRADIENT * len(known) or len(result.steps) < 2
    if not rows or _dead(result) or (few and len(rows) < len(known)):
        return
    yield finding(
        "no-gradient",
        f"the gradient of {named_layers(rows)} was exactly 0 at every recorded step",
        "weights that do not all start at 0, no ReLU after the output layer, a loss that is not "
        "met or clamped already",
        layers=indices(rows),
    )


@check("unreached")
def unreached(result: WatchResult) -> Iterator[Finding]:
    """Layers that had no gradient at any recorded step."""
    reached = _largest_gradients(result)
    rows = [row for row in result.records if row.index not in reached]
    if not rows or not result.steps:
        return
    yield finding(
        "unreached",
        f"no gradient reached {named_layers(rows)} at any recorded step",
        "is there a no_grad(), a detach(), or a loss that was made a new tensor?",
        layers=indices(rows),
        severity="error" if len(rows) >= max(1, len(result.records) - 1) else "warning",
    )


def _largest_gradients(result: WatchResult) -> dict[int, float]:
    """Return log₁₀ of every layer's largest gradient over the steps, by its number."""
    largest: dict[int, float] = {}
    for row in result.history:
        if row.gradient_log10_norm is not None:
            before = largest.get(row.index, -math.inf)
            largest[row.index] = max(before, row.gradient_log10_norm)
    return largest


@check("vanishing", "exploding")
def flow(result: WatchResult) -> Iterator[Finding]:
    """δ shrinks or grows on its way back: at the first step, as `diagnose` says, or the median."""
    found = bad_flow(result)
    if found is None:
        yield from _gained(result)
        return
    code, verb = ("vanishing", "shrinks") if found.lost > 0 else ("exploding", "grows")
    yield finding(
        code,
        f"δ {verb} by {abs(found.lost):.1f} decades over {found.hidden} layers (a factor of "
        f"{found.rate:.3g} per layer{found.grade.near}) at the {found.when} "
        f"step{found.grade.whom}",
        "other weights at the start, normalisation, or residual connections",
        severity=found.grade.severity,
    )


def _gained(result: WatchResult) -> Iterator[Finding]:
    """δ that grows behind the output layer, as within a layer that is called many times.

    Beyond 1 alone: the last layer may be a head whose loss has a small weight.
    """
    deltas = [row.delta_log10_rms for row in result.records]
    known = [log for log in deltas if log is not None and math.isfinite(log)]
    if not known or deltas[-1] != known[-1]:
        return
    most, last = max(known), known[-1]
    largest = result.records[deltas.index(most)]
    gain = most - last
    if gain >= HEAD_DECADES and most > 0:
        yield finding(
            "exploding",
            f"δ grows by {gain:.1f} decades from the output layer to {named_layers([largest])}: "
            "is it called once per time step?",
            "smaller or orthogonal recurrent weights, tanh rather than ReLU, an LSTM or GRU, or "
            "normalisation",
            layers=(largest.index,),
        )


@check("unjudged")
def unjudged(result: WatchResult) -> Iterator[Finding]:
    """δ was read nowhere, so that no verdict rests on anything."""
    seen = any(row.delta_log10_rms is not None for row in result.records)
    lost = any(not math.isfinite(s.norm_before or 0.0) for s in result.steps)
    reached = any(row.gradient_log10_norm is not None for row in result.history)
    if seen or lost or (result.steps and not reached):  # what else there is to say is an error
        return
    if result.records and all(row.kind in _TABLES for row in result.records):
        return  # vectors that are looked up: there is nothing to flow through
    advice = (
        "activations=True and deltas=True, the model uncompiled, model(x) rather than "
        "model.forward(x), which calls no hooks, or gradflow.diagnose(model, …)"
    )
    yield finding(
        "unjudged",
        "δ was read at no layer: how the gradient flows, and which units are dead, is not known",
        "" if _untrained_program(result) else advice,
    )


@check("unrecorded")
def unrecorded(result: WatchResult) -> Iterator[Finding]:
    """No step at all, as of an optimizer that trains another model."""
    if result.facts.meta:
        yield finding(
            "unrecorded",
            f"{', '.join(result.facts.meta)}: trained on the meta device, where nothing has values",
            "another device: model.to_empty(device=…), then weights",
        )
    elif _untrained_program(result):
        yield finding(
            "unrecorded",
            "the program took no step of an optimizer of torch.optim",
            "an optimizer of torch.optim that steps the model: what a loop updates by hand is not "
            "seen; of a model alone: gradflow diagnose --model FILE.py:NAME",
        )
    elif not result.steps and not result.skipped:
        yield finding(
            "unrecorded",
            "no step of an optimizer that trains this model was seen",
            "step inside the `with`, with the optimizer that was given, if one was; a loop that "
            "updates by hand calls w.step() between backward and update",
        )


def _untrained_program(result: WatchResult) -> bool:
    """Return whether this is a program in which no model was met."""
    return "script" in result.meta.config and not result.steps and not result.records


@check("skipped")
def skipped(result: WatchResult) -> Iterator[Finding]:
    """Steps that a GradScaler left out because a gradient was not finite."""
    if not result.skipped:
        return
    layer = result.facts.overflowed
    first = at(result.records, () if layer is None else (layer,))
    where = f"; values overflow first in {named_layers(first)}" if first else ""
    every = not result.seen
    yield finding(
        "skipped",
        f"the GradScaler left out {'every step' if every else f'{result.skipped} steps'}: "
        f"a gradient was not finite{where}",
        "a few at the start are normal; beyond, bfloat16, float32 for that layer, or a smaller "
        "init_scale",
        layers=() if layer is None else (layer,),
        severity="error" if every else None,
    )


@check("clipping")
def clipping(result: WatchResult) -> Iterator[Finding]:
    """Clipping that engages all the time."""
    often = result.clip_rate is not None and result.clip_rate > CLIPPED_OFTEN
    if not often or _power_of_two(result) is not None:
        return
    factor = "" if result.clip_factor is None else f", to {result.clip_factor:.2g} of the norm"
    said = f"clipping engaged in {result.clip_rate:.0%} of the recorded steps{factor}"
    if (kind := _divides_size_out(result)) is not None:
        yield finding(
            "clipping",
            f"{said}: {kind} divides a gradient's size out, so that its steps are no smaller for "
            "it; every batch counts the same",
            severity="info",
        )
        return
    yield finding(
        "clipping",
        f"{said}: it acts as a smaller learning rate",
        "a lower learning rate or a longer warm-up; a threshold near the 90th percentile of the "
        "norms",
    )


def _divides_size_out(result: WatchResult) -> str | None:
    """Return the optimizer, if its steps are as long whatever clipping leaves of a gradient.

    Not where it leaves so little that ε counts beside it.
    """
    optimizer = result.facts.optimizer
    norms = [step.norm_after for step in result.steps if step.norm_after]
    if optimizer is None or optimizer.kind not in _SCALE_FREE or not norms:
        return None
    return optimizer.kind if median(norms) > CLIPPED_AWAY else None


@check("scaled")
def scaled(result: WatchResult) -> Iterator[Finding]:
    """Gradients of a GradScaler that watch was not told of."""
    power = _power_of_two(result)
    if result.facts.found_scaler:
        yield finding(
            "scaled",
            "the loop uses a GradScaler: gradients are shown unscaled, as it leaves them",
            "gradflow.watch(model, scaler=scaler) says so from the start",
            severity="info",
        )
    elif power is not None:
        yield finding(
            "scaled",
            f"between backward and step every gradient shrinks by exactly 2^{power}: these "
            "are scaled by hand, and the magnitudes here are scaled",
            "clipping is what shrinks gradients; unscale them before backward ends, or read "
            "magnitudes with that factor in mind",
        )


def _power_of_two(result: WatchResult) -> int | None:
    """Return by which power of two every gradient shrinks, if it does."""
    cut = [s for s in result.steps if s.clipped and s.norm_after and s.norm_before]
    powers = [math.log2((s.norm_before or 1) / (s.norm_after or 1)) for s in cut]
    exact = [p >= LEAST_SCALE - 1e-3 and abs(p - round(p)) < 1e-4 for p in powers]
    return round(powers[0]) if powers and all(exact) else None


@check("compiled")
def compiled(result: WatchResult) -> Iterator[Finding]:
    """A compiled model's activations were not read."""
    if result.facts.compiled:
        yield finding(
            "compiled",
            "the model goes through torch.compile: gradients and updates were recorded, "
            "activations were not",
            "gradflow.diagnose(model, …) reads them through the original module",
        )


@check("evaluation-mode")
def evaluation_mode(result: WatchResult) -> Iterator[Finding]:
    """The model trained as if it were evaluated."""
    if result.facts.evaluating:
        yield finding(
            "evaluation-mode",
            "the model was in evaluation mode in every batch that it learnt from: its dropout does "
            "nothing, and its batch norms use and keep their running statistics",
            "model.train() before the loop and after every evaluation; nothing, if this is fine "
            "tuning with frozen statistics",
        )


@check("uncovered")
def uncovered(result: WatchResult) -> Iterator[Finding]:
    """What could not be read."""
    facts = result.facts
    if facts.scripted:
        yield finding(
            "uncovered",
            "a part of the model is a ScriptModule, which takes no hooks: its gradients and "
            "updates were recorded, its activations and δ were not",
            "watch the model before torch.jit.script or torch.jit.trace",
        )
    if facts.transformed:
        yield finding(
            "uncovered",
            "the model ran under torch.func (vmap, grad, jacrev): activations and δ of these "
            "calls were not read",
        )
    for reason in facts.unread:
        yield finding("uncovered", f"something could not be read: {reason}")


#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check[WatchResult], ...] = (
    broken,
    stale_gradients,
    *BATCH_CHECKS,
    diverged,
    no_gradient,
    unreached,
    dead,
    flow,
    attention,
    *LATE_BATCH_CHECKS,
    unjudged,
    unrecorded,
    skipped,
    not_updated,
    growing,
    stuck,
    collapse,
    step_size,
    weight_decay,
    penalty,
    refused,
    conflicting_targets,
    perhaps_mixed,
    unfinished,
    spike,
    clipping,
    scaled,
    compiled,
    evaluation_mode,
    uncovered,
)
