"""Checks: a diagnosis in, a finding or nothing out. Standard library only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from gradflow.findings.thresholds import DEAD, DECADES, SATURATED, UNDERFLOWS
from gradflow.findings.words import lost_decades, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow

Check = Callable[[DiagnosisResult], Finding | None]


def hidden_rows(result: DiagnosisResult) -> tuple[LayerRow, ...]:
    """Return the rows of the hidden layers (the output's logits are not units that can die)."""
    return result.records[: result.hidden]


def broken(result: DiagnosisResult) -> Finding | None:
    """A value that is not finite, and the layer where it arose."""
    forward = [row.index for row in result.records if row.forward_nonfinite]
    backward = [row.index for row in result.records if row.backward_nonfinite]
    lost = result.loss is not None and not math.isfinite(result.loss)
    if not (forward or backward or lost):
        return None
    if forward:
        where = f"layer {forward[0]} is the first whose activations are not finite" + _overflow(
            result
        )
    elif backward:
        where = f"gradients are not finite from layer {backward[-1]} backwards"
    else:
        where = f"the loss is {result.loss}"
    return Finding(
        "broken",
        "error",
        tuple(sorted({*forward, *backward})),
        where,
        "smaller weights (--gain, --init), or a wider dtype",
    )


def _overflow(result: DiagnosisResult) -> str:
    """Say what overflowed where the magnitudes are known all the same."""
    if result.rate is None or result.meta.dtype is None:
        return ""
    return f": they overflow {result.meta.dtype} (the magnitudes here do not)"


def dead(result: DiagnosisResult) -> Finding | None:
    """Layers nearly all of whose units have slope 0 on the whole batch."""
    rows = [row for row in hidden_rows(result) if (row.dead_fraction or 0) >= DEAD]
    if not rows:
        return None
    worst = max(row.dead_fraction or 0 for row in rows)
    return Finding(
        "dead",
        "error",
        tuple(row.index for row in rows),
        f"in {named_layers(rows)} up to {worst:.0%} of the units have slope 0 for every example, "
        "so no gradient passes them",
        "biases nearer to 0, He initialisation, a smaller learning rate, or Leaky ReLU",
    )


def vanishing(result: DiagnosisResult) -> Finding | None:
    """δ shrinks on its way back; told apart by its cause: saturation, or small weights."""
    lost = lost_decades(result.rate, result.hidden)
    if lost is None or lost < DECADES:
        return None
    evidence = (
        f"δ shrinks by {lost:.1f} decades over {result.hidden} {_units(result)} ({_factor(result)})"
    )
    rows = [row for row in hidden_rows(result) if _on_plateaus(row) >= SATURATED]
    if rows:
        return Finding(
            "saturated",
            "error",
            tuple(row.index for row in rows),
            f"{evidence}, because {named_layers(rows)} "
            f"{'are' if len(rows) > 1 else 'is'} saturated",
            "smaller weights or biases, a normalisation layer, or an activation without plateaus",
        )
    return Finding(
        "vanishing",
        "error",
        _far_layers(result),
        f"{evidence}, because the weights are small for this activation's slopes",
        "weights at the activation's critical variance, or an activation with a larger slope",
    )


def collapsing(result: DiagnosisResult) -> Finding | None:
    """Every example is mapped to nearly the same point: there is no signal to learn from."""
    lost = signal_decades(result)
    if lost is None or lost < DECADES or dead(result):
        return None
    rows = [row for row in hidden_rows(result) if _signal(row) >= DECADES]
    return Finding(
        "vanishing",
        "error",
        tuple(row.index for row in rows),
        f"the difference between examples shrinks by {lost:.1f} decades on its way forwards: "
        f"in {named_layers(rows)} every example is nearly the same point",
        "smaller biases, weights at the critical variance, or normalisation over the batch",
    )


def exploding(result: DiagnosisResult) -> Finding | None:
    """δ grows on its way back, whatever the weight gradients look like."""
    lost = lost_decades(result.rate, result.hidden)
    if lost is None or lost > -DECADES:
        return None
    norms = [
        row.gradient_log10_norm
        for row in hidden_rows(result)
        if row.gradient_log10_norm is not None
    ]
    flat = norms and max(norms) - min(norms) < -lost / 2
    return Finding(
        "exploding",
        "error",
        _far_layers(result),
        f"δ grows by {-lost:.1f} decades over {result.hidden} {_units(result)} "
        f"({_factor(result)})"
        + (
            "; the weight gradients look flat, since the activations are small where δ is large"
            if flat
            else ""
        ),
        "smaller weights (--gain, he-normal for ReLU), normalisation, residual connections, "
        "or clipping",
    )


def self_normalising(result: DiagnosisResult) -> Finding | None:
    """SELU keeps mean 0 and variance 1, within bounds (Klambauer et al. 2017, section 2)."""
    if result.activation != "selu":
        return None
    off = [
        row
        for row in hidden_rows(result)
        if not (
            abs(row.activation_mean or 0) <= 0.1 and 0.8 <= (row.activation_variance or 0) <= 1.5
        )
    ]
    if not off:
        return Finding(
            "self-normalising",
            "info",
            (),
            "self-normalisation holds: mean within ±0.1 and variance within 0.8 to 1.5 everywhere",
            "",
        )
    return Finding(
        "self-normalising",
        "info",
        tuple(row.index for row in off),
        f"self-normalisation is broken in {named_layers(off)}: mean beyond ±0.1 or variance "
        "outside 0.8 to 1.5",
        "lecun-normal weights, zero biases, inputs of mean 0 and variance 1",
    )


def bounded(result: DiagnosisResult) -> Finding | None:
    """The rate of a plain recurrent network beside Pascanu's bound."""
    bound, rate = result.rate_bound, result.rate
    if bound is None or rate is None:
        return None
    says = (
        "below 1, so the gradient has to vanish"
        if bound < 1
        else "not below 1, so the gradient may explode, and need not"
    )
    return Finding(
        "bound",
        "info",
        (),
        f"a factor of {rate:.3g} per step; Pascanu's bound σ_max(W)·max|φ′| is {bound:.3g}, {says}",
        "",
    )


def underflow(result: DiagnosisResult) -> Finding | None:
    """Entries of the gradient that half precision loses, and the loss scale against it."""
    rows = [r for r in result.records if _lost(r) > UNDERFLOWS]
    if not rows:
        return None
    worst = max(_lost(row) for row in rows)
    scale = result.suggested_loss_scale
    advice = (
        "bfloat16, which has float32's range: no loss scale brings 99.9 % into this one's"
        if scale is None
        else f"a loss scale of {scale:.0f} (2^{math.log2(scale):.0f}) brings 99.9 % of them into "
        f"range: GradScaler(init_scale={scale:.0f}.0); or bfloat16"
    )
    return Finding(
        "underflow",
        "warning",
        tuple(row.index for row in rows),
        f"in {named_layers(rows)} up to {worst:.1%} of the gradient's entries are 0 in "
        f"{result.meta.dtype} though not in float32",
        advice,
    )


def _lost(row: LayerRow) -> float:
    return max(row.underflow_fraction or 0.0, row.delta_underflow_fraction or 0.0)


#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check, ...] = (
    broken,
    dead,
    vanishing,
    exploding,
    collapsing,
    self_normalising,
    bounded,
    underflow,
)


def judged(
    result: DiagnosisResult, width: int | None = None, notes: tuple[Finding, ...] = ()
) -> DiagnosisResult:
    """Return `result` with its findings and further notes, and the first error as its verdict."""
    findings = [finding for check in CHECKS if (finding := check(result)) is not None]
    errors = [finding.code for finding in findings if finding.severity == "error"]
    verdict = errors[0] if errors else "healthy"
    noise = None if width is None else noisy(result, width)
    if noise is not None:
        notes = (*notes, noise)
    return dataclasses.replace(result, verdict=verdict, findings=(*findings, *notes))


def noisy(result: DiagnosisResult, width: int) -> Finding | None:
    """One seed says little where depth/width is large: for He-Gaussian ReLU nets
    E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^d (Hanin & Nica 2020).
    """
    spread = result.hidden * math.log1p(5 / width)
    if len(result.meta.seeds) != 1 or spread < 1:
        return None
    return Finding(
        "one-seed",
        "info",
        (),
        f"{result.hidden} layers of {width} units: ‖δ‖² of one random network scatters by a "
        f"factor of about e^{math.sqrt(spread):.1f}",
        "--seeds 20 measures the spread",
    )


def signal_decades(result: DiagnosisResult) -> float | None:
    """Return by how many decades the difference between examples shrinks, in amplitude."""
    rows = hidden_rows(result)
    known = rows and rows[-1].example_spread is not None
    return _signal(rows[-1]) if known else None


def decades(result: DiagnosisResult) -> float:
    """Return the worse of the two: what the gradient loses or gains, what the signal loses."""
    gradient = lost_decades(result.rate, result.hidden)
    if result.verdict == "dead" or (gradient is None and result.hidden > 1):
        return math.inf
    return max(abs(gradient or 0.0), signal_decades(result) or 0.0)


def _signal(row: LayerRow) -> float:
    spread = row.example_spread
    if spread is None or math.isnan(spread):
        return 0.0
    return -0.5 * math.log10(spread) if spread > 0 else math.inf


def _on_plateaus(row: LayerRow) -> float:
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
