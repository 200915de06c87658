"""Checks against what theory says of a network. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.diagnosis.checks.layers import hidden_rows
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    ONE_SEED,
    SELU_LARGEST_VARIANCE,
    SELU_LEAST_VARIANCE,
    SELU_MEAN,
)
from gradflow.findings.words import indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


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
