"""The checks of a diagnosis. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gradflow.diagnosis.loss_checks import first_loss
from gradflow.diagnosis.part_checks import attention, gates, same_tokens, time_steps
from gradflow.diagnosis.zero_checks import no_gradient, one_example, unjudged
from gradflow.findings.batch_checks import BATCH_CHECKS
from gradflow.findings.batches import (
    OutputSignal,
    lost_at,
    no_choice,
    of_batch,
    output_signal,
)
from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import (
    DECADES,
    GOES_AROUND,
    HEAD_DECADES,
    ONE_SEED,
    SATURATED,
    SATURATED_OUTPUT,
    SELU_LARGEST_VARIANCE,
    SELU_LEAST_VARIANCE,
    SELU_MEAN,
    SIGNAL_DECADES,
    STUCK_OUTPUT,
    UNCOVERED,
    UNDERFLOW,
    Tolerance,
    bearable_decades,
    tolerances,
)
from gradflow.findings.words import (
    Graded,
    at,
    dead_rows,
    first_few,
    graded,
    indices,
    lost_decades,
    named_layers,
    near,
)
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow
from gradflow.results.names import roles, told


def hidden_rows(result: DiagnosisResult) -> tuple[LayerRow, ...]:
    """Return the rows of the hidden layers (the output's logits are not units that can die)."""
    return result.records[: result.hidden]


def depth(result: DiagnosisResult) -> int:
    """Return over how many hidden layers the rate reaches."""
    return result.hidden if result.facts.span is None else result.facts.span


def _named(result: DiagnosisResult, layers: Iterable[int]) -> str:
    return named_layers(at(result.records, layers))


@check("broken")
def broken(result: DiagnosisResult) -> Iterator[Finding]:
    """A value that is not finite, and the layer where it arose."""
    forward = [row for row in result.records if row.forward_nonfinite]
    backward = [row for row in result.records if row.backward_nonfinite]
    lost = result.loss is not None and not math.isfinite(result.loss)
    if not (forward or backward or lost):
        return
    advice = "smaller weights (--gain, --init), or a wider dtype"
    cause = lost_at(of_batch(result))
    if cause is not None:
        where, advice = cause
    elif forward:
        where = f"{told(forward[0])} is the first whose activations are not finite"
        where += _overflow(result)
    elif backward and backward[-1] is result.output and not lost:
        where = (
            f"the loss is finite ({result.loss:.3g}) and its gradient is not, already at the "
            f"output, {told(backward[-1])}: it arises in the loss, or behind that layer"
        )
        advice = "a small ε in every sqrt, norm, log and division there; none where 0 can come"
    elif backward:
        where = f"gradients are not finite from {told(backward[-1])} backwards"
    else:
        where = f"the loss is {result.loss}"
    yield finding(
        "broken",
        where,
        advice,
        layers=sorted({*indices(forward), *indices(backward)}),
    )


def _overflow(result: DiagnosisResult) -> str:
    """Say what overflowed where the magnitudes are known all the same."""
    if result.rate is None or result.meta.dtype is None:
        return ""
    return f": they overflow {result.meta.dtype} (the magnitudes here do not)"


@check("dead")
def dead(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers nearly all of whose units have slope 0 on the whole batch."""
    rows = dead_layers(result)
    if not rows:
        return
    worst = max(row.dead_fraction or 0 for row in rows)
    around = _goes_around(result, rows)
    yield finding(
        "dead",
        f"in {named_layers(rows)} up to {worst:.0%} of the units have slope 0 for every "
        f"example, so no gradient passes them{'; it goes around them' if around else ''}",
        "biases nearer to 0, He initialisation, a smaller learning rate, or Leaky ReLU",
        layers=indices(rows),
        severity="warning" if around else "error",
    )


def dead_layers(result: DiagnosisResult) -> list[LayerRow]:
    """Return the layers that are dead, and not because of weights that are 0.

    Logits have no activation, so that they cannot be; one example tells nothing.
    """
    if result.facts.examples == 1:
        return []
    excused = {*result.facts.started, *result.facts.zero_layers}
    return [row for row in dead_rows(result.records) if row.index not in excused]


def _goes_around(result: DiagnosisResult, dead: list[LayerRow]) -> bool:
    """Whether δ is 0 at every dead layer and not at the first, as with residual connections."""
    first = next((r for r in result.records if r.delta_log10_rms is not None), None)
    stopped = all(row.delta_log10_rms == -math.inf for row in dead)
    return first is not None and first.delta_log10_rms != -math.inf and stopped


@check("vanishing", "saturated")
def vanishing(result: DiagnosisResult) -> Iterator[Finding]:
    """δ shrinks on its way back; told apart by its cause: saturation, or small weights."""
    rows = saturated_layers(result)
    grade, around = _faded(result)
    lost = lost_decades(result.rate, depth(result))
    if lost is None or grade is None:
        yield from _saturated_alone(result, rows)
        return
    evidence = (
        f"δ shrinks by {lost:.1f} decades over {depth(result)} {_units(result)} ({_factor(result)}"
        f"{grade.near})"
    )
    if around is not None:
        evidence += f"; it comes to the first layers by another way, {around:.1f} decades smaller"
    yield finding(
        "saturated" if rows else "vanishing",
        f"{evidence}, because {_saturated(rows) if rows else _SMALL_WEIGHTS}{grade.whom}",
        "smaller weights or biases, a normalisation layer, or an activation without plateaus"
        if rows
        else "weights at the activation's critical variance, or an activation with a larger slope",
        layers=indices(rows) if rows else _far_layers(result),
        severity=grade.severity,
    )


def _whole(result: DiagnosisResult, lost: float) -> float:
    """Return by how many decades the norm of δ shrinks, where the rms is of more entries."""
    whole = lost_decades(result.facts.whole_rate, depth(result))
    return lost if whole is None else whole


#: Share of the way to the output from which a layer is one of the last.
_NEAR_THE_END = 0.6
_SMALL_WEIGHTS = "the weights are small for this activation's slopes"


def _saturated(rows: list[LayerRow]) -> str:
    return f"{named_layers(rows)} {'are' if len(rows) > 1 else 'is'} saturated"


def _faded(result: DiagnosisResult) -> tuple[Graded | None, float | None]:
    """How bad it is that δ shrinks; by how much less where it goes around the deep path.

    Where it does, as across a U-Net, what reaches the first layers counts.
    """
    lost, around = lost_decades(result.rate, depth(result)), lost_around(result)
    seen = seen_output(result)
    known = seen is not None and seen.scores

    def bound(tolerance: Tolerance) -> float:
        layers = depth(result)
        return tolerance.bearable_seen(layers) if known else tolerance.bearable_decades(layers)

    if lost is None:
        return None, None
    lost = min(lost, _whole(result, lost))
    beside = graded(lost, bound, result.facts.optimizer)
    if around is None:
        return beside, None
    grade = graded(around, lambda t: t.bearable_around(depth(result)), result.facts.optimizer)
    return grade or _milder(beside), around


def _milder(grade: Graded | None) -> Graded | None:
    """A warning of the layers on the deep path, which get little."""
    return Graded("warning") if grade is not None and grade.severity == "error" else None


def lost_around(result: DiagnosisResult) -> float | None:
    """Return by how many decades δ shrinks to the first layer, where another way leads there.

    It does where δ is larger there than in layers behind it, as across a U-Net. None elsewhere.
    """
    rows = [row for row in hidden_rows(result) if _has_delta(row)]
    known = [row.delta_log10_rms or 0.0 for row in rows]
    if not known or known[0] - min(known) < GOES_AROUND:
        return None
    return min(max(known), _of_its_kind(rows, known)) - known[0]


def _has_delta(row: LayerRow) -> bool:
    return row.delta_log10_rms is not None and math.isfinite(row.delta_log10_rms)


def _of_its_kind(rows: list[LayerRow], known: list[float]) -> float:
    """δ at the last layer that does what the first does; ∞ where none near the end does.

    Layers of a block differ in δ without anything being lost over depth.
    """
    found = roles([row.name for row in rows])
    last = max(place for place, role in enumerate(found) if role == found[0])
    compared = found[0] and last >= _NEAR_THE_END * (len(rows) - 1)
    return known[last] if compared else math.inf


def saturated_layers(result: DiagnosisResult) -> list[LayerRow]:
    """Return the hidden layers most of whose slopes are near 0 on a plateau."""
    return [row for row in hidden_rows(result) if _saturation(row) >= SATURATED]


def _saturated_alone(result: DiagnosisResult, rows: list[LayerRow]) -> Iterator[Finding]:
    """Saturation that does not make δ vanish over depth; an error where it stops δ at once."""
    if not rows:
        return
    drop = head_drop(result)
    stops = rows[-1] is hidden_rows(result)[-1] and drop is not None and drop >= HEAD_DECADES
    yield finding(
        "saturated",
        f"in {named_layers(rows)} up to {max(map(_saturation, rows)):.0%} of the slopes are below "
        "1 % of the activation's largest"
        + (f", and δ shrinks by {drop:.1f} decades behind the output" if stops else ""),
        "smaller weights, biases or inputs, or a normalisation layer",
        layers=indices(rows),
        severity="error" if stops else "warning",
    )


@check("saturated")
def saturated_output(result: DiagnosisResult) -> Iterator[Finding]:
    """The activation after the output layer sits on its plateau, and δ no longer follows the loss.

    The outputs of a network that is trained do too, but then its loss is small as well.
    """
    if not result.records:
        return
    last, loss = result.output, result.facts.example_loss
    if _saturation(last) < SATURATED_OUTPUT or last.delta_log10_rms is None or not loss:
        return
    if 10**last.delta_log10_rms >= STUCK_OUTPUT * abs(loss):
        return
    yield finding(
        "saturated",
        f"{_saturation(last):.0%} of the outputs of {named_layers([last])} lie where the slope of "
        f"their activation is below 1 % of its largest, and δ is 10^{last.delta_log10_rms:.1f} at "
        f"a loss of {loss:.2g}",
        "inputs of mean 0 and variance 1, smaller weights, or no such activation",
        layers=(last.index,),
    )


@check("vanishing")
def weak_head(result: DiagnosisResult) -> Iterator[Finding]:
    """δ shrinks between the output and the last hidden layer, for longer than one step."""
    drop = head_drop(result)
    if drop is None or drop < HEAD_DECADES or saturated_layers(result) or result.facts.small_gains:
        return
    last, hidden = result.output, hidden_rows(result)[-1]
    if (last.update_ratio or 0) >= 1:  # the first step makes its weights larger
        return
    yield finding(
        "vanishing",
        f"δ shrinks by {drop:.1f} decades from the output, {named_layers([last])}, to "
        f"{named_layers([hidden])}",
        f"larger weights in {last.name}",
        layers=(hidden.index,),
        severity="warning",
    )


def head_drop(result: DiagnosisResult) -> float | None:
    """Return by how many decades δ shrinks from the output to the hidden layer that has most of it.

    The last hidden layer may be a branch behind a small gain, beside a path that carries δ.
    """
    found = [row.delta_log10_rms for row in hidden_rows(result)]
    known = [log for log in found if log is not None and math.isfinite(log)]
    last = result.output.delta_log10_rms if known else None
    return None if last is None or not math.isfinite(last) else last - max(known)


@check("collapse")
def collapsing(result: DiagnosisResult) -> Iterator[Finding]:
    """Every example is mapped to nearly the same point: there is no signal to learn from."""
    lost, grade = signal_decades(result), _signal_grade(result)
    if lost is None or grade is None or dead_layers(result):
        return
    bound = tolerances(result.facts.optimizer)[0].bearable_signal(result.hidden)
    rows = [row for row in hidden_rows(result) if _signal(row) >= bound]
    sudden = _sudden(result, rows[0])
    if sudden and result.facts.small_gains:  # what the branch adds to is there
        return
    beside = sudden or lost_around(result) is not None
    how = "to 0" if lost == math.inf else f"by {lost:.1f} decades{grade.near}"
    yield finding(
        "collapse",
        f"the difference between examples shrinks {how} on its way forwards: "
        f"in {named_layers(rows)} every example is nearly the same point{grade.whom}",
        "smaller biases, weights at the critical variance, or normalisation over the batch",
        layers=indices(rows),
        severity="warning" if beside else grade.severity,
    )


def _signal_grade(result: DiagnosisResult) -> Graded | None:
    """How bad it is what the difference between examples loses over the hidden layers."""
    lost = signal_decades(result)
    if lost is None:
        return None
    return graded(lost, lambda t: t.bearable_signal(result.hidden), result.facts.optimizer)


@check("collapse")
def same_outputs(result: DiagnosisResult) -> Iterator[Finding]:
    """What the loss judges is nearly the same for every example.

    Seen at the output where no activation is, as behind a recurrent layer that forgets.
    """
    seen = seen_output(result)
    if seen is None:
        return
    grade = graded(seen.decades, seen.bound, result.facts.optimizer)
    said = [found for found in (_faded(result)[0], _signal_grade(result)) if found is not None]
    if grade is None or lost_around(result) is not None or any(one >= grade for one in said):
        return
    how = "exactly" if seen.decades == math.inf else f"to 1 part in 10^{seen.decades:.1f}"
    yield finding(
        "collapse",
        f"the outputs of all examples are the same {how}{grade.near}: what tells them apart does "
        f"not reach the output{_LINE if seen.on_a_line else ''}{grade.whom}",
        "weights at the critical variance, normalisation, a gate that stays open (a forget bias "
        "of 1 to 4), or a shorter way from the inputs",
        severity=grade.severity,
    )


def seen_output(result: DiagnosisResult) -> OutputSignal | None:
    """Return what is left of the difference between examples in the output.

    None where that is not known, or has another reason: equal examples, weights that start at 0.
    """
    facts = result.facts
    alike = facts.examples == 1 or facts.same_inputs or no_choice(of_batch(result))
    starts = facts.started or facts.zero_layers or facts.zero_weights
    return None if alike or starts or dead_layers(result) else output_signal(of_batch(result))


@check("vanishing", "collapse")
def lost_together(result: DiagnosisResult) -> Iterator[Finding]:
    """δ on its way back and the difference between examples on its way forwards lose too much.

    Each alone may be bearable: a step changes the first layers by the one, and that changes the
    output by the other.
    """
    seen, both = seen_output(result), together(result)
    if seen is None or both is None or both == math.inf:
        return
    grade = graded(both, seen.bound_together, result.facts.optimizer)
    alone = graded(seen.decades, seen.bound, result.facts.optimizer)
    said = [one for one in (_faded(result)[0], _signal_grade(result), alone) if one is not None]
    if grade is None or any(one >= grade for one in said):
        return
    lost = both - seen.decades
    yield finding(
        "vanishing" if lost >= seen.decades else "collapse",
        f"δ shrinks by {lost:.1f} decades over {depth(result)} {_units(result)}, and the outputs "
        f"of all examples are the same to 1 part in 10^{seen.decades:.1f}: together {both:.1f} "
        f"decades{grade.near}{grade.whom}",
        "weights at the critical variance, normalisation, or residual connections",
        severity=grade.severity,
    )


def together(result: DiagnosisResult) -> float | None:
    """Return the decades that δ and the difference between examples lose; None: not known.

    So it is where another way leads around the deep path.
    """
    seen, lost = seen_output(result), lost_decades(result.rate, depth(result))
    if seen is None or lost is None or lost_around(result) is not None:
        return None
    return max(0.0, min(lost, _whole(result, lost))) + seen.decades


_LINE = ", and what is left lies on one line, so that no more than two classes differ"


def _sudden(result: DiagnosisResult, first: LayerRow) -> bool:
    """Whether the signal is good right before the first layer without one.

    So it is in a branch of its own, on a token of its own, say, behind a gain that starts small.
    """
    before = [row for row in hidden_rows(result) if row.index < first.index]
    known = [_signal(row) for row in before if row.example_spread is not None]
    return bool(known) and known[-1] < 1 and _signal(first) - known[-1] >= SIGNAL_DECADES


@check("exploding")
def exploding(result: DiagnosisResult) -> Iterator[Finding]:
    """δ grows on its way back, whatever the weight gradients look like."""
    lost = lost_decades(result.rate, depth(result))
    bound = bearable_decades(depth(result), batch_norm=result.facts.batch_norm)
    if lost is None or lost > -bound:
        return
    yield finding(
        "exploding",
        f"δ grows by {-lost:.1f} decades over {depth(result)} {_units(result)} "
        f"({_factor(result)}{near(-lost, bound)})" + _looks_flat(result, -lost),
        "smaller weights (--gain, he-normal for ReLU), normalisation, residual connections, "
        "or clipping",
        layers=_far_layers(result),
    )


def _looks_flat(result: DiagnosisResult, gained: float) -> str:
    """Say so where the weight gradients hide that δ grows."""
    found = (row.gradient_log10_norm for row in hidden_rows(result))
    norms = [norm for norm in found if norm is not None]
    if norms and max(norms) - min(norms) < gained / 2:
        return "; the weight gradients look flat, since the activations are small where δ is large"
    return ""


@check("self-normalising")
def self_normalising(result: DiagnosisResult) -> Iterator[Finding]:
    """SELU keeps mean 0 and variance 1, within bounds (Klambauer et al. 2017, section 2)."""
    if result.activation != "selu":
        return
    off = [row for row in hidden_rows(result) if not _normal(row)]
    bounds = f"{SELU_LEAST_VARIANCE} to {SELU_LARGEST_VARIANCE}"
    if not off:
        yield finding(
            "self-normalising",
            f"self-normalisation holds: mean within ±{SELU_MEAN} and variance within {bounds} "
            "everywhere",
        )
        return
    yield finding(
        "self-normalising",
        f"self-normalisation is broken in {named_layers(off)}: mean beyond ±{SELU_MEAN} or "
        f"variance outside {bounds}",
        "lecun-normal weights, zero biases, inputs of mean 0 and variance 1",
        layers=indices(off),
    )


def _normal(row: LayerRow) -> bool:
    variance = row.activation_variance or 0
    return (
        abs(row.activation_mean or 0) <= SELU_MEAN
        and SELU_LEAST_VARIANCE <= variance <= SELU_LARGEST_VARIANCE
    )


@check("bound")
def bounded(result: DiagnosisResult) -> Iterator[Finding]:
    """The rate of a plain recurrent network beside Pascanu's bound."""
    bound, rate = result.rate_bound, result.rate
    if bound is None or rate is None:
        return
    says = (
        "below 1, so the gradient has to vanish"
        if bound < 1
        else "not below 1, so the gradient may explode, and need not"
    )
    yield finding(
        "bound",
        f"a factor of {rate:.3g} per step; Pascanu's bound σ_max(W)·max|φ′| is {bound:.3g}, {says}",
    )


@check("underflow")
def underflow(result: DiagnosisResult) -> Iterator[Finding]:
    """Entries of the gradient that half precision loses, and the loss scale against it."""
    rows = [row for row in result.records if _lost(row) > UNDERFLOW]
    if not rows:
        return
    worst = max(_lost(row) for row in rows)
    yield finding(
        "underflow",
        f"in {named_layers(rows)} up to {worst:.1%} of the gradient's entries are 0 in "
        f"{result.facts.half or result.meta.dtype} though not in float32",
        _loss_scale(result.suggested_loss_scale),
        layers=indices(rows),
    )


def _loss_scale(scale: float | None) -> str:
    if scale is None:
        return "bfloat16, which has float32's range: no loss scale brings 99.9 % into this one's"
    return (
        f"a loss scale of {scale:.0f} (2^{math.log2(scale):.0f}) brings 99.9 % of them into "
        f"range: GradScaler(init_scale={scale:.0f}.0); or bfloat16"
    )


def _lost(row: LayerRow) -> float:
    return max(row.underflow_fraction or 0.0, row.delta_underflow_fraction or 0.0)


@check("compiled")
def compiled(result: DiagnosisResult) -> Iterator[Finding]:
    """A compiled model was measured as it was written."""
    if result.facts.compiled:
        yield finding(
            "compiled",
            "the model goes through torch.compile; it was measured through the original module",
        )


@check("lazy")
def lazy(result: DiagnosisResult) -> Iterator[Finding]:
    """A model without shapes was measured on a copy."""
    if result.facts.lazy:
        yield finding(
            "lazy", "the model has lazy parameters; a copy of it was initialised and measured"
        )


@check("unreached")
def unreached(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers that could be trained and that no gradient reaches."""
    layers = result.facts.unreached
    if layers:
        every = all(row.index in layers for row in hidden_rows(result) or result.records)
        yield finding(
            "unreached",
            f"no gradient reaches {_named(result, layers)}, which could be trained",
            "is there a no_grad(), a detach() or a reentrant checkpoint (use_reentrant=False)?",
            layers=layers,
            severity="error" if every else "warning",
        )


@check("shared")
def shared(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers with one and the same weight."""
    for layers in result.facts.shared:
        yield finding(
            "shared",
            f"{_named(result, layers)} share a weight: each shows its gradient over all of them",
            layers=layers,
        )


@check("shared")
def repeated(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers that were called several times, as a cell is once per time step."""
    if result.facts.repeated:
        rows, calls = zip(*result.facts.repeated, strict=True)
        times = f"{min(calls)}" if min(calls) == max(calls) else f"{min(calls)} to {max(calls)}"
        yield finding(
            "shared",
            f"{_named(result, rows)} {'are' if len(rows) > 1 else 'is'} called {times} times in "
            "one pass: a row is over all calls",
            layers=rows,
        )


@check("uncovered")
def uncovered(result: DiagnosisResult) -> Iterator[Finding]:
    """Trained entries that no row shows, and parts that could not be looked into."""
    names, share = result.facts.uncovered, result.facts.uncovered_share
    if names:
        yield finding(
            "uncovered",
            f"{100 * share:.2g} % of the trained entries are in no row, since no gradient reaches "
            f"them: {first_few(names, _NAMED)}",
            "are they used in this pass? else leave them out, or requires_grad_(False)",
            severity="warning" if share > UNCOVERED else "info",
        )
    if result.facts.scripted:
        yield finding(
            "uncovered",
            "a part of the model is a script (torch.jit): its layers cannot be looked into, and "
            "their rows show gradients alone",
            "diagnose the module that it was made from",
            severity="info",
        )


#: Names that a finding lists.
_NAMED = 4


@check("precision")
def widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ left the model's own dtype, and float64 was measured instead."""
    layers = result.facts.widened
    if layers:
        yield finding(
            "precision",
            f"δ under- or overflows the model's own dtype in {_named(result, layers)}; "
            "the magnitudes here were measured again where they are not lost",
            "a wider dtype, or loss scaling",
            layers=layers,
        )


@check("no-copy")
def not_widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ is 0 or left the model's own dtype, and float64 could not be measured instead."""
    layers = result.facts.not_widened
    if layers:
        yield finding(
            "no-copy",
            f"in {_named(result, layers)} δ is 0, too small or too large for the model's own "
            f"dtype, and a float64 copy could not be measured: {result.facts.no_float64}",
            "a model that runs in float64, too: no dtype written into its forward",
            layers=layers,
        )


@check("no-copy")
def not_compared(result: DiagnosisResult) -> Iterator[Finding]:
    """What half precision loses is not known, since a float32 copy could not be measured."""
    if result.facts.no_float32 is not None:
        yield finding(
            "no-copy",
            "what half precision loses of the gradient is not known: a float32 copy could not be "
            f"measured: {result.facts.no_float32}",
            "a model that runs in float32, too: no dtype written into its forward",
        )


@check("one-seed")
def noisy(result: DiagnosisResult) -> Iterator[Finding]:
    """One seed says little where depth/width is large: for He-Gaussian ReLU nets
    E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^d (Hanin & Nica 2020).
    """
    width = result.facts.width
    if width is None or len(result.meta.seeds) != 1:
        return
    spread = result.hidden * math.log1p(5 / width)
    if spread >= ONE_SEED:
        yield finding(
            "one-seed",
            f"{result.hidden} layers of {width} units: ‖δ‖² of one random network scatters by a "
            f"factor of about e^{math.sqrt(spread):.1f}",
            "--seeds 20 measures the spread",
        )


def no_remedies(why: str | None) -> Iterator[Finding]:
    """Say that no remedy could be tried, since the model cannot be copied or run as a copy."""
    yield finding(
        "no-copy",
        f"remedies could not be tried: a copy of the model could not be run: {why}",
        "a model that copy.deepcopy() can copy",
    )


#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check[DiagnosisResult], ...] = (
    broken,
    *BATCH_CHECKS,
    no_gradient,
    dead,
    vanishing,
    exploding,
    time_steps,
    saturated_output,
    attention,
    collapsing,
    same_outputs,
    lost_together,
    first_loss,
    same_tokens,
    weak_head,
    gates,
    unjudged,
    one_example,
    self_normalising,
    bounded,
    underflow,
    compiled,
    lazy,
    unreached,
    shared,
    repeated,
    uncovered,
    widened,
    not_widened,
    not_compared,
    noisy,
)


def signal_decades(result: DiagnosisResult) -> float | None:
    """Return by how many decades the difference between examples shrinks, in amplitude.

    As far along the chain as it is known. None where nothing can be said: of one example, of equal
    ones, and behind a weight that only starts at 0.
    """
    facts = result.facts
    if facts.examples == 1 or facts.same_inputs:
        return None
    known = [row for row in hidden_rows(result) if row.example_spread is not None]
    return _signal(known[-1]) if known and known[-1].index not in facts.started else None


def decades(result: DiagnosisResult) -> float:
    """Return the worse of the two: what the gradient loses or gains, what the signal loses."""
    gradient = lost_decades(result.rate, depth(result))
    if result.verdict in ("dead", "no-gradient") or (gradient is None and result.hidden > 1):
        return math.inf
    return max(abs(gradient or 0.0), signal_decades(result) or 0.0)


def _signal(row: LayerRow) -> float:
    spread = row.example_spread
    if spread is None or math.isnan(spread):
        return 0.0
    return -0.5 * math.log10(spread) if spread > 0 else math.inf


def _saturation(row: LayerRow) -> float:
    """Share of the slopes that are near 0 on a plateau; an output of 0 is sparsity, not that."""
    return (row.saturated_fraction or 0.0) - (row.zero_fraction or 0.0)


def _factor(result: DiagnosisResult) -> str:
    said = f"a factor of {result.rate:.3g} per {_units(result).split()[-1][:-1]}"
    if result.rate_low is None or result.rate_high is None:
        return said
    return f"{said}, 95 % interval {result.rate_low:.3g} to {result.rate_high:.3g}"


def _units(result: DiagnosisResult) -> str:
    return "hidden layers" if result.spectral_radius is None else "time steps"


def _far_layers(result: DiagnosisResult) -> tuple[int, ...]:
    """Layers whose δ is `DECADES` away from the last hidden layer's."""
    rows = hidden_rows(result)
    last = rows[-1].delta_log10_rms
    if last is None:
        return ()
    return tuple(
        row.index
        for row in rows
        if row.delta_log10_rms is not None and abs(row.delta_log10_rms - last) >= DECADES
    )
