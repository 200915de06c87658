"""What several checks count and say in the same way. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from gradflow.findings.thresholds import DEAD

STOPPED = "stopped by Ctrl-C"


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


def named_layers(rows: Sequence[Layer | int]) -> str:
    """Return the layers in words: one, a range, or a list."""
    numbers = [row if isinstance(row, int) else row.index for row in rows]
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"layers {numbers[0]} to {numbers[-1]}"
    return "layers " + ", ".join(map(str, numbers))


def shares(values: dict[str, Any]) -> str:
    """Return a list of names, each with its share in percent."""
    return ", ".join(f"{name} {share:.0%}" for name, share in values.items())
