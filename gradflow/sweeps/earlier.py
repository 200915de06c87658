"""Rows of an earlier sweep, which are not measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradflow.benchmarking.storage.files import content
from gradflow.configs.sweep import SweepConfig
from gradflow.errors import GradflowError
from gradflow.results.base import Result, plain
from gradflow.results.decoding import parse
from gradflow.results.sweep import SweepResult, SweepRow

#: Options that change what is measured at a point, beside those that say which point it is.
_SAME = ("alpha", "batch_size", "data", "loss", "seed", "seeds", "train")

#: Bytes that such a file has at most.
_LARGEST = 2**30


def rows_of_file(path: str, config: SweepConfig) -> tuple[SweepRow, ...]:
    """Return the rows of the result in a file.

    Raises
    ------
    GradflowError
        If it is no result of a sweep, or of one with other options.
    """
    result = _read(path)
    before, now = result.meta.config, plain(vars(config))
    for name in _SAME:
        if before.get(name) != now.get(name):
            option = f"--{name.replace('_', '-')}"
            raise GradflowError(
                f"{path} was measured with {option} {_said(before.get(name))}, "
                f"not {_said(now.get(name))}",
                "the same options, or another file",
            )
    return result.records


def _read(path: str) -> SweepResult:
    stored = content(Path(path), _LARGEST)
    if stored is None:
        raise GradflowError(f"there is no file '{path}'")
    try:
        result = Result.from_dict(parse(stored))
    except ValueError as error:
        raise GradflowError(f"'{path}' is no JSON result of a sweep: {error}") from None
    if not isinstance(result, SweepResult):
        raise GradflowError(f"'{path}' is a result of '{result.command}', not of a sweep")
    return result


def _said(value: Any) -> str:
    return "unset" if value is None else str(value)
