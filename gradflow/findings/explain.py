"""A page for every code: what it means, how it is measured, a program that shows it, what to do.

The pages are `pages/CODE.md`. Where one names a threshold, ``{threshold:NAME}``, its number is put
in here, so that it stands in one place. Standard library only.
"""

from __future__ import annotations

import re
from importlib import resources

from gradflow.errors import named
from gradflow.findings.check import added_checks
from gradflow.findings.codes import CODES, Code
from gradflow.findings.thresholds import THRESHOLDS
from gradflow.results.explain import CodeRow, CodesResult, Explanation

#: The sections of every page, in their order.
SECTIONS = (
    "What it means",
    "How it is measured",
    "A program that shows it",
    "The program, mended",
    "What to do",
    "Sources",
    "See also",
)

_THRESHOLD = re.compile(r"\{threshold:([^}|]+)(\|%)?\}")
_CODE = re.compile(r"`([a-z-]+)`")


def explain(code: str) -> Explanation:
    """Return what a finding means, how it is measured and what to do.

    Parameters
    ----------
    code
        As findings show it: ``"vanishing"``, ``"dead"``, …

    Raises
    ------
    GradflowError
        For a code that does not exist, with the nearest ones.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.explain("dead").see_also[0]
    'saturated'
    """
    if code not in CODES:
        added_checks()  # of other packages, which may register it
    found = named("finding", code, CODES)
    text = filled_in(source(code))
    return Explanation(
        records=(_row(found),),
        code=code,
        severity=found.severity,
        text=text,
        see_also=tuple(_CODE.findall(section(text, "See also"))),
    )


def every_code() -> CodesResult:
    """Return the list of all codes."""
    return CodesResult(records=tuple(map(_row, CODES.values())))


def source(code: str) -> str:
    """Return a page as it is written, with the names of thresholds in place of their numbers.

    Of a code of another package, which has none, its one line.
    """
    page = resources.files("gradflow.findings") / "pages" / f"{code}.md"
    if not page.is_file():
        return f"# {code}\n\n## What it means\n\n{CODES[code].summary}\n"
    return page.read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """Return what stands under a heading of a page."""
    _, _, rest = text.partition(f"## {title}\n")
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def filled_in(text: str) -> str:
    """Return a page's text with the thresholds' numbers.

    Raises
    ------
    KeyError
        For a threshold that `gradflow.findings.thresholds` does not have.
    """
    return _THRESHOLD.sub(lambda match: _number(match[1], percent=bool(match[2])), text)


def _number(name: str, *, percent: bool) -> str:
    value = THRESHOLDS[name].value
    return f"{100 * value:g} %" if percent else f"{value:g}"


def _row(code: Code) -> CodeRow:
    return CodeRow(code.name, code.severity, code.also, code.summary)
