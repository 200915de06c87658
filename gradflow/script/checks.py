"""The checks of a watched program as a whole. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.results.base import Finding
from gradflow.results.watching import WatchResult


@check("interrupted")
def interrupted(result: WatchResult) -> Iterator[Finding]:
    """Ctrl-C came before the program was over."""
    if result.facts.interrupted:
        yield finding("interrupted", "Ctrl-C ended the program: this is what was seen until then")


#: Beside those of each model.
CHECKS: tuple[Check[WatchResult], ...] = (interrupted,)
