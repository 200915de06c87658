"""Output with a chart beneath the table."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from gradflow.cli.output import Output
from gradflow.configs.fields import option
from gradflow.errors import GradflowError
from gradflow.results.base import Result


@dataclass(frozen=True)
class ChartedOutput(Output):
    """The options that every command takes, and whether a chart is drawn of characters."""

    chart: bool | None = option(
        None,
        "Draw a chart of characters beneath the table. By default in a terminal, unless -o names "
        "a file.",
        "--chart/--no-chart",
        panel="Output",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chart and self.json:
            raise GradflowError("--chart draws nothing beside --json", "drop one of them")

    def to(self, path: Path) -> ChartedOutput:
        """Return these options with one more output file, which takes no chart away."""
        drawn = self.chart if self.output else self.wanted
        return dataclasses.replace(self, output=(*self.output, str(path)), chart=drawn)

    @property
    def wanted(self) -> bool:
        """Whether to draw one."""
        from gradflow.report.console import stdout_console

        if self.chart is not None or self.json or self.output:
            return bool(self.chart)
        return stdout_console().is_terminal

    def print(self, result: Result, shown: Result | None = None) -> None:
        """Print a result for people, and its chart where it is printed for the first time."""
        super().print(result, shown)
        if shown is None and self.wanted:
            self._draw(result)

    def _draw(self, result: Result) -> None:
        from gradflow.report.chart import chart
        from gradflow.report.console import stdout_console
        from gradflow.report.escape import visible

        drawn = chart(result, stdout_console().width)
        if drawn is not None:
            sys.stdout.write(f"\n{visible(drawn, keep=chr(10))}\n")
