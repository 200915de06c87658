"""What a reader of a clipping result should know. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradflow.findings.thresholds import DECADES
from gradflow.results.base import Finding
from gradflow.results.clipping import ClipResult, PolicyRow, best_of

#: Policies whose limit says by itself how often they engage.
_BY_DESIGN = ("agc", "autoclip")


def findings(result: ClipResult, interrupted: bool) -> Iterator[Finding]:
    """Yield what there is to say, the gravest first."""
    if interrupted:
        done = max((row.step for row in result.history), default=0)
        yield Finding(
            "interrupted",
            "warning",
            (),
            f"stopped by Ctrl-C; {done} of {result.steps} steps were done under each policy",
            "",
        )
    yield from _diverged(result)
    yield from _overclipped(result)
    yield from _vanishing(result)
    yield from _turned(result)
    yield from _idle(result)
    yield from _suggested(result)


def _diverged(result: ClipResult) -> Iterator[Finding]:
    for row in result.records:
        if row.diverged and not row.proposal:  # of thresholds tried, the table says it
            which = f"{row.diverged_seeds} of {row.seeds} seeds diverged, the first"
            who = "training diverged" if row.seeds == 1 else which
            yield Finding(
                "diverged",
                "error",
                (),
                f"under '{row.policy}' {who} at step {row.diverged_step}",
                "a lower --threshold, --lr or --gain",
            )


def _overclipped(result: ClipResult) -> Iterator[Finding]:
    rows = [
        row
        for row in result.records
        if (row.engaged_fraction or 0) > 0.5 and not row.policy.startswith(_BY_DESIGN)
        if not row.proposal or row.threshold == result.suggested
    ]
    if rows:
        named = ", ".join(f"{row.policy} {row.engaged_fraction:.0%}" for row in rows)
        yield Finding(
            "overclipped",
            "warning",
            (),
            f"more than half of the updates are clipped: {named}",
            "such a threshold works like a smaller learning rate: try that, or a warm-up, first",
        )


def _vanishing(result: ClipResult) -> Iterator[Finding]:
    """Clipping only ever makes gradients smaller; how far they had shrunk before is measured."""
    logs = [row.gradient_log10 for row in result.flow]
    if len(logs) > 1 and logs[-1] - logs[0] > DECADES:
        where = f"step 1 of the sequence gets 10^{logs[0] - logs[-1]:.1f} of step {len(logs)}'s"
        yield _not_cured(f"{where} gradient; policies scale the sum over the steps")
        return
    ratios = {row.policy: _first_over_last(result, row.policy) for row in result.records}
    raw = next(iter(ratios.values()), None)
    if raw is not None and raw < -DECADES:
        kept = ", ".join(
            f"10^{ratio:.1f} under {policy}"
            for policy, ratio in ratios.items()
            if policy != "none" and ratio is not None
        )
        yield _not_cured(
            f"layer 1 gets 10^{raw:.1f} of the last layer's gradient"
            + (f", {kept}" if kept else "")
        )


def _not_cured(evidence: str) -> Finding:
    return Finding(
        "vanishing",
        "warning",
        (),
        f"{evidence}: clipping does not cure vanishing gradients",
        "gradflow diagnose says what does: weights, activation, normalisation, residuals, gates",
    )


def _first_over_last(result: ClipResult, policy: str) -> float | None:
    norms = [row.norm for row in result.layers if row.policy == policy]
    if policy == "none":
        norms = [row.norm_before for row in result.layers if row.policy == policy]
    if len(norms) < 3 or not all(math.isfinite(norm) and norm > 0 for norm in norms):
        return None
    return math.log10(norms[0]) - math.log10(norms[-1])


def _turned(result: ClipResult) -> Iterator[Finding]:
    for row in result.records:
        if row.cosine is not None and row.cosine < 0.99:
            yield Finding(
                "turned",
                "info",
                (),
                f"'{row.policy}' turns the gradient by {math.degrees(math.acos(row.cosine)):.0f}° "
                f"and changes {row.clipped_fraction:.2%} of its entries",
                "norm scaling keeps the direction",
            )


def _idle(result: ClipResult) -> Iterator[Finding]:
    """Say so where no policy did anything at all."""
    rows = [row for row in result.records if row.policy != "none"]
    if rows and not any(row.engaged_fraction or row.clipped_fraction for row in rows):
        largest = max((row.norm_before for row in result.history), default=rows[0].norm_before)
        yield Finding(
            "idle",
            "info",
            (),
            f"nothing was clipped: the largest norm met is {largest:.3g}",
            "a lower --threshold; --suggest proposes one",
        )


def _suggested(result: ClipResult) -> Iterator[Finding]:
    best = best_of(result.records)
    if not result.distribution or best is None:
        return
    if best.threshold is None:
        yield Finding(
            "suggested", "info", (), "no threshold tried ended below unclipped training", ""
        )
        return
    yield Finding(
        "suggested",
        "info",
        (),
        f"of {len(result.records) - 1} thresholds tried {best.threshold:.3g} trains best; "
        f"it clips {best.engaged_fraction or 0:.0%} of the updates{_still(best)}",
        f"nn.utils.clip_grad_norm_(model.parameters(), {best.threshold:.3g})",
    )


def _still(best: PolicyRow) -> str:
    if "trains" in best.outcome:
        return ""
    return ", and even so training ends no better than an answer that ignores its input"
