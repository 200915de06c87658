"""The output formats: one entry for each suffix. Nothing heavy is imported before a file is."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from gradflow.report import jsonfile, sarif, tabular
from gradflow.results.base import Result

#: Written into every figure's metadata, by which gradflow knows its own.
SOFTWARE = "gradflow-diagnostics"

Writer = Callable[[Result, Path], None]


def _figure(**metadata: str | None) -> Writer:
    """Draw a figure; its metadata has no date, so that equal results give equal files."""

    def write(result: Result, path: Path) -> None:
        drawing().write(result, path, metadata)

    return write


def _page(result: Result, path: Path) -> None:
    importlib.import_module("gradflow.report.html").write(result, path)


def drawing() -> ModuleType:
    """Return the views that draw; figures need no backend, so that a wrong one stops nothing."""
    try:
        return importlib.import_module("gradflow.report.figures")
    except ValueError:  # MPLBACKEND names none
        os.environ.pop("MPLBACKEND", None)
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # half of it is loaded
        return importlib.import_module("gradflow.report.figures")


#: suffix -> writer. A new format is one entry; help, checks and messages follow.
WRITERS: dict[str, Writer] = {
    ".png": _figure(Software=SOFTWARE),
    ".svg": _figure(Creator=SOFTWARE, Date=None),
    ".pdf": _figure(Creator=SOFTWARE, Producer=None, CreationDate=None),
    ".html": _page,
    ".sarif": sarif.write,
    ".json": jsonfile.write,
    ".csv": tabular.write_csv,
    ".md": tabular.write_markdown,
}
