"""Checks: a diagnosis in, a finding or nothing out. Standard library only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow

#: Decades that δ may lose or gain over all hidden layers before training is at risk.
DECADES = 3.0
#: A layer is dead when this share of its units has slope 0 for every example of the batch.
DEAD = 0.9
#: A layer is saturated when this share of its slopes lies below 1 % of the largest.
SATURATED = 0.5

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
        "broken", "error", tuple(sorted({*forward, *backward})), where,
        "smaller weights (--gain, --init), or a wider dtype",
    )  # fmt: skip


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
        "dead", "error", tuple(row.index for row in rows),
        f"in {_layers(rows)} up to {worst:.0%} of the units have slope 0 for every example, "
        "so no gradient passes them",
        "biases nearer to 0, He initialisation, a smaller learning rate, or Leaky ReLU",
    )  # fmt: skip


def vanishing(result: DiagnosisResult) -> Finding | None:
    """δ shrinks on its way back; told apart by its cause: saturation, or small weights."""
    decades = lost_decades(result)
    if decades is None or decades < DECADES:
        return None
    rows = [row for row in hidden_rows(result) if (row.saturated_fraction or 0) >= SATURATED]
    evidence = (
        f"δ shrinks by {decades:.1f} decades over {result.hidden} hidden layers "
        f"(a factor of {result.rate:.3g} per layer)"
    )
    if rows and result.activation not in RECTIFIERS:
        return Finding(
            "saturated", "error", tuple(row.index for row in rows),
            f"{evidence}, because {_layers(rows)} {'are' if len(rows) > 1 else 'is'} saturated",
            "smaller weights or biases, a normalisation layer, or an activation without plateaus",
        )  # fmt: skip
    return Finding(
        "vanishing", "error", _far_layers(result), evidence,
        "weights at the critical variance of the activation (he-normal for ReLU), "
        "or an activation with a larger slope",
    )  # fmt: skip


def exploding(result: DiagnosisResult) -> Finding | None:
    """δ grows on its way back, whatever the weight gradients look like."""
    decades = lost_decades(result)
    if decades is None or decades > -DECADES:
        return None
    norms = [
        row.gradient_log10_norm
        for row in hidden_rows(result)
        if row.gradient_log10_norm is not None
    ]
    flat = norms and max(norms) - min(norms) < -decades / 2
    return Finding(
        "exploding", "error", _far_layers(result),
        f"δ grows by {-decades:.1f} decades over {result.hidden} hidden layers "
        f"(a factor of {result.rate:.3g} per layer)"
        + ("; the weight gradients look flat, since the activations are small where δ is large"
           if flat else ""),
        "smaller weights (--gain, he-normal for ReLU), normalisation, residual connections, "
        "or clipping",
    )  # fmt: skip


#: Activations of which a slope near 0 is sparsity and not saturation.
RECTIFIERS = frozenset({"relu", "leaky-relu", "relu6"})

#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check, ...] = (broken, dead, vanishing, exploding)


def judged(result: DiagnosisResult, width: int | None = None) -> DiagnosisResult:
    """Return `result` with its findings, and the first one's code as its verdict."""
    findings = [finding for check in CHECKS if (finding := check(result)) is not None]
    verdict = findings[0].code if findings else "healthy"
    notes = [] if width is None else [n for n in (noisy(result, width),) if n is not None]
    return dataclasses.replace(result, verdict=verdict, findings=(*findings, *notes))


def noisy(result: DiagnosisResult, width: int) -> Finding | None:
    """One seed says little where depth/width is large: for He-Gaussian ReLU nets
    E‖δ‖⁴/(E‖δ‖²)² = (1 + 5/n)^d (Hanin & Nica 2020).
    """
    spread = result.hidden * math.log1p(5 / width)
    if len(result.meta.seeds) != 1 or spread < 1:
        return None
    return Finding(
        "one-seed", "info", (),
        f"{result.hidden} layers of {width} units: ‖δ‖² of one random network scatters by a "
        f"factor of about e^{math.sqrt(spread):.1f}",
        "--seeds 20 measures the spread",
    )  # fmt: skip


def lost_decades(result: DiagnosisResult) -> float | None:
    """Return by how many decades δ shrinks over the hidden layers, from the fitted rate."""
    if result.rate is None or not 0 < result.rate < math.inf:
        return None
    return -math.log10(result.rate) * result.hidden


def _far_layers(result: DiagnosisResult) -> tuple[int, ...]:
    """Layers whose δ is a thousand times away from the last hidden layer's."""
    rows = hidden_rows(result)
    last = rows[-1].delta_log10_rms
    if last is None:
        return ()
    return tuple(
        row.index
        for row in rows
        if row.delta_log10_rms is not None and abs(row.delta_log10_rms - last) >= DECADES
    )


def _layers(rows: list[LayerRow]) -> str:
    indices = [row.index for row in rows]
    if len(indices) == 1:
        return f"layer {indices[0]}"
    if indices == list(range(indices[0], indices[-1] + 1)):
        return f"layers {indices[0]} to {indices[-1]}"
    return "layers " + ", ".join(map(str, indices))
