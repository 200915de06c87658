"""The learning rate that one backward pass suggests. Standard library only."""

from __future__ import annotations

import math

#: Of gradient descent: the first update beside √(‖w‖ · rms w), at a momentum of 0.9.
DESCENT = 0.056
#: Of optimizers that scale the gradient away (Adam and its kin): the first update's length.
SCALED = 0.75
#: And of these the largest step of an entry that is suggested.
LARGEST_STEP = 0.01


def of_descent(weights: float, gradient: float, entries: int, momentum: float) -> float | None:
    """Return the rate for gradient descent; None where there is no gradient, or no weight.

    Parameters
    ----------
    weights, gradient
        Their norms, over all entries that are trained.
    """
    if not 0 < gradient < math.inf or not 0 < weights < math.inf:
        return None
    return DESCENT * weights / math.sqrt(math.sqrt(entries)) * (1 - momentum) / 0.1 / gradient


def of_scaled(length: float, step: float) -> float:
    """Return the rate for an optimizer that scales the gradient away.

    Parameters
    ----------
    length, step
        Of its first update at a rate of 1: the norm, and by how much an entry moves.
    """
    return min(SCALED / length, LARGEST_STEP / step)


def factor(used: float, right: float) -> str:
    """Return how far a rate in use lies from another: ``"40 times above"``."""
    way, ratio = ("above", used / right) if used > right else ("below", right / used)
    return f"{float(f'{ratio:.2g}'):,g} times {way}"
