"""Ranges as they are typed: ``start:stop:step``, the stop included. Standard library only."""

from __future__ import annotations

import math
import re

from gradflow.errors import GradflowError

MAX_POINTS = 1_000_000
#: A range as it is written elsewhere: 10-40, 0.5..3.
_OTHER = re.compile(r"(\d+(?:\.\d+)?)(?:-|\.\.)(\d+(?:\.\d+)?)")


def span(name: str, text: str) -> list[float]:
    """Return the numbers of a range.

    Parameters
    ----------
    name
        The option's, for errors.

    Raises
    ------
    GradflowError
        If the text is no range, never arrives, or has over a million numbers.
    """
    start, stop, step = _parts(name, text)
    if step == 0 or (stop - start) / step < 0:
        raise GradflowError(
            f"{name}: '{text}' never arrives: step {step:g} leads away from the stop"
        )
    steps = (stop - start) / step
    if steps >= MAX_POINTS:
        raise GradflowError(f"{name}: '{text}' is more than {MAX_POINTS:,} points", "a larger step")
    count = math.floor(steps * (1 + 1e-12) + 1e-9) + 1  # 0:1:0.1 has 11 points, in binary too
    # Rounded to the step's own digits where that changes nothing else: 0.3, not 0.30000000000000004
    return [float(f"{start + i * step:.15g}") for i in range(count)]


def is_plain(text: str) -> bool:
    """Return whether a number is written as everywhere else: in ASCII, without underscores."""
    return text.isascii() and "_" not in text


def _parts(name: str, text: str) -> tuple[float, float, float]:
    words = text.split(":")
    try:
        if len(words) != 3 or not is_plain(text):
            raise ValueError(text)
        start, stop, step = map(float, words)
        if not all(map(math.isfinite, (start, stop, step))):
            raise ValueError(text)
    except ValueError:
        raise GradflowError(f"{name}: '{text}' is not start:stop:step", like(name, words)) from None
    return start, stop, step


def ends(text: str) -> list[str]:
    """Return where a range begins and ends that is written as elsewhere; nothing for all others."""
    found = _OTHER.fullmatch(text)
    return list(found.groups()) if found else []


def like(name: str, words: list[str], usual: str = "-5:5:0.5") -> str:
    """Return an example: with what was typed, where only the step is missing; else the usual."""
    try:
        start, stop = map(float, words)
    except ValueError:
        return f"like {name} {usual}"
    step = float(f"{(stop - start) / 10:.1g}")
    whole = all(word.strip("+-").isdecimal() for word in words)
    stride = math.copysign(max(1.0, abs(step)), stop - start) if whole else step
    return f"like {name} {words[0]}:{words[1]}:{stride:g}"
