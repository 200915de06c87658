"""The checks of every room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradflow.benchmarking import checks as benchmark
from gradflow.clipping import checks as clipping
from gradflow.diagnosis import checks as diagnosis
from gradflow.findings.check import Check
from gradflow.functions import checks as functions
from gradflow.learning_rates import checks as learning_rates
from gradflow.script import checks as script
from gradflow.sweeps import checks as sweeps
from gradflow.watching import checks as watching
from gradflow.widths import checks as widths


def all_checks() -> Iterator[Check[Any]]:
    """Yield the checks of every room; a new room is one line."""
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


def given_codes() -> frozenset[str]:
    """Return every code that a check declares."""
    return frozenset(code for check in all_checks() for code in check.codes)
