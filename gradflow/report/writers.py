"""The output formats: one entry for each suffix. Nothing heavy is imported before a file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gradflow.report import jsonfile, tabular
from gradflow.results.base import Result

#: Written into every figure's metadata, by which gradflow knows its own.
SOFTWARE = "gradflow-diagnostics"

Writer = Callable[[Result, Path], None]


def _figure(**metadata: str | None) -> Writer:
    """Draw a figure; its metadata has no date, so that equal results give equal files."""

    def write(result: Result, path: Path) -> None:
        from gradflow.report import figures

        figures.write(result, path, metadata)

    return write


#: suffix -> writer. A new format is one entry; help, checks and messages follow.
WRITERS: dict[str, Writer] = {
    ".png": _figure(Software=SOFTWARE),
    ".svg": _figure(Creator=SOFTWARE, Date=None),
    ".pdf": _figure(Creator=SOFTWARE, Producer=None, CreationDate=None),
    ".json": jsonfile.write,
    ".csv": tabular.write_csv,
    ".md": tabular.write_markdown,
}
