"""How the command line ends: what each error is to its user, and what a signal does."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.text import Text

from gradflow.cli import stray
from gradflow.cli.streams import ReaderLeftError, discard_output
from gradflow.errors import GradflowError, out_of_memory

#: Exit codes of the contract: bad usage or input, a defect of gradflow, Ctrl-C.
BAD, INTERNAL, INTERRUPTED = 2, 70, 130
#: Set, it shows the traceback of an internal error.
TRACEBACK = "GRADFLOW_TRACEBACK"

#: What the system refuses, and the user can put right.
_REFUSED = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EMFILE", "ENFILE", "EIO", "EBADF"),
        *("ENAMETOOLONG", "EFBIG"),
    )
    if hasattr(errno, name)
)

#: What a value should have been, by the parser's names for what is wrong with it.
_NO_NUMBER = {"int_parsing": "a whole number", "float_parsing": "a number"}

_KILLING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def complain(message: str, hint: str | None = None) -> None:
    """Print ``error: …`` and its hint to stderr."""
    from gradflow.report.console import stderr_console
    from gradflow.report.escape import visible

    console = stderr_console(soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), visible(" ".join(message.split()))))
    if hint:
        console.print(Text.assemble(("hint: ", "dim"), visible(" ".join(hint.split()))))


def explain(error: Exception) -> int:
    """Print what went wrong, and return the exit code."""
    if isinstance(error, GradflowError):
        complain(error.message, error.hint)
        return error.exit_code
    if isinstance(error, ReaderLeftError):
        discard_output()
        return 0
    if isinstance(error, typer.Exit | typer.Abort):
        return getattr(error, "exit_code", INTERRUPTED)
    said = _said(error)
    if said is None:
        return _internal(error)
    complain(*said)
    return BAD


def _said(error: Exception) -> tuple[str, str | None] | None:
    """What is said of an error that its user can put right, and what to do."""
    if hasattr(error, "format_message"):  # the parser's own: Typer's or Click's
        return _parser_message(error), stray.hint(error)
    if out_of_memory(error):
        return "not enough memory for this", "a smaller --width, --depth, --batch-size or --seeds"
    if isinstance(error, OSError) and _is_refusal(error):
        discard_output()
        return _refusal(error), None
    return None


def _parser_message(error: Any) -> str:
    """The parser's message, with the value it refused where that is known only to its cause."""
    refused = getattr(error.__cause__, "errors", None)
    if not callable(refused):
        return stray.message(error)
    first = refused()[0]
    said = _NO_NUMBER.get(first["type"])
    named = re.search("'(-.+?)'", str(error.format_message()))
    if said and named:
        return f"{named[1]} must be {said}, got '{first['input']}'"
    return f"{error.format_message()}, got '{first['input']}'"


def _is_refusal(error: OSError) -> bool:
    return error.errno in _REFUSED or "temporary directory" in str(error)


def _refusal(error: OSError) -> str:
    where = f"'{error.filename}'" if error.filename else "standard output"
    if "temporary directory" in str(error):
        where = "any folder for temporary files (TMPDIR)"
    return f"cannot use {where[:200]}: {os.strerror(error.errno) if error.errno else error}"


def _internal(error: Exception) -> int:
    """A defect of gradflow is said to be one, in a line; its traceback is for who asks for it."""
    if os.environ.get(TRACEBACK):
        with contextlib.suppress(OSError):  # nobody may be there to read it
            traceback.print_exception(error)
    said = " ".join(str(error).split())[:200]
    complain(
        f"internal error of gradflow ({type(error).__name__}: {said}); please report it, "
        f"with the command and what it prints under {TRACEBACK}=1"
    )
    return INTERNAL


@contextlib.contextmanager
def signals_clean_up() -> Iterator[None]:
    """Let SIGTERM and SIGHUP clean up as Ctrl-C does, where they would kill outright."""
    here = threading.current_thread() is threading.main_thread()
    usual = [n for n in _KILLING if here and signal.getsignal(n) is signal.SIG_DFL]
    for number in usual:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        signals_as_usual()


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let a Ctrl-C within the block take effect at its end; a second one at once.

    Raised in the middle of a drawing, it can fall into a callback that swallows it.
    """
    usual = signal.getsignal(signal.SIGINT)
    here = threading.current_thread() is threading.main_thread()
    if not here or usual is not signal.default_int_handler:
        yield
        return
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt


def signals_as_usual() -> None:
    """Take `signals_clean_up` back: a user's program is killed as it would be alone."""
    for number in _KILLING:
        if signal.getsignal(number) is _leave:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    sys.exit(128 + number)
