"""A check: a function from a result to findings, which declares their codes.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gradflow import plugins
from gradflow.findings.codes import CODES
from gradflow.results.base import Finding, Result

R = TypeVar("R", bound=Result)

#: The verdict where no check found an error, and what it rests on could not be measured.
UNJUDGED = "unjudged"


@dataclass(frozen=True)
class Check(Generic[R]):
    """What `check` makes of a function.

    Attributes
    ----------
    codes
        Of the findings that it can give.
    function
        Takes a result and yields what is to be said of it.
    """

    codes: tuple[str, ...]
    function: Callable[[R], Iterable[Finding]]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, result: R) -> Iterator[Finding]:
        """Yield the findings on `result`.

        Raises
        ------
        ValueError
            For a code that the check does not declare, or a severity that the code does not have:
            ``--fail-on`` and the verdict rest on both.
        """
        for finding in self.function(result):
            if finding.code not in self.codes:
                raise ValueError(f"the check '{self.name}' does not declare '{finding.code}'")
            code = CODES[finding.code]
            if finding.severity not in (code.severity, *code.also):
                raise ValueError(f"'{finding.code}' has no severity '{finding.severity}'")
            yield finding


def check(*codes: str) -> Callable[[Callable[[R], Iterable[Finding]]], Check[R]]:
    """Make a check of a function that gives findings of these codes.

    Raises
    ------
    ValueError
        For no code at all, and for one that `gradflow.findings.codes` does not know.
    """
    unknown = [code for code in codes if code not in CODES]
    if unknown or not codes:
        raise ValueError(f"a check declares codes of gradflow/findings/codes.py, got {codes}")

    def declared(function: Callable[[R], Iterable[Finding]]) -> Check[R]:
        return Check(codes, function)

    return declared


def finding(
    code: str,
    message: str,
    advice: str = "",
    *,
    layers: Iterable[int] = (),
    severity: str | None = None,
) -> Finding:
    """Return a finding; its severity is the code's own unless another is given."""
    return Finding(code, severity or CODES[code].severity, tuple(layers), message, advice)


def judged(
    result: R,
    checks: Iterable[Check[R]],
    weighed: Callable[[Iterable[Finding], R], Iterable[Finding]] | None = None,
) -> R:
    """Return `result` with what the checks say of it, and its verdict where it has one.

    The verdict is the code of the first error: the order of the checks decides. Without one it is
    ``unjudged`` where a check says that it could not be judged, else ``healthy``.

    Parameters
    ----------
    weighed
        Returns findings with the severity that they have beside each other.
    """
    said = itertools.chain(
        (finding for check in checks for finding in check(result)), _said_by_others(result)
    )
    found = tuple(said if weighed is None else weighed(said, result))
    changes: dict[str, Any] = {"findings": found}
    if any(f.name == "verdict" for f in dataclasses.fields(result)):
        changes["verdict"] = verdict_of(found)
    return dataclasses.replace(result, **changes)


@functools.cache
def added_checks() -> tuple[Check[Any], ...]:
    """Return the checks that other packages add (entry points): a check each, or several."""
    found: list[Check[Any]] = []
    for name, entry in plugins.added("checks"):
        several = [entry] if isinstance(entry, Check) else entry
        if isinstance(several, tuple | list) and all(isinstance(one, Check) for one in several):
            found += several
        else:
            plugins.left_out("checks", name, f"a {type(entry).__name__} is no check")
    return tuple(found)


def _said_by_others(result: Result) -> Iterator[Finding]:
    """Yield what checks of other packages say; each sees every result, and picks its own."""
    for check in added_checks():
        try:
            yield from tuple(check(result))
        except Exception as error:  # noqa: PERF203 (whatever somebody else's does)
            plugins.left_out("checks", check.name, error)


def verdict_of(found: Iterable[Finding]) -> str:
    """Return the verdict that findings come to, in their order."""
    found = tuple(found)
    errors = [finding.code for finding in found if finding.severity == "error"]
    unjudged = any(finding.code == UNJUDGED for finding in found)
    return next(iter(errors), UNJUDGED if unjudged else "healthy")
