"""What several checks count and say in the same way. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gradflow.findings.thresholds import DEAD, NEAR, Tolerance, tolerances
from gradflow.results.base import WITH_SGD
from gradflow.results.names import IN_WORDS, Named, called, numbered, shortened

#: Layers, or runs of them, that a sentence lists.
_MOST = 8


class Layer(Protocol):
    """A row of any result that stands for a layer."""

    @property
    def index(self) -> int:
        """Its number, from 1."""


class Units(Layer, Protocol):
    """A layer whose units were looked at."""

    @property
    def dead_fraction(self) -> float | None:
        """Share of the units with slope 0 for every example."""


U = TypeVar("U", bound=Units)
N = TypeVar("N", bound=Named)


def lost_decades(rate: float | None, layers: int) -> float | None:
    """Return by how many decades δ shrinks over so many layers, from the fitted rate."""
    if rate is None or not 0 < rate < math.inf:
        return None
    return -math.log10(rate) * layers


def dead_rows(rows: Iterable[U]) -> list[U]:
    """Return the rows of layers that stop the gradient, since nearly all units are dead."""
    return [row for row in rows if (row.dead_fraction or 0) >= DEAD]


def indices(rows: Iterable[Layer]) -> tuple[int, ...]:
    """Return the numbers of the layers."""
    return tuple(row.index for row in rows)


def named_layers(rows: Sequence[Named]) -> str:
    """Return the layers in words, by number and name: one, a range, or a list.

    A name that counts the layers (``hidden3``) needs no number beside it.
    """
    numbers, names = [row.index for row in rows], [called(row) for row in rows]
    if all(numbered(row.name, row.index) for row in rows):
        return _listed(names, _runs(numbers))
    said = f"layer{'s' if len(rows) > 1 else ''} " + _listed(numbers, _runs(numbers))
    return f"{said} ({_names(names, numbers)})"


def at(rows: Iterable[N], numbers: Iterable[int]) -> list[N]:
    """Return the rows of the layers with these numbers."""
    chosen = set(numbers)
    return [row for row in rows if row.index in chosen]


def _names(names: Sequence[str], numbers: Sequence[int]) -> str:
    """The names of layers that their numbers stand beside."""
    short = shortened(names, IN_WORDS)
    if len(_runs(numbers)) == 1 or len(names) <= _MOST:
        return _listed(short, _runs(numbers))
    return f"{short[0]}, …, {short[-1]}"


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last place of every run of numbers that follow each other."""
    breaks = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    return list(zip([0, *breaks], [*(i - 1 for i in breaks), len(numbers) - 1], strict=True))


def _listed(items: Sequence[Any], runs: Sequence[tuple[int, int]]) -> str:
    """The items in words: every run as its first and last, of many runs the first few."""
    words = [f"{items[a]} to {items[b]}" if b > a else f"{items[a]}" for a, b in runs]
    left = sum(b - a + 1 for a, b in runs[_MOST:])
    return ", ".join(words[:_MOST]) + (f" and {left} more" if left else "")


def shares(values: dict[str, Any]) -> str:
    """Return a list of names, each with its share in percent."""
    return ", ".join(f"{name} {share:.0%}" for name, share in values.items())


def first_few(items: Sequence[str], most: int) -> str:
    """Return the first few of a list in words, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


@dataclass(frozen=True)
class Graded:
    """How bad a number is for an optimizer.

    Attributes
    ----------
    severity
        ``"error"``, or ``"warning"`` for what Adam copes with and SGD does not.
    near, whom
        For a message: how near it is to the threshold; at its end, for whom it holds.
    """

    severity: str
    near: str = ""
    whom: str = ""

    def __ge__(self, other: Graded | None) -> bool:
        """Return whether it is as bad as another, or worse."""
        return other is None or self.severity == "error" or other.severity == "warning"


def graded(
    value: float, bound: Callable[[Tolerance], float], optimizer: str | None
) -> Graded | None:
    """Return how bad a number is for an optimizer (None: any); None where it is none too large.

    Parameters
    ----------
    bound
        From what an optimizer copes with to the least value that is too large.
    """
    warns, fails = map(bound, tolerances(optimizer))
    if value >= fails:
        return Graded("error", near(value, fails))
    if value >= warns:
        return Graded("warning", near(value, warns), WITH_SGD)
    return None


def near(value: float, bound: float) -> str:
    """Return how near a value is to the threshold that it passes; nothing where it is far off."""
    close = math.isfinite(value) and abs(value - bound) <= NEAR * bound
    return f", near the threshold of {bound:.1f}" if close else ""
