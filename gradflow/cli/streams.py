"""Keeping a program's output apart from a command's own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send to stderr what the block prints, C code and child processes included."""
    _flush(sys.stdout)
    before, kept = sys.stdout, os.dup(1)
    own = _is_descriptor(before, 1)
    os.dup2(2, 1)
    if not own:  # a notebook's, or a test's
        sys.stdout = sys.stderr
    try:
        yield
    finally:
        _flush(sys.stdout)
        _flush(before)
        os.dup2(kept, 1)
        os.close(kept)
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
