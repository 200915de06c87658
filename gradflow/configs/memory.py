"""What an experiment takes at the least, before anything of it is built. Standard library only."""

from __future__ import annotations

import os

from gradflow.errors import GradflowError

#: Bytes of a number in single precision; of a layer's modules; of a row of numbers in Python.
NUMBER, LAYER, ROW = 4, 4000, 400


def refuse_beyond_memory(what: str, size: float, hint: str) -> None:
    """Refuse what takes more than all memory that the machine has.

    Parameters
    ----------
    what
        Options and their values, as they are typed.
    size
        Bytes, a lower bound.

    Raises
    ------
    GradflowError
        With both sizes. Where the system does not tell its memory, nothing is refused.
    """
    there = _memory()
    if there is not None and size > there:
        raise GradflowError(
            f"{what} takes at least {_read(size)} of memory, and this machine has {_read(there)}",
            hint,
        )


def _memory() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _read(size: float) -> str:
    units = ("MB", "GB", "TB", "PB")
    size /= 1e6
    for unit in units[:-1]:
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.0f} {units[-1]}"
