"""The checks of a comparison of clipping policies. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import CLIPPED_OFTEN, DECADES, TURNED
from gradflow.findings.unfinished import stopped
from gradflow.findings.words import shares
from gradflow.results.base import Finding
from gradflow.results.clipping import ClipResult, PolicyRow, best_of, listed
from gradflow.results.names import told

#: Policies whose limit says by itself how often they engage.
_BY_DESIGN = ("agc", "autoclip")
#: Policies that a line has room for.
_MOST_POLICIES = 4


@check("interrupted")
def interrupted(result: ClipResult) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    steps = max((row.step for row in result.history), default=0)
    done = f"{steps} of {result.steps} steps were done under each policy"
    yield from stopped(result.facts.interrupted, done)


@check("diverged")
def diverged(result: ClipResult) -> Iterator[Finding]:
    """The loss grew, or is not finite, under a policy that was asked for."""
    for row in result.records:
        if row.diverged and not row.proposal:  # of thresholds tried, the table says it
            which = f"{row.diverged_seeds} of {row.seeds} seeds diverged, the first"
            who = "training diverged" if row.seeds == 1 else which
            yield finding(
                "diverged",
                f"under '{row.policy}' {who} at step {row.diverged_step}",
                "a lower --threshold, --lr or --gain",
            )


@check("overclipped")
def overclipped(result: ClipResult) -> Iterator[Finding]:
    """A policy clips most of the updates, though its limit is not made to."""
    rows = [
        row
        for row in result.records
        if (row.engaged_fraction or 0) > CLIPPED_OFTEN and not row.policy.startswith(_BY_DESIGN)
        if not row.proposal or row.threshold == result.suggested
    ]
    if rows:
        yield finding(
            "overclipped",
            "more than half of the updates are clipped: "
            + shares({row.policy: row.engaged_fraction for row in rows}),
            "such a threshold works like a smaller learning rate: try that, or a warm-up, first",
        )


@check("vanishing")
def vanishing(result: ClipResult) -> Iterator[Finding]:
    """Clipping only ever makes gradients smaller; how far they had shrunk before is measured."""
    evidence = _faded_over_time(result) or _faded_over_layers(result)
    if evidence is not None:
        yield finding(
            "vanishing",
            f"{evidence}: clipping does not cure vanishing gradients",
            "gradflow diagnose says what does: weights, activation, normalisation, residuals, "
            "gates",
            severity="warning",
        )


def _faded_over_time(result: ClipResult) -> str | None:
    logs = [row.gradient_log10 for row in result.flow]
    if len(logs) < 2 or not logs[-1] - logs[0] > DECADES:
        return None
    where = f"step 1 of the sequence gets 10^{logs[0] - logs[-1]:.1f} of step {len(logs)}'s"
    return f"{where} gradient; policies scale the sum over the steps"


def _faded_over_layers(result: ClipResult) -> str | None:
    ratios = {row.policy: _first_over_last(result, row.policy) for row in result.records}
    raw = next(iter(ratios.values()), None)
    if raw is None or not raw < -DECADES:
        return None
    kept = {p: ratio for p, ratio in ratios.items() if p != "none" and ratio is not None}
    said = [f"10^{ratio:.1f} under {policy}" for policy, ratio in kept.items()]
    if len(kept) > _MOST_POLICIES:
        said = [f"at most 10^{max(kept.values()):.1f} under any of {len(kept)} policies"]
    first = told(result.layers[0])
    return ", ".join([f"{first} gets 10^{raw:.1f} of the last layer's gradient", *said])


def _first_over_last(result: ClipResult, policy: str) -> float | None:
    norms = [row.norm for row in result.layers if row.policy == policy]
    if policy == "none":
        norms = [row.norm_before for row in result.layers if row.policy == policy]
    if len(norms) < 3 or not all(math.isfinite(norm) and norm > 0 for norm in norms):
        return None
    return math.log10(norms[0]) - math.log10(norms[-1])


@check("turned")
def turned(result: ClipResult) -> Iterator[Finding]:
    """A policy changes the gradient's direction."""
    for row in result.records:
        if row.cosine is not None and row.cosine < TURNED:
            yield finding(
                "turned",
                f"'{row.policy}' turns the gradient by {math.degrees(math.acos(row.cosine)):.0f}° "
                f"and changes {row.clipped_fraction:.2%} of its entries",
                "norm scaling keeps the direction",
            )


@check("idle")
def idle(result: ClipResult) -> Iterator[Finding]:
    """A policy that was asked for did nothing at all."""
    rows = [row for row in result.records if row.policy != "none" and not row.proposal]
    unused = [row for row in rows if not (row.engaged_fraction or row.clipped_fraction)]
    if not unused:
        return
    met = [r.norm_before for r in result.history if r.policy in {row.policy for row in unused}]
    largest = max([row.norm_before for row in unused] + met)
    names = listed([f"'{row.policy}'" for row in unused])
    under = "" if len(unused) == len(rows) else f" under {names}"
    yield finding(
        "idle",
        f"nothing was clipped{under}: the largest norm met is {largest:.3g}",
        "a lower --threshold; --suggest proposes one",
    )


@check("suggested")
def suggested(result: ClipResult) -> Iterator[Finding]:
    """The best of the thresholds that were tried."""
    best = best_of(result.records)
    if not result.distribution or best is None:
        return
    if best.threshold is None:
        yield finding("suggested", "no threshold tried ended below unclipped training")
        return
    yield finding(
        "suggested",
        f"of {len(result.records) - 1} thresholds tried {best.threshold:.3g} trains best; "
        f"it clips {best.engaged_fraction or 0:.0%} of the updates{_still(best)}",
        f"nn.utils.clip_grad_norm_(model.parameters(), {best.threshold:.3g})",
    )


def _still(best: PolicyRow) -> str:
    if "trains" in best.outcome:
        return ""
    return ", and even so training ends no better than an answer that ignores its input"


#: In the order in which they are said; a new check is one entry.
CHECKS: tuple[Check[ClipResult], ...] = (
    interrupted,
    diverged,
    overclipped,
    vanishing,
    turned,
    idle,
    suggested,
)
