"""What every run says of what it did not do. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gradflow.findings.check import finding
from gradflow.results.base import Finding


def stopped(interrupted: bool, done: str, advice: str = "") -> Iterator[Finding]:
    """Ctrl-C came before all was done; `done` says how far it went."""
    if interrupted:
        yield finding("interrupted", f"stopped by Ctrl-C; {done}", advice)


def not_done(failed: Iterable[tuple[str, str]], what: str, advice: str = "") -> Iterator[Finding]:
    """Name what failed, and why; `what` it is not: measured, say."""
    for name, why in failed:
        yield finding("unjudged", f"{name}: not {what}, {why}", advice)
