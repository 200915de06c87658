"""Results of ``explain``: one finding's page, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Result, Row, column


@dataclass(frozen=True)
class CodeRow(Row):
    """A finding's code and what all findings of that code have in common."""

    code: str = column("code")
    severity: str = column("severity")
    also: tuple[str, ...] = column("or", priority=1)
    summary: str = column("what it says")


@dataclass(frozen=True, kw_only=True)
class Explanation(Result):
    """What a finding means, how it is measured and what to do.

    Attributes
    ----------
    code, severity
        Its name, and how bad it is unless the check says otherwise.
    text
        The page's sections, as Markdown.
    see_also
        Codes that are near to it.
    """

    command: ClassVar[str] = "explain"
    row_type: ClassVar[type[Row]] = CodeRow

    code: str = ""
    severity: str = ""
    text: str = ""
    see_also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it says, in one line."""
        return self.records[0].summary.rstrip(".") if self.records else self.command

    @property
    def page(self) -> str:
        """The whole page, as Markdown."""
        also = "".join(f", or {severity}" for severity in self.records[0].also)
        return f"# {self.code}: {self.title}\n\nSeverity: {self.severity}{also}.\n\n{self.text}"


@dataclass(frozen=True, kw_only=True)
class CodesResult(Result):
    """Every code there is."""

    command: ClassVar[str] = "explain-list"
    row_type: ClassVar[type[Row]] = CodeRow

    @property
    def title(self) -> str:
        """Say how many there are, and how to read of one."""
        return f"{len(self.records)} findings; gradflow explain CODE says more of one"
