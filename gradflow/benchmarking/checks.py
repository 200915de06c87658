"""The checks of a benchmark, and of its plan. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import BEHIND, DEAD_AFTER_TRAINING, SATURATED_AFTER_TRAINING
from gradflow.findings.unfinished import not_done, stopped
from gradflow.findings.words import indices, shares
from gradflow.results.base import Finding
from gradflow.results.benchmark import (
    BenchmarkResult,
    FlowRow,
    PlanResult,
    labels,
    percent,
    seeds,
)

_RESUME = "with --output-dir, --resume trains what is missing"


@check("interrupted")
def interrupted(result: BenchmarkResult) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    done = f"{len(result.history)} of {result.facts.wanted_epochs} epochs were finished"
    yield from stopped(result.facts.interrupted, done, _RESUME)


@check("unjudged")
def failed(result: BenchmarkResult) -> Iterator[Finding]:
    """Runs that could not be trained."""
    yield from not_done(result.facts.failed, "trained to its end", _RESUME)


@check("diverged")
def diverged(result: BenchmarkResult) -> Iterator[Finding]:
    """A training loss is not finite."""
    names = labels(result.history)
    lost = [names[row.setting] for row in result.history if not math.isfinite(row.train_loss)]
    for name in dict.fromkeys(lost):
        yield finding(
            "diverged",
            f"{name}: the training loss is not finite",
            "a lower --lr, or a lower --clip-value",
        )


@check("below-expected")
def behind(result: BenchmarkResult) -> Iterator[Finding]:
    """A setting is far from the best."""
    names = labels(result.records)
    ranked = sorted(result.records, key=lambda row: -row.test_accuracy)
    for row in ranked[1:]:
        gap = ranked[0].test_accuracy - row.test_accuracy
        if gap > BEHIND:
            tied = names[row.setting] in result.ties
            unsure = f"; {seeds(row)} cannot say that it is no chance" if tied else ""
            yield finding(
                "below-expected",
                f"{names[row.setting]} reaches {percent(row)}, "
                f"{100 * gap:.1f} points below {names[ranked[0].setting]}{unsure}",
                "more --epochs; the figure (-o FILE.png) shows the gradients of this very network, "
                "layer by layer",
            )


@check("dead", "saturated")
def unresponsive(result: BenchmarkResult) -> Iterator[Finding]:
    """Units of a layer are dead, or saturated, at the end of training."""
    names = labels(result.flow)
    for rows in _last(result.flow).values():
        run = f"{names[rows[0].setting]}, seed {rows[0].seed}"
        for code, limit, word in (
            (
                "dead",
                DEAD_AFTER_TRAINING,
                "of the units are dead: they pass no gradient for any image",
            ),
            ("saturated", SATURATED_AFTER_TRAINING, "of the slopes are below 1 % of the largest"),
        ):
            layers = [row for row in rows if (getattr(row, f"{code}_fraction") or 0.0) > limit]
            if layers:
                found = {f"in {row.name}": getattr(row, f"{code}_fraction") for row in layers}
                yield finding(
                    code,
                    f"{run}: {shares(found)} {word}",
                    "a lower --lr, or an activation with a slope on both sides",
                    layers=indices(layers),
                    severity="warning",
                )


def _last(flow: Iterable[FlowRow]) -> dict[object, list[FlowRow]]:
    """Return the rows of every run's last epoch."""
    runs: dict[object, list[FlowRow]] = {}
    for row in sorted(flow, key=lambda row: row.epoch):
        rows = runs.setdefault((row.setting, row.seed), [])
        if rows and rows[0].epoch != row.epoch:
            rows.clear()
        rows.append(row)
    return runs


@check("test-set")
def test_set(result: BenchmarkResult) -> Iterator[Finding]:
    """How the best epoch was chosen, and what the test set was for."""
    if not result.records:
        return
    chosen = (
        f"the best epoch is that of {result.validation_size:,} images held out of the training set"
        if result.validation_size
        else "without a validation set the last epoch counts"
    )
    yield finding(
        "test-set",
        f"{chosen}; the {result.test_size:,} test images were looked at once per epoch and chose "
        "nothing",
    )


@check("one-seed")
def one_seed(result: BenchmarkResult) -> Iterator[Finding]:
    """What noise means where there is one seed."""
    if len(result.records) > 1 and max(row.seeds for row in result.records) == 1:
        yield finding(
            "one-seed",
            f"one seed: differences are judged by the {result.test_size:,} test images alone, as "
            "if another seed gave the same",
            "--seeds 3 or more gives intervals and paired tests",
        )


#: In the order in which they are said; a new check is one entry.
CHECKS: tuple[Check[BenchmarkResult], ...] = (
    interrupted,
    failed,
    diverged,
    behind,
    unresponsive,
    test_set,
    one_seed,
)


@check("interrupted")
def unmeasured(result: PlanResult) -> Iterator[Finding]:
    """Ctrl-C came before every setting was measured."""
    yield from stopped(result.facts.interrupted, "not every setting was measured")


#: The same for a plan.
PLAN_CHECKS: tuple[Check[PlanResult], ...] = (unmeasured,)
