"""A result in GitHub Actions: a summary of the step, and an annotation for each finding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gradflow.errors import GradflowError
from gradflow.report.escape import visible
from gradflow.report.sarif import file_of
from gradflow.report.tabular import markdown
from gradflow.results.base import Finding, Result

#: Where GitHub has a step write its summary.
SUMMARY = "GITHUB_STEP_SUMMARY"
#: Bytes that GitHub takes of all summaries of a step, less some room.
_MOST = 1_000_000
_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def commands(result: Result) -> Iterator[str]:
    """Yield a workflow command for each finding: ``::error file=train.py,title=…::…``."""
    file = file_of(result)
    for finding in result.findings:
        properties = {"file": file, "title": f"gradflow: {finding.code}"}
        given = ",".join(f"{k}={_property(v)}" for k, v in properties.items() if v is not None)
        yield f"::{_LEVELS[finding.severity]} {given}::{_data(_said(finding))}"


def add_summary(result: Result) -> Path | None:
    """Add `result` to the summary of the step that runs; return its file, None where there is none.

    Raises
    ------
    GradflowError
        If the file cannot be written to.
    """
    name = os.environ.get(SUMMARY)
    if not name:
        return None
    path, text = Path(name), summary(result)
    try:
        before = path.stat().st_size if path.exists() else 0
        if before + len(text.encode()) > _MOST:
            return None  # GitHub would drop what is there as well
        with _appending(path) as file:
            file.write(text)
    except OSError as error:
        raise GradflowError(f"cannot write '{path}' ({SUMMARY}): {error.strerror}") from error
    return path


def summary(result: Result) -> str:
    """Return a result as a section of a page, its command as the heading."""
    return f"### gradflow {result.command}\n\n{markdown(result)}\n"


def _appending(path: Path) -> TextIO:
    """Open a file to add to it, without waiting until somebody reads it, were it a named pipe."""
    at_once = getattr(os, "O_NONBLOCK", 0)
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | at_once, 0o666)
    if at_once:
        os.set_blocking(number, True)  # who does read it may be slow
    return os.fdopen(number, "a", encoding="utf-8")


def _said(finding: Finding) -> str:
    return f"{finding.message}\n→ {finding.advice}" if finding.advice else finding.message


def _data(text: str) -> str:
    """Escape a message: its lines are one, and what looks like a command in it is none."""
    text = visible(text, keep="\n").replace("%", "%25")
    return text.replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
