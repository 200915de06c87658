"""``--fail-on``: every code that there is, without loading the checks that give them."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.errors import unknown_name
from gradflow.findings.codes import CODES


def parse_fail_on(text: str) -> frozenset[str]:
    """Return the finding codes of a comma list.

    Raises
    ------
    GradflowError
        For a code that no check gives: a misspelt one would never fail.
    """
    from gradflow.findings.check import added_checks

    codes = frozenset(_words(text))
    if not CODES.keys() >= codes:
        added_checks()  # of other packages, which may register it
    for code in sorted(codes):
        if code not in CODES:
            raise unknown_name("finding", code, CODES)
    return codes


def complete_fail_on(incomplete: str) -> list[str]:
    """Return what the last code of a comma list may become; those before it stay."""
    *before, last = incomplete.split(",")
    given = "".join(f"{code}," for code in before)
    return [given + code for code in CODES if code.startswith(last) and code not in before]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


FailOn = Annotated[
    str,
    typer.Option(
        metavar="CODE,…",
        help=f"Exit with 1 if such a finding is made: {', '.join(CODES)}.",
        rich_help_panel="Output",
        autocompletion=complete_fail_on,
    ),
]
