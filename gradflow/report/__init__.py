"""Views: any result as a table, a figure or a file. Nothing here calculates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow.report import jsonfile
from gradflow.report.console import ResultView, say, show
from gradflow.report.files import check_writable, put, replacing, temporary_beside
from gradflow.report.writers import WRITERS, drawing
from gradflow.results.base import Result
from gradflow.results.explain import Explanation
from gradflow.results.watching import WatchResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "WRITERS",
    "figure",
    "jsonfile",
    "notebook",
    "renderable",
    "replacing",
    "save",
    "save_all",
    "say",
    "show",
    "tensorboard",
    "text",
]


def save(result: Result, path: str | Path) -> Path:
    """Write `result` to `path`, whole or not at all; the suffix chooses the format.

    Raises
    ------
    GradflowError
        If the suffix is unknown or the file cannot be written.
    """
    return save_all(result, [path])[0]


def save_all(result: Result, paths: Iterable[str | Path]) -> list[Path]:
    """Write `result` to every path, all or none of them: each is put in place when all are made.

    Raises
    ------
    GradflowError
        If a suffix is unknown or a file cannot be written.
    """
    targets = [check_writable(path) for path in paths]
    with contextlib.ExitStack() as made:
        temporaries = [made.enter_context(temporary_beside(target)) for target in targets]
        for target, temporary in zip(targets, temporaries, strict=True):
            WRITERS[target.suffix.lower()](result, temporary)
        for target, temporary in zip(targets, temporaries, strict=True):
            put(temporary, target)
    return targets


def figure(result: Result) -> Figure:
    """Return the figure of `result`."""
    drawn: Figure = drawing().draw(result)
    return drawn


def renderable(result: Result) -> ResultView:
    """Return what rich prints for `result`."""
    return ResultView(result)


def notebook(result: Result) -> str:
    """Return the report of `result` in a frame, for notebooks."""
    from gradflow.report.html import frame

    return frame(result)


def text(result: Result) -> str:
    """Return the table of `result` as plain text of 80 columns; of a finding, its page."""
    if isinstance(result, Explanation):
        return result.page
    import io

    from rich.console import Console

    file = io.StringIO()
    # Plain, wherever it is asked for: in a notebook rich would show it there as well.
    plain: Any = {"force_jupyter": False, "force_terminal": False, "color_system": None}
    Console(file=file, width=80, highlight=False, **plain).print(ResultView(result))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def tensorboard(result: WatchResult, folder: str | Path) -> Path:
    """Write the history of a watched run as scalars for TensorBoard.

    Raises
    ------
    GradflowError
        If tensorboard is not installed.
    """
    from gradflow.report import scalars

    return scalars.write(result, folder)
