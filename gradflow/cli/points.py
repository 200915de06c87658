"""Points and ranges as they are typed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TextIO

from gradflow.configs.fields import is_plain
from gradflow.errors import GradflowError

MAX_POINTS = 1_000_000


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
            points += _span(text)
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
        raise GradflowError(
            f"{source}: '{text}' is not a number", "give a number, start:stop:step, or -"
        ) from None


def _span(text: str) -> list[float]:
    parts = [_number(part, "--at") for part in text.split(":")]
    if len(parts) != 3 or not all(map(math.isfinite, parts)):
        raise GradflowError(f"--at: '{text}' is not start:stop:step", "like --at -5:5:0.5")
    start, stop, step = parts
    if step == 0 or (stop - start) / step < 0:
        raise GradflowError(f"--at: '{text}' never arrives: step {step:g} leads away from the stop")
    steps = (stop - start) / step
    if steps >= MAX_POINTS:
        raise GradflowError(f"--at: '{text}' is more than {MAX_POINTS:,} points", "a larger step")
    count = math.floor(steps * (1 + 1e-12) + 1e-9) + 1  # 0:1:0.1 has 11 points, in binary too
    # Rounded to the step's own digits where that changes nothing else: 0.3, not 0.30000000000000004
    return [float(f"{start + i * step:.15g}") for i in range(count)]
