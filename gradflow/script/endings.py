"""How a program ended, and its traceback as Python shows it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Where gradflow's own code is.
_HERE = str(Path(__file__).parents[1]) + os.sep


class Ended(SystemExit):
    """Ends a program that has made the steps that were asked for.

    A `SystemExit`: threads, event loops and frameworks let that pass without a word.
    """

    def __init__(self) -> None:
        super().__init__(0)


@dataclass(frozen=True)
class Ending:
    """How a program ended.

    Attributes
    ----------
    code
        Its exit code; None where it was ended from outside.
    interrupted
        Whether Ctrl-C ended it.
    error
        What it raised, in one line.
    """

    code: int | None = 0
    interrupted: bool = False
    error: str | None = None


def ending_of(run: Callable[[], None]) -> Ending:
    """Run a program, its threads included; print what Python prints where it raises."""
    before = set(threading.enumerate())
    try:
        run()
        _join(before)
    except Ended:
        return Ending(code=None)
    except SystemExit as error:
        return Ending(_exit_code(error))
    except KeyboardInterrupt:
        return Ending(code=None, interrupted=True)
    except BaseException as error:
        return _raised(error)
    return Ending()


def _join(before: set[threading.Thread]) -> None:
    """Wait for the program's own threads, as Python does before it exits."""
    for thread in set(threading.enumerate()) - before - {threading.current_thread()}:
        if not thread.daemon:
            thread.join()


def _exit_code(error: SystemExit) -> int:
    """Return the code that Python exits with, its message printed."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return int(error.code)
    with contextlib.suppress(Exception):  # none, closed, or full
        sys.stderr.write(f"{error.code}\n")
    return 1


def _raised(error: BaseException) -> Ending:
    seen: set[int] = set()
    _clean(error, seen)
    _show(error)
    line = _message(error).partition("\n")[0]
    words = f"{type(error).__name__}: {line}" if line else type(error).__name__
    error.__traceback__ = None  # it holds everything that the program had
    return Ending(code=1, error=words)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # what Python says of it
        return "<exception str() failed>"


def _show(error: BaseException) -> None:
    """Show an error as Python does, which falls back on its own hook where a program's fails."""
    with contextlib.suppress(Exception):  # none, closed, or full
        sys.stdout.flush()
    shown = type(error), error, error.__traceback__
    try:
        sys.excepthook(*shown)
    except Exception:
        sys.__excepthook__(*shown)


def _clean(error: BaseException | None, seen: set[int]) -> None:
    """Take gradflow's own frames out of a traceback, and out of those that it follows from."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    error.__traceback__ = _own(error.__traceback__)
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        _clean(other, seen)


def _own(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return a traceback without the frames of gradflow."""
    frames = []
    while trace is not None:
        if not is_own(trace.tb_frame.f_code.co_filename):
            frames.append(trace)
        trace = trace.tb_next
    kept: types.TracebackType | None = None
    for one in reversed(frames):
        kept = types.TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept


def is_own(file: str) -> bool:
    """Return whether a file is gradflow's own."""
    return file.startswith(_HERE)
