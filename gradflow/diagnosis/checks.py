"""The checks of a diagnosis. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import (
    DECADES,
    ONE_SEED,
    SATURATED,
    SELU_LARGEST_VARIANCE,
    SELU_LEAST_VARIANCE,
    SELU_MEAN,
    UNDERFLOW,
)
from gradflow.findings.words import dead_rows, indices, lost_decades, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


def hidden_rows(result: DiagnosisResult) -> tuple[LayerRow, ...]:
    """Return the rows of the hidden layers (the output's logits are not units that can die)."""
    return result.records[: result.hidden]


@check("broken")
def broken(result: DiagnosisResult) -> Iterator[Finding]:
    """A value that is not finite, and the layer where it arose."""
    forward = [row.index for row in result.records if row.forward_nonfinite]
    backward = [row.index for row in result.records if row.backward_nonfinite]
    lost = result.loss is not None and not math.isfinite(result.loss)
    if not (forward or backward or lost):
        return
    if forward:
        where = f"layer {forward[0]} is the first whose activations are not finite" + _overflow(
            result
        )
    elif backward:
        where = f"gradients are not finite from layer {backward[-1]} backwards"
    else:
        where = f"the loss is {result.loss}"
    yield finding(
        "broken",
        where,
        "smaller weights (--gain, --init), or a wider dtype",
        layers=sorted({*forward, *backward}),
    )


def _overflow(result: DiagnosisResult) -> str:
    """Say what overflowed where the magnitudes are known all the same."""
    if result.rate is None or result.meta.dtype is None:
        return ""
    return f": they overflow {result.meta.dtype} (the magnitudes here do not)"


@check("dead")
def dead(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers nearly all of whose units have slope 0 on the whole batch."""
    rows = dead_rows(hidden_rows(result))
    if rows:
        worst = max(row.dead_fraction or 0 for row in rows)
        yield finding(
            "dead",
            f"in {named_layers(rows)} up to {worst:.0%} of the units have slope 0 for every "
            "example, so no gradient passes them",
            "biases nearer to 0, He initialisation, a smaller learning rate, or Leaky ReLU",
            layers=indices(rows),
        )


@check("vanishing", "saturated")
def vanishing(result: DiagnosisResult) -> Iterator[Finding]:
    """δ shrinks on its way back; told apart by its cause: saturation, or small weights."""
    lost = lost_decades(result.rate, result.hidden)
    if lost is None or lost < DECADES:
        return
    evidence = (
        f"δ shrinks by {lost:.1f} decades over {result.hidden} {_units(result)} ({_factor(result)})"
    )
    rows = [row for row in hidden_rows(result) if _saturation(row) >= SATURATED]
    if rows:
        yield finding(
            "saturated",
            f"{evidence}, because {named_layers(rows)} "
            f"{'are' if len(rows) > 1 else 'is'} saturated",
            "smaller weights or biases, a normalisation layer, or an activation without plateaus",
            layers=indices(rows),
        )
        return
    yield finding(
        "vanishing",
        f"{evidence}, because the weights are small for this activation's slopes",
        "weights at the activation's critical variance, or an activation with a larger slope",
        layers=_far_layers(result),
    )


@check("vanishing")
def collapsing(result: DiagnosisResult) -> Iterator[Finding]:
    """Every example is mapped to nearly the same point: there is no signal to learn from."""
    lost = signal_decades(result)
    if lost is None or lost < DECADES or dead_rows(hidden_rows(result)):
        return
    rows = [row for row in hidden_rows(result) if _signal(row) >= DECADES]
    yield finding(
        "vanishing",
        f"the difference between examples shrinks by {lost:.1f} decades on its way forwards: "
        f"in {named_layers(rows)} every example is nearly the same point",
        "smaller biases, weights at the critical variance, or normalisation over the batch",
        layers=indices(rows),
    )


@check("exploding")
def exploding(result: DiagnosisResult) -> Iterator[Finding]:
    """δ grows on its way back, whatever the weight gradients look like."""
    lost = lost_decades(result.rate, result.hidden)
    if lost is None or lost > -DECADES:
        return
    yield finding(
        "exploding",
        f"δ grows by {-lost:.1f} decades over {result.hidden} {_units(result)} "
        f"({_factor(result)})" + _looks_flat(result, -lost),
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
        f"{result.meta.dtype} though not in float32",
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
        yield finding(
            "unreached",
            f"no gradient reaches {named_layers(layers)}, which could be trained",
            "is there a no_grad(), a detach() or a reentrant checkpoint (use_reentrant=False)?",
            layers=layers,
        )


@check("shared")
def shared(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers with one and the same weight."""
    for layers in result.facts.shared:
        yield finding(
            "shared",
            f"{named_layers(layers)} share a weight: each shows its gradient over all of them",
            layers=layers,
        )


@check("precision")
def widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ left the model's own dtype, and float64 was measured instead."""
    layers = result.facts.widened
    if layers:
        yield finding(
            "precision",
            f"δ under- or overflows the model's own dtype in {named_layers(layers)}; "
            "the magnitudes here were measured again where they are not lost",
            "a wider dtype, or loss scaling",
            layers=layers,
        )


@check("precision")
def not_widened(result: DiagnosisResult) -> Iterator[Finding]:
    """δ is 0 or left the model's own dtype, and float64 could not be measured instead."""
    layers = result.facts.not_widened
    if layers:
        yield finding(
            "precision",
            f"in {named_layers(layers)} δ is 0, too small or too large for the model's own dtype, "
            f"and a float64 copy could not be measured: {result.facts.no_float64}",
            "a model that runs in float64, too: no dtype written into its forward",
            layers=layers,
        )


@check("underflow")
def not_compared(result: DiagnosisResult) -> Iterator[Finding]:
    """What half precision loses is not known, since a float32 copy could not be measured."""
    if result.facts.no_float32 is not None:
        yield finding(
            "underflow",
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


#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check[DiagnosisResult], ...] = (
    broken,
    dead,
    vanishing,
    exploding,
    collapsing,
    self_normalising,
    bounded,
    underflow,
    compiled,
    lazy,
    unreached,
    shared,
    widened,
    not_widened,
    not_compared,
    noisy,
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
