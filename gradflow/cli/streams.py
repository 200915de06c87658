"""Standard streams: fit to be written to, and a program's kept apart from a command's own."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
import unicodedata
from collections.abc import Iterator
from typing import TextIO

#: What stands for a sign that the stream's encoding has not.
_SIGNS = {
    **dict.fromkeys("–—−─━╌╴╶╺╸", "-"),
    **dict.fromkeys("│┃║┆┊", "|"),
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┡┩╇╵╷", "+"),
    **{"✗": "x", "×": "x", "·": "*", "•": "*", "→": ">", "←": "<", "…": ".", "‖": "|"},
    **{"≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "∂": "d", "√": "sqrt", "′": "'", "±": "+-"},
    **{"“": '"', "”": '"', "‘": "'", "’": "'", "⊙": "*"},
}
_LEGIBLE = "gradflow-legible"
#: Braille signs by their dots; those of the upper two rows.
_BRAILLE, _UPPER = range(0x2800, 0x2900), 0b00011011


class ReaderLeftError(Exception):
    """Whatever reads standard output has closed it."""


def prepare() -> None:
    """Make the standard streams fit to be written to, whatever the shell gave.

    A closed one goes nowhere, instead of to the next file that is opened. Where the encoding is
    not Unicode's, signs that it has not are written in others. A terminal's size that is none is
    not believed.
    """
    _open_missing()
    _forget_impossible_sizes()
    codecs.register_error(_LEGIBLE, _legible)
    for stream in (sys.stdout, sys.stderr):
        if not is_unicode(stream) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_LEGIBLE)


def is_unicode(stream: TextIO) -> bool:
    """Return whether every character can be written to `stream`."""
    return (
        (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")
    )


def _forget_impossible_sizes() -> None:
    """Forget a size in the environment that nothing can be laid out in: 0, or a billion columns."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,3}", os.environ.get(name, "1")):
            del os.environ[name]


@contextlib.contextmanager
def broken_pipe_told() -> Iterator[None]:
    """Raise `ReaderLeftError` where a pipe breaks that is standard output, and no other."""
    try:
        yield
    except BrokenPipeError as error:
        if not _reader_left():
            raise
        raise ReaderLeftError from error
    except SystemExit as error:  # rich's answer to it, with which Typer prints its help
        if isinstance(error.__context__, BrokenPipeError):
            raise ReaderLeftError from error
        raise


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Go on after the block where standard output's reader leaves during it."""
    try:
        with broken_pipe_told():
            yield
            sys.stdout.flush()
    except ReaderLeftError:
        discard_output()


def discard_output() -> None:
    """Send nowhere what is still to be written to standard output."""
    _send_nowhere(sys.stdout)


def discard_remarks() -> None:
    """Send nowhere what standard error does not take: Python would exit with 120 for it."""
    try:
        sys.stderr.flush()
    except Exception:  # a program may have put anything there
        _send_nowhere(sys.stderr)


def _send_nowhere(stream: TextIO) -> None:
    with contextlib.suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _reader_left() -> bool:
    """Return whether nobody can read standard output any more."""
    if not hasattr(select, "poll") or not _is_descriptor(sys.stdout, 1):
        return True
    asked = select.poll()
    asked.register(1, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in asked.poll(0))


def _open_missing() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # the lowest free number is given, so that it is this one
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _legible(error: UnicodeError) -> tuple[str, int]:
    """Write in other signs what an encoding has not: names of letters, or what is like them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_written, signs)), error.end


def _written(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if ord(sign) in _BRAILLE:
        return _dots(ord(sign) - _BRAILLE[0])
    name = unicodedata.name(sign, "")
    if name.startswith("GREEK"):
        return name.rpartition(" ")[2].lower()
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return plain or "?"


def _dots(dots: int) -> str:
    """Write the dots of a chart where they are, up or down."""
    if not dots:
        return " "
    return ":" if dots & _UPPER and dots & ~_UPPER else "'" if dots & _UPPER else "."


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send to stderr what the block prints, C code and child processes included."""
    with stdout_kept():
        _flush(sys.stdout)
        before, kept = sys.stdout, os.dup(1)
        os.dup2(2, 1)
        if not _is_descriptor(before, 1):  # a notebook's, or a test's
            sys.stdout = sys.stderr
        try:
            yield
        finally:
            _flush(sys.stdout)
            _flush(before)
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def stdout_kept() -> Iterator[None]:
    """Have the same standard output after the block, whatever a program made of it there."""
    before = sys.stdout
    own = _is_descriptor(before, 1)
    try:
        yield
    finally:
        _flush(sys.stdout)
        sys.stdout = _reopened(1) if own and before.closed else before


def silence_what_follows() -> None:
    """Send to stderr whatever is printed from now on, as the process exits."""
    _flush(sys.stdout)
    if _is_descriptor(sys.stdout, 1):
        os.dup2(2, 1)


def _reopened(number: int) -> TextIO:
    return os.fdopen(number, "w", closefd=False)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (AttributeError, OSError, ValueError):
        return False


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(Exception):  # closed, or broken
        stream.flush()
