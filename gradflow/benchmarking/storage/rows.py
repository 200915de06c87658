"""Rows on disk: a line of JSON each, with the number of the run that it is of.

Standard library only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from gradflow.benchmarking.storage import files
from gradflow.configs.fields import LARGEST, LAST_SEED, MOST
from gradflow.errors import GradflowError
from gradflow.results.base import Row
from gradflow.results.decoding import parse, record
from gradflow.results.nonfinite import encoded

R = TypeVar("R", bound=Row)

_RUN = "run"
_MOST_BYTES = 1 << 30
#: Between what a stored number must lie; NaN may stand anywhere.
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2 * LAST_SEED),
    "epoch": (1, MOST),
    "index": (0, MOST),
    "batch_size": (1, MOST),
    "lr": (0.0, LARGEST),
    "seconds": (0.0, LARGEST),
}
_SHARES = ("_accuracy", "_fraction")


def line(row: Row, run: str | None) -> bytes:
    """Return a row as a line of the file of a run."""
    whose = {} if run is None else {_RUN: run}
    return (json.dumps(encoded({**whose, **row.to_dict()}), allow_nan=False) + "\n").encode()


def read(file: Path, kind: type[R], run: str | None) -> Iterator[R]:
    """Yield the rows of a file; a last line that was cut off is left out.

    Parameters
    ----------
    run
        Whose they have to be; None: of a run that gradflow 0.1 wrote, whose rows do not say.

    Raises
    ------
    GradflowError
        If another line is no such row, or of another run.
    """
    lines = (files.content(file, _MOST_BYTES) or b"").split(b"\n")
    for number, text in enumerate(lines[:-1], start=1):
        yield _row(f"{file}, line {number}", text, kind, run)


def _row(where: str, text: bytes, kind: type[R], run: str | None) -> R:
    try:
        given = parse(text)
        if not isinstance(given, dict):
            raise ValueError("it is no object")
        if given.pop(_RUN, None) != run:
            raise ValueError("it is of another run")
        return checked(given, kind)
    except ValueError as error:
        raise GradflowError(
            f"{where} is not an epoch: {error}", "choose another --output-dir"
        ) from error


def checked(given: Any, kind: type[R]) -> R:
    """Return the row that an object describes, every number within its range.

    Raises
    ------
    ValueError
        If it is none.
    """
    row = record(kind, given)
    for name, (low, high) in _ranges(kind).items():  # type: ignore[arg-type]
        number = getattr(row, name)
        if number is not None and (number < low or number > high):  # NaN is neither
            raise ValueError(f"'{name}' is {number:g}, not from {low:g} to {high:g}")
    return row


@functools.cache
def _ranges(kind: type[Row]) -> dict[str, tuple[float, float]]:
    shares = {name: (0.0, 1.0) for name in kind.columns() if name.endswith(_SHARES)}
    return {name: _RANGES[name] for name in kind.columns() if name in _RANGES} | shares
