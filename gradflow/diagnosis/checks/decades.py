"""What the gradient and the difference between examples lose, and how bad that is.

Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from gradflow.diagnosis.checks.layers import dead_layers, depth, hidden_rows, signal_of
from gradflow.findings.batches import OutputSignal, no_choice, of_batch, output_signal
from gradflow.findings.thresholds import DENSE_TOGETHER, GOES_AROUND, Tolerance
from gradflow.findings.words import Graded, graded, lost_decades
from gradflow.results.diagnosis import DiagnosisResult, LayerRow
from gradflow.results.names import roles


def faded(result: DiagnosisResult) -> tuple[Graded | None, float | None]:
    """How bad it is that δ shrinks; by how much less where it goes around the deep path.

    Where it does, as across a U-Net, what reaches the first layers counts.
    """
    lost, around = lost_decades(result.rate, depth(result)), lost_around(result)
    if lost is None:
        return None, None
    lost = min(lost, whole(result, lost))
    beside = graded(lost, _bearable_in_a_row(result), result.facts.optimizer)
    if around is None:
        return beside, None
    grade = graded(around, bearable_fading(result), result.facts.optimizer)
    return grade or _milder(beside), around


def bearable_fading(result: DiagnosisResult) -> Callable[[Tolerance], float]:
    """Return how many decades an optimizer copes with that δ loses up to the first layer."""
    if lost_around(result) is None:
        return _bearable_in_a_row(result)
    return lambda tolerance: tolerance.bearable_around(depth(result))


def _bearable_in_a_row(result: DiagnosisResult) -> Callable[[Tolerance], float]:
    """The same where no other way leads there: more where outputs still differ enough."""
    seen, both, layers = seen_output(result), together(result), depth(result)
    if seen is None or both is None or of_batch(result).draws:
        return lambda tolerance: tolerance.bearable_decades(layers)

    dense_scores = not (seen.numbers or _convolves(result))
    most = DENSE_TOGETHER if dense_scores else math.inf

    def bound(tolerance: Tolerance) -> float:
        together_bound = min(seen.bound_together(tolerance), most)
        enough = seen.decades < seen.bound(tolerance) and both < together_bound
        return (tolerance.bearable_seen if enough else tolerance.bearable_decades)(layers)

    return bound


def _milder(grade: Graded | None) -> Graded | None:
    """A warning of the layers on the deep path, which get little."""
    return Graded("warning") if grade is not None and grade.severity == "error" else None


def whole(result: DiagnosisResult, lost: float) -> float:
    """Return by how many decades the norm of δ shrinks, where the rms is of more entries."""
    norms = lost_decades(result.facts.whole_rate, depth(result))
    return lost if norms is None else norms


def lost_around(result: DiagnosisResult) -> float | None:
    """Return by how many decades δ shrinks to the first layer, where another way leads there.

    It does where δ is larger there than in layers behind it, as across a U-Net. None elsewhere.
    """
    rows = [row for row in hidden_rows(result) if _has_delta(row)]
    known = [row.delta_log10_rms or 0.0 for row in rows]
    if not known or known[0] - min(known) < GOES_AROUND:
        return None
    return min(max(known), _of_its_kind(rows, known)) - known[0]


#: Share of the way to the output from which a layer is one of the last.
_NEAR_THE_END = 0.6


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


def signal_decades(result: DiagnosisResult) -> float | None:
    """Return by how many decades the difference between examples shrinks, in amplitude.

    As far along the chain as it is known. None where nothing can be said: of one example, of equal
    ones, and behind a weight that only starts at 0.
    """
    facts = result.facts
    if facts.examples == 1 or facts.same_inputs:
        return None
    known = [row for row in hidden_rows(result) if row.example_spread is not None]
    return signal_of(known[-1]) if known and known[-1].index not in facts.started else None


def signal_grade(result: DiagnosisResult) -> Graded | None:
    """How bad it is what the difference between examples loses over the hidden layers."""
    lost = signal_decades(result)
    if lost is None:
        return None
    return graded(lost, lambda t: t.bearable_signal(result.hidden), result.facts.optimizer)


def seen_output(result: DiagnosisResult) -> OutputSignal | None:
    """Return what is left of the difference between examples in the output.

    None where that is not known, or has another reason: equal examples, weights that start at 0.
    """
    facts = result.facts
    alike = facts.examples == 1 or facts.same_inputs or no_choice(of_batch(result))
    starts = facts.started or facts.zero_layers or facts.zero_weights
    if alike or starts or dead_layers(result):
        return None
    found = output_signal(of_batch(result))
    return found if found is None or not _convolves(result) else replace(found, numbers=False)


def _convolves(result: DiagnosisResult) -> bool:
    """Whether most hidden layers are convolutions, which learn from every position at once.

    Then numbers are met as easily as scores.
    """
    kinds = [row.kind for row in hidden_rows(result)]
    return 2 * sum(kind.startswith("Conv") for kind in kinds) > len(kinds)


def together(result: DiagnosisResult) -> float | None:
    """Return the decades that δ and the difference between examples lose; None: not known.

    So it is where another way leads around the deep path.
    """
    seen, lost = seen_output(result), lost_decades(result.rate, depth(result))
    if seen is None or lost is None or lost_around(result) is not None:
        return None
    return max(0.0, min(lost, whole(result, lost))) + seen.decades


def decades(result: DiagnosisResult) -> float:
    """Return the worse of the two: what the gradient loses or gains, what the signal loses."""
    gradient = lost_decades(result.rate, depth(result))
    if result.verdict in ("dead", "no-gradient") or (gradient is None and result.hidden > 1):
        return math.inf
    return max(abs(gradient or 0.0), signal_decades(result) or 0.0)
