"""The checks of a sweep. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.findings.words import STOPPED
from gradflow.results.base import Finding
from gradflow.results.sweep import SweepResult


@check("interrupted")
def interrupted(result: SweepResult) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    if result.facts.interrupted:
        yield finding(
            "interrupted",
            f"{STOPPED}; {len(result.records)} of {result.facts.wanted} points were measured",
            "with -o FILE.json, --resume FILE.json measures what is missing",
        )


@check("unjudged")
def failed(result: SweepResult) -> Iterator[Finding]:
    """Networks that could not be measured."""
    for what, why in result.facts.failed:
        yield finding(
            "unjudged",
            f"{what}: not measured, {why}",
            "with -o FILE.json, --resume FILE.json measures what is missing",
        )


CHECKS: tuple[Check[SweepResult], ...] = (interrupted, failed)
