"""The one exception that becomes a line on stderr and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

V = TypeVar("V")


class GradflowError(Exception):
    """Something the user can put right.

    Parameters
    ----------
    message
        One line: what was wrong, and with which value.
    hint
        One line: what to do about it.
    exit_code
        Exit status of the command line (2: bad usage or input).
    """

    def __init__(self, message: str, hint: str | None = None, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


def named(kind: str, name: str, known: Mapping[str, V]) -> V:
    """Return what `known` holds under `name`, or raise `unknown_name`."""
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> GradflowError:
    """Return the error for a misspelt name, with the nearest known ones as its hint."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(names)}"
    return GradflowError(f"unknown {kind} '{name}'", hint)


def out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out; torch says so in a RuntimeError, on CUDA in a subclass."""
    words = ("can't allocate memory", "out of memory", "not enough memory", "std::bad_alloc")
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return said or isinstance(error, MemoryError)
