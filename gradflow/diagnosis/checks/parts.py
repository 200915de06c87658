"""Checks of parts with an inside of their own: attention, and recurrent layers of torch.

Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from gradflow.findings.attention import sharp_attention
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    GROWS_OVER_TIME,
    LOST_IN_FLOAT32,
    SATURATED_GATE,
    TOKEN_SPREAD,
    TOKEN_SPREAD_BACK,
    TOKEN_SPREAD_LEFT,
    TOKEN_SPREAD_LOST,
    bearable_decades,
)
from gradflow.findings.words import indices, lost_decades, named_layers
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, LayerRow, Recurrence

#: What holds its attention's output itself.
_WHOLE = "MultiheadAttention"
#: Rows of which one at least has to tell tokens apart: what attention alone adds to the stream does
#: so little.
_FIRST, _LAST = slice(4), slice(-4, None)


@check("saturated")
def attention(result: DiagnosisResult) -> Iterator[Finding]:
    """Attention that looks at one key alone: its softmax passes no gradient to queries and keys."""
    found = sharp_attention(result.records)
    if found is not None:
        yield found


@check("collapse")
def same_tokens(result: DiagnosisResult) -> Iterator[Finding]:
    """All tokens of an example are mapped to nearly the same point, as attention alone does.

    A warning: what a whole sequence is classified by may survive. Without attention, as in graph
    networks, tokens need no telling apart.
    """
    hidden = result.records[: result.hidden]
    if all(row.attention_entropy is None for row in result.records):
        return
    known = [r for r in hidden if r.token_spread is not None and not math.isnan(r.token_spread)]
    first, last = (_largest(known[some]) for some in (_FIRST, _LAST))
    if not known or known[-1].index in result.facts.started:
        return
    batch, already = result.facts.batch, (known[0].token_spread or 0) <= TOKEN_SPREAD
    if not already and _past_attention(hidden, batch.dropout[0] if batch else 0.0):
        return
    if last > TOKEN_SPREAD:
        if last <= TOKEN_SPREAD_LEFT and first >= TOKEN_SPREAD_LOST * last:
            yield _mixed(known, first, last)
        return
    rows = [row for row in known if (row.token_spread or 0) <= TOKEN_SPREAD]
    yield finding(
        "collapse",
        f"the tokens of an example are {'already ' if already else ''}nearly the same in "
        f"{named_layers(rows)} ({last:.1g} of their mean square differs): attention can hardly "
        "tell them apart",
        "residual connections around attention, and positions or tokens that differ",
        layers=indices(rows),
        severity="warning",
    )


def _past_attention(hidden: Sequence[LayerRow], dropout: float) -> bool:
    """Whether what tells tokens apart goes past attention, in a residual connection or a gate.

    Attention averages tokens: what it puts out is more alike than what the next layer takes, unless
    that is nothing else. Then a step changes what each token is, however alike they begin.
    """
    gains = []
    for at, row in enumerate(hidden):
        if row.attention_entropy is None:
            continue
        behind = (r.token_spread for r in hidden[at + (row.kind != _WHOLE) :])
        out, reader = [*(s for s in behind if s is not None), None, None][:2]
        if out is not None and reader is not None:
            noisy = out + dropout * (1 - out)  # which tells tokens apart by chance
            gains.append(reader / noisy if noisy else math.inf if reader else 1.0)
    return len(gains) > 1 and statistics.median(gains) >= TOKEN_SPREAD_BACK


def _largest(rows: Sequence[LayerRow]) -> float:
    return max((row.token_spread or 0 for row in rows), default=1.0)


def _mixed(known: Sequence[LayerRow], first: float, last: float) -> Finding:
    """Tokens that become alike from layer to layer, and are on their way to be the same."""
    rows = [row for row in known if (row.token_spread or 0) <= last]
    return finding(
        "collapse",
        f"the tokens of an example become alike: {first:.0%} of their mean square differs in the "
        f"first layers, {last:.0%} in {named_layers(rows)}",
        "residual connections around attention, and positions or tokens that differ",
        layers=indices(rows),
        severity="warning",
    )


@check("vanishing", "exploding")
def time_steps(result: DiagnosisResult) -> Iterator[Finding]:
    """∂C/∂x shrinks or grows over the time steps of a recurrent layer."""
    for seen in result.facts.recurrences:
        steps = len(seen.input_delta_log10_rms)
        lost = lost_decades(seen.rate, steps)
        bound = bearable_decades(steps) + (GROWS_OVER_TIME if lost and lost < 0 else 0)
        if lost is not None and abs(lost) >= bound:
            yield _over_time(seen, steps, lost)


def _over_time(seen: Recurrence, steps: int, lost: float) -> Finding:
    """What needs no more than the last steps trains all the same: an error where less is left of
    the first than float32 rounds away beside the last.
    """
    code, verb = ("vanishing", "shrinks") if lost > 0 else ("exploding", "grows")
    return finding(
        code,
        f"∂C/∂x of {seen.name} {verb} by {abs(lost):.1f} decades over {steps} time steps (a factor "
        f"of {seen.rate:.3g} per step)",
        "a large bias of the forget gate (1 to 4), a GRU, attention, or fewer steps"
        if lost > 0
        else "orthogonal recurrent weights, tanh, or clipping",
        layers=seen.layers,
        severity="warning" if abs(lost) < LOST_IN_FLOAT32 else "error",
    )


@check("saturated")
def gates(result: DiagnosisResult) -> Iterator[Finding]:
    """Gates of a recurrent layer that are stuck on a plateau."""
    for seen in result.facts.recurrences:
        stuck = {gate: share for gate, share in seen.saturated if share >= SATURATED_GATE}
        if stuck:
            listed = ", ".join(f"{gate} {share:.0%}" for gate, share in stuck.items())
            yield finding(
                "saturated",
                f"gates of {seen.name} are saturated: {listed}",
                "smaller weights, biases or inputs",
                layers=seen.layers,
                severity="warning",
            )
