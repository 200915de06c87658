"""One line at the foot of the terminal while a program runs, gone when it is over."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Any, TextIO

#: Seconds between two updates.
_BETWEEN = 0.2
_SAVE, _RESTORE, _CLEAR = "\x1b7", "\x1b8", "\x1b[2K"


class LiveLine:
    """Shows step, loss, gradient norm and verdict so far, where stderr is a terminal.

    The terminal scrolls above it, so that what the program prints, progress bars included, is left
    alone.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.on = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._size: tuple[int, int] | None = None
        self._next = 0.0

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._size is not None:
            rows, self._size = self._size[1], None
            self._write(f"{_SAVE}\x1b[r\x1b[{rows};1H{_CLEAR}{_RESTORE}")

    def __call__(self, model: Any) -> None:
        """Show a model after one of its steps, if it is time."""
        now = time.monotonic()
        if not self.on or now < self._next:
            return
        self._next = now + _BETWEEN
        self._show(said(model.progress()))

    def _show(self, text: str) -> None:
        columns, rows = shutil.get_terminal_size()
        if self._size != (columns, rows):
            self._size = columns, rows
            # A line more at the foot, then a region of all others that scrolls.
            self._write(f"\n{_SAVE}\x1b[1;{rows - 1}r{_RESTORE}\x1b[1A")
        self._write(f"{_SAVE}\x1b[{rows};1H{_CLEAR}{text[: columns - 1]}{_RESTORE}")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # the program closed it
            self.on = False


def said(progress: Any) -> str:
    """Return how far a model is, in one line."""
    loss = "" if progress.loss is None else f"loss {progress.loss:.4g}, "
    norm = "" if progress.norm is None else f"‖g‖ {progress.norm:.3g}, "
    return f"{progress.name}: step {progress.step:,}, {loss}{norm}{progress.verdict} so far"
