"""Checks of what δ loses or gains over the layers. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.diagnosis.checks.decades import faded
from gradflow.diagnosis.checks.layers import (
    depth,
    factor,
    far_layers,
    head_drop,
    hidden_rows,
    saturated_layers,
    spanned,
)
from gradflow.diagnosis.checks.units import saturated_alone
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import HEAD_DECADES, bearable_decades
from gradflow.findings.words import indices, lost_decades, named_layers, near
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


@check("vanishing", "saturated")
def vanishing(result: DiagnosisResult) -> Iterator[Finding]:
    """δ shrinks on its way back; told apart by its cause: saturation, or small weights."""
    rows = saturated_layers(result)
    grade, around = faded(result)
    lost = lost_decades(result.rate, depth(result))
    if lost is None or grade is None:
        yield from saturated_alone(result, rows)
        return
    evidence = (
        f"δ shrinks by {lost:.1f} decades over {depth(result)} {spanned(result)} ({factor(result)}"
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
        layers=indices(rows) if rows else far_layers(result),
        severity=grade.severity,
    )


_SMALL_WEIGHTS = "the weights are small for this activation's slopes"


def _saturated(rows: list[LayerRow]) -> str:
    return f"{named_layers(rows)} {'are' if len(rows) > 1 else 'is'} saturated"


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


@check("exploding")
def exploding(result: DiagnosisResult) -> Iterator[Finding]:
    """δ grows on its way back, whatever the weight gradients look like."""
    lost = lost_decades(result.rate, depth(result))
    bound = bearable_decades(depth(result), batch_norm=result.facts.batch_norm)
    if lost is None or lost > -bound:
        return
    yield finding(
        "exploding",
        f"δ grows by {-lost:.1f} decades over {depth(result)} {spanned(result)} "
        f"({factor(result)}{near(-lost, bound)})" + _looks_flat(result, -lost),
        "smaller weights (--gain, he-normal for ReLU), normalisation, residual connections, "
        "or clipping",
        layers=far_layers(result),
    )


def _looks_flat(result: DiagnosisResult, gained: float) -> str:
    """Say so where the weight gradients hide that δ grows."""
    found = (row.gradient_log10_norm for row in hidden_rows(result))
    norms = [norm for norm in found if norm is not None]
    if norms and max(norms) - min(norms) < gained / 2:
        return "; the weight gradients look flat, since the activations are small where δ is large"
    return ""
