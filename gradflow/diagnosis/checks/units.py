"""Checks of units that are dead or saturated. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.diagnosis.checks.layers import (
    dead_layers,
    goes_around,
    head_drop,
    hidden_rows,
    saturation,
)
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    HEAD_DECADES,
    SATURATED_EVERYWHERE,
    SATURATED_OUTPUT,
    STUCK_OUTPUT,
)
from gradflow.findings.words import indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


@check("dead")
def dead(result: DiagnosisResult) -> Iterator[Finding]:
    """Layers nearly all of whose units have slope 0 on the whole batch."""
    rows = dead_layers(result)
    if not rows:
        return
    worst = max(row.dead_fraction or 0 for row in rows)
    around = goes_around(result, rows)
    yield finding(
        "dead",
        f"in {named_layers(rows)} up to {worst:.0%} of the units have slope 0 for every "
        f"example, so no gradient passes them{'; it goes around them' if around else ''}",
        "biases nearer to 0, He initialisation, a smaller learning rate, or Leaky ReLU",
        layers=indices(rows),
        severity="warning" if around else "error",
    )


@check("saturated")
def saturated_output(result: DiagnosisResult) -> Iterator[Finding]:
    """The activation after the output layer sits on its plateau, and δ no longer follows the loss.

    The outputs of a network that is trained do too, but then its loss is small as well.
    """
    if not result.records:
        return
    last, loss = result.output, result.facts.example_loss
    if saturation(last) < SATURATED_OUTPUT or last.delta_log10_rms is None or not loss:
        return
    if 10**last.delta_log10_rms >= STUCK_OUTPUT * abs(loss):
        return
    yield finding(
        "saturated",
        f"{saturation(last):.0%} of the outputs of {named_layers([last])} lie where the slope of "
        f"their activation is below 1 % of its largest, and δ is 10^{last.delta_log10_rms:.1f} at "
        f"a loss of {loss:.2g}",
        "inputs of mean 0 and variance 1, smaller weights, or no such activation",
        layers=(last.index,),
    )


def saturated_alone(result: DiagnosisResult, rows: list[LayerRow]) -> Iterator[Finding]:
    """Saturation that does not make δ vanish over depth.

    An error where it stops δ at once, and where hardly a unit is off its plateau.
    """
    if not rows:
        return
    drop = head_drop(result)
    shares = [saturation(r) for r in hidden_rows(result) if r.saturated_fraction is not None]
    everywhere = sum(shares) >= SATURATED_EVERYWHERE * len(shares)
    stops = rows[-1] is hidden_rows(result)[-1] and drop is not None and drop >= HEAD_DECADES
    yield finding(
        "saturated",
        f"in {named_layers(rows)} up to {max(map(saturation, rows)):.0%} of the slopes are below "
        "1 % of the activation's largest"
        + (f", and δ shrinks by {drop:.1f} decades behind the output" if stops else ""),
        "smaller weights, biases or inputs, or a normalisation layer",
        layers=indices(rows),
        severity="error" if stops or everywhere else "warning",
    )
