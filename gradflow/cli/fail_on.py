"""``--fail-on``: every code that a check can give, without loading what the checks judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from gradflow.benchmarking import checks as benchmark
from gradflow.clipping import checks as clipping
from gradflow.diagnosis import checks as diagnosis
from gradflow.errors import unknown_name
from gradflow.findings.check import Check, added_checks, declared
from gradflow.findings.codes import Code
from gradflow.functions import checks as functions
from gradflow.learning_rates import checks as learning_rates
from gradflow.script import checks as script
from gradflow.sweeps import checks as sweeps
from gradflow.watching import checks as watching
from gradflow.widths import checks as widths


def all_checks() -> Iterator[Check[Any]]:
    """Yield the checks of every room, in the order in which their codes are listed."""
    for checks in (
        diagnosis.CHECKS,
        diagnosis.RATE_CHECKS,
        watching.CHECKS,
        script.CHECKS,
        clipping.CHECKS,
        benchmark.CHECKS,
        benchmark.PLAN_CHECKS,
        functions.CHECKS,
        learning_rates.CHECKS,
        sweeps.CHECKS,
        widths.CHECKS,
    ):
        yield from checks


def known_codes() -> dict[str, Code]:
    """Return every code that a check can give, by name."""
    return declared(all_checks())


def parse_fail_on(text: str) -> frozenset[str]:
    """Return the finding codes of a comma list.

    Raises
    ------
    GradflowError
        For a code that no check gives: a misspelt one would never fail.
    """
    codes, known = frozenset(_words(text)), known_codes()
    if not known.keys() >= codes:
        known |= declared(added_checks())
    for code in sorted(codes):
        if code not in known:
            raise unknown_name("finding", code, known)
    return codes


def complete_fail_on(incomplete: str) -> list[str]:
    """Return what the last code of a comma list may become; those before it stay."""
    *before, last = incomplete.split(",")
    given = "".join(f"{code}," for code in before)
    return [given + code for code in known_codes() if code.startswith(last) and code not in before]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


FailOn = Annotated[
    str,
    typer.Option(
        metavar="CODE,…",
        help=f"Exit with 1 if such a finding is made: {', '.join(known_codes())}.",
        rich_help_panel="Output",
        autocompletion=complete_fail_on,
    ),
]
