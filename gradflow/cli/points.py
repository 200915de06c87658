"""Points and ranges as they are typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

from gradflow.configs.ranges import is_plain, span
from gradflow.errors import GradflowError

_SEVERAL = re.compile(r"[-+]?[\d.]+(,[-+]?[\d.]+)+", re.ASCII)


def parse_points(texts: Iterable[str], stdin: TextIO) -> list[float]:
    """Return the points that ``--at`` asks for.

    Parameters
    ----------
    texts
        Each a number, ``start:stop:step`` (stop included), or ``-`` for the numbers in `stdin`.
    stdin
        Numbers parted by white space or commas; read only where a text is ``-``.

    Raises
    ------
    GradflowError
        For anything else, for an empty input, and beyond a million points.
    """
    points: list[float] = []
    for text in texts:
        if text == "-":
            points += _numbers(stdin)
        elif ":" in text:
            points += span("--at", text)
        else:
            points.append(_number(text, "--at"))
    return points


def parse_range(text: str) -> tuple[float, float]:
    """Return the two ends of ``LO:HI``."""
    parts = text.split(":")
    if len(parts) != 2:
        raise GradflowError(f"--range must be LO:HI, got '{text}'", "like --range -5:5")
    return _number(parts[0], "--range"), _number(parts[1], "--range")


def _numbers(stdin: TextIO) -> list[float]:
    words = stdin.read().replace(",", " ").split()
    if not words:
        raise GradflowError("--at - found no numbers on standard input", "echo 1 2 3 | gradflow …")
    return [_number(word, "standard input") for word in words]


def _number(text: str, source: str) -> float:
    try:
        if not is_plain(text):
            raise ValueError(text)
        return float(text)
    except ValueError:
        several = source == "--at" and _SEVERAL.fullmatch(text)
        again = " ".join(f"--at {part}" for part in text.split(","))
        hint = again if several else "give a number, start:stop:step, or -"
        raise GradflowError(f"{source}: '{text}' is not a number", hint) from None
