"""Where a result goes: table, JSON on stdout, files; and what that does to the exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from gradflow.cli.arguments import TYPED
from gradflow.cli.endings import interrupts_wait
from gradflow.cli.streams import is_unicode, reader_may_leave
from gradflow.configs.fields import option
from gradflow.results.base import Result


@dataclass(frozen=True)
class Output:
    """The options that every command takes.

    Building one checks that every file can be written, before any work starts.
    """

    json: bool = option(
        False, "Print the result as one JSON document, and nothing else.", "--json", panel="Output"
    )
    output: tuple[str, ...] = option(
        (),
        "Also write the result to FILE: {names}. Repeatable.",
        "--output",
        "-o",
        metavar="FILE",
        panel="Output",
        lists="gradflow.report.writers:WRITERS",
    )
    every_row: bool = option(
        False,
        "Print every row of a table of more than 60 layers (of theory 20), not its ends and the "
        "worst alone; "
        "and of more than 1,000 other rows.",
        "--all",
        panel="Output",
    )
    github: bool = option(
        False,
        "In GitHub Actions: add the result to the step's summary, and make each finding an "
        "annotation.",
        "--github",
        panel="Output",
    )

    def __post_init__(self) -> None:
        if self.output:
            from gradflow.report.files import check_writable

            for path in self.output:
                check_writable(path)

    def to(self, path: Path) -> Output:
        """Return these options with one more output file."""
        return dataclasses.replace(self, output=(*self.output, str(path)))

    def emit(
        self,
        result: Result,
        fail_on: frozenset[str] = frozenset(),
        shown: Result | None = None,
    ) -> None:
        """Show `result`, write its files, and exit with 1 where a finding is in `fail_on`.

        What Ctrl-C cut short is shown and written as well, and exits with 130.

        Parameters
        ----------
        shown
            What of it `begin` printed before.
        """
        self.show(result, shown)
        if code := exit_code(result, fail_on):
            raise typer.Exit(code)

    def tell(self, line: str) -> None:
        """Print a line before there is a result: for people, who see at once that it is coming."""
        from gradflow.report.console import tell

        if not self.json:
            with reader_may_leave():
                tell(line)

    def begin(self, result: Result) -> None:
        """Print what there is of a result while the rest of it is still being made."""
        if not self.json:
            with reader_may_leave():
                self.print(result)
                sys.stdout.flush()

    def print(self, result: Result, shown: Result | None = None) -> None:
        """Print a result for people, but for what was printed before."""
        from gradflow import report

        report.show(result, every_row=self.every_row, shown=shown)

    def show(self, result: Result, shown: Result | None = None) -> None:
        """Show `result`, but for what was printed before, and write its files."""
        from gradflow import report

        with reader_may_leave():
            if self.json:
                sys.stdout.write(report.jsonfile.dumps(result, ascii=not is_unicode(sys.stdout)))
            else:
                self.print(result, shown)
        with interrupts_wait():
            report.save_all(_with_command(result), self.output)
        for path in self.output:
            report.say(f"wrote {path}")
        if self.github:
            _tell_github(result)


def _tell_github(result: Result) -> None:
    """Add a result to the step's summary, and annotate its findings; stderr is read as well."""
    from gradflow import report
    from gradflow.report import github

    with contextlib.suppress(OSError):  # it is full, and there is nowhere to say so
        for line in github.commands(result):
            sys.stderr.write(f"{line}\n")
    if github.add_summary(result) is None:
        report.say(f"no summary: {github.SUMMARY} names no file, or what it names is full")


def _with_command(result: Result) -> Result:
    """Say in its files by which command a result was made, where it does not say so itself."""
    meta = result.meta
    said = dataclasses.replace(meta, command=meta.command or TYPED.get())
    return dataclasses.replace(result, meta=said)


def exit_code(result: Result, fail_on: frozenset[str]) -> int:
    """Return what a command exits with: 130 after Ctrl-C, 1 where a finding is in `fail_on`."""
    if any(finding.code == "interrupted" for finding in result.findings):
        return 130
    return int(any(finding.code in fail_on for finding in result.findings))
