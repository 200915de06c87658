"""What the checks of a diagnosis read off its rows. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradflow.findings.thresholds import DECADES, SATURATED
from gradflow.findings.words import at, dead_rows, named_layers
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


def hidden_rows(result: DiagnosisResult) -> tuple[LayerRow, ...]:
    """Return the rows of the hidden layers (the output's logits are not units that can die)."""
    return result.records[: result.hidden]


def depth(result: DiagnosisResult) -> int:
    """Return over how many hidden layers the rate reaches."""
    return result.hidden if result.facts.span is None else result.facts.span


def dead_layers(result: DiagnosisResult) -> list[LayerRow]:
    """Return the layers that are dead, and not because of weights that are 0.

    Logits have no activation, so that they cannot be; one example tells nothing.
    """
    if result.facts.examples == 1:
        return []
    excused = {*result.facts.started, *result.facts.zero_layers}
    return [row for row in dead_rows(result.records) if row.index not in excused]


def goes_around(result: DiagnosisResult, dead: list[LayerRow]) -> bool:
    """Whether δ is 0 at every dead layer and not at the first, as with residual connections."""
    first = next((r for r in result.records if r.delta_log10_rms is not None), None)
    stopped = all(row.delta_log10_rms == -math.inf for row in dead)
    return first is not None and first.delta_log10_rms != -math.inf and stopped


def saturated_layers(result: DiagnosisResult) -> list[LayerRow]:
    """Return the hidden layers most of whose slopes are near 0 on a plateau."""
    return [row for row in hidden_rows(result) if saturation(row) >= SATURATED]


def saturation(row: LayerRow) -> float:
    """Share of the slopes that are near 0 on a plateau; an output of 0 is sparsity, not that."""
    return (row.saturated_fraction or 0.0) - (row.zero_fraction or 0.0)


def head_drop(result: DiagnosisResult) -> float | None:
    """Return by how many decades δ shrinks from the output to the hidden layer that has most of it.

    The last hidden layer may be a branch behind a small gain, beside a path that carries δ.
    """
    found = [row.delta_log10_rms for row in hidden_rows(result)]
    known = [log for log in found if log is not None and math.isfinite(log)]
    last = result.output.delta_log10_rms if known else None
    return None if last is None or not math.isfinite(last) else last - max(known)


def signal_of(row: LayerRow) -> float:
    """Return the decades that the difference between examples has lost at a layer."""
    spread = row.example_spread
    if spread is None or math.isnan(spread):
        return 0.0
    return -0.5 * math.log10(spread) if spread > 0 else math.inf


def spanned(result: DiagnosisResult) -> str:
    """Return what the rate is over."""
    return "hidden layers" if result.spectral_radius is None else "time steps"


def factor(result: DiagnosisResult) -> str:
    """Return the rate in words, with its interval where it is known."""
    said = f"a factor of {result.rate:.3g} per {spanned(result).split()[-1][:-1]}"
    if result.rate_low is None or result.rate_high is None:
        return said
    return f"{said}, 95 % interval {result.rate_low:.3g} to {result.rate_high:.3g}"


def far_layers(result: DiagnosisResult) -> tuple[int, ...]:
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


def named_at(result: DiagnosisResult, layers: Iterable[int]) -> str:
    """Return layers as a finding names them, by index."""
    return named_layers(at(result.records, layers))
