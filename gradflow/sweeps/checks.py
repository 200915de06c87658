"""The checks of a sweep. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.findings.check import Check, check
from gradflow.findings.unfinished import not_done, stopped
from gradflow.results.base import Finding
from gradflow.results.sweep import SweepResult

_RESUME = "with -o FILE.json, --resume FILE.json measures what is missing"


@check("interrupted")
def interrupted(result: SweepResult) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    done = f"{len(result.records)} of {result.facts.wanted} points were measured"
    yield from stopped(result.facts.interrupted, done, _RESUME)


@check("unjudged")
def failed(result: SweepResult) -> Iterator[Finding]:
    """Networks that could not be measured."""
    yield from not_done(result.facts.failed, "measured", _RESUME)


CHECKS: tuple[Check[SweepResult], ...] = (interrupted, failed)
