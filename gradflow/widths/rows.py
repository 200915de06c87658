"""From trained networks of several widths and seeds to slopes: rows and coordinates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from gradflow.findings.thresholds import WIDTH_POWER
from gradflow.results.width import FAIL, PASS, CoordinateRow, WidthRow
from gradflow.widths.coordinates import Moved, Trained

#: name of a layer -> how it moved, by width and seed.
Layers = dict[str, dict[tuple[int, int], Moved]]


#: The first power beside 0 that theory gives: it has to be outside of the interval of a pass.
_NEXT = 0.5


class Slope(NamedTuple):
    """A power of the width: its mean over the seeds, and its 95 % interval where there is one."""

    mean: float
    low: float | None = None
    high: float | None = None

    def outside(self) -> bool:
        """Return whether all of its interval is further from 0 than what is borne."""
        ends = (self.mean if e is None else e for e in (self.low, self.high))
        low, high = ends
        return low > WIDTH_POWER or high < -WIDTH_POWER

    def judged(self) -> str | None:
        """Return whether it passes; None where the seeds do not agree on it."""
        if self.outside():
            return FAIL
        ends = (self.mean if e is None else e for e in (self.low, self.high))
        sure = all(abs(end) < _NEXT for end in ends)
        return PASS if sure and abs(self.mean) <= WIDTH_POWER else None


def layers_of(networks: Sequence[Trained]) -> Layers:
    """Return the layers of all networks, in the order in which they come first."""
    found: Layers = {}
    for network in networks:
        for layer in network.layers:
            found.setdefault(layer.name, {})[network.width, network.seed] = layer
    return found


def width_rows(
    networks: Sequence[Trained], roles: dict[str, str], repaired: Sequence[Trained] = ()
) -> tuple[WidthRow, ...]:
    """Return a row per layer.

    Parameters
    ----------
    roles
        Of layers, by name.
    repaired
        The same networks, repaired.
    """
    again = layers_of(repaired)
    every = layers_of(networks).items()
    return tuple(
        _with_repair(_row(number, name, layers, roles), again.get(name, {}))
        for number, (name, layers) in enumerate(every, start=1)
    )


def _row(
    number: int, name: str, layers: dict[tuple[int, int], Moved], roles: dict[str, str]
) -> WidthRow:
    first = next(iter(layers.values()))
    role = roles.get(name, "")
    step, change = _furthest(layers)
    start = slope(layers, lambda layer: layer.outputs[0])
    return WidthRow(
        index=number,
        name=name,
        kind=first.kind,
        role=role,
        **_ends("slope", change),
        step=step,
        **_ends("start_slope", start),
        judged=_both(change, start, role),
        widths=len({width for width, _ in layers}),
    )


def _with_repair(row: WidthRow, layers: dict[tuple[int, int], Moved]) -> WidthRow:
    if not layers:
        return row
    _, change = _furthest(layers)
    start = slope(layers, lambda layer: layer.outputs[0])
    return dataclasses.replace(
        row, **_ends("repaired_slope", change), repaired_judged=_both(change, start, row.role)
    )


def _both(change: Slope | None, start: Slope | None, role: str) -> str | None:
    """Judge how a layer moves, and how large its outputs are before it does.

    The outputs of the last layer, as of all whose inputs alone grow, may shrink at the start: a
    network in which training moves them as far at every width begins with less and less of them.
    """
    if start is not None and start.outside() and (start.mean > 0 or role != "output"):
        return FAIL
    return None if change is None else change.judged()


def _ends(name: str, found: Slope | None) -> dict[str, Any]:
    if found is None:
        return {name: None}
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _furthest(layers: dict[tuple[int, int], Moved]) -> tuple[int | None, Slope | None]:
    """The step at which the slope of the change is furthest from 0, and the slope."""
    steps = min(len(layer.changes) for layer in layers.values())
    found = {
        step: known
        for step in range(1, steps + 1)
        if (known := slope(layers, _change_after(step))) is not None
    }
    if not found:
        return None, None
    step = max(found, key=lambda step: abs(found[step].mean))
    return step, found[step]


def _change_after(step: int) -> Callable[[Moved], float]:
    return lambda layer: layer.changes[step - 1]


def slope(layers: dict[tuple[int, int], Moved], value: Callable[[Moved], float]) -> Slope | None:
    """Fit the power of the width by which a number grows, seed by seed.

    A seed counts where the number is finite and not 0 at two widths or more, and at every width at
    which it was trained.
    """
    points: dict[int, list[tuple[float, float]]] = {}
    for (width, seed), layer in layers.items():
        points.setdefault(seed, []).append((width, value(layer)))
    powers = [
        _fitted(own)
        for own in points.values()
        if len(own) > 1 and all(0 < number < math.inf for _, number in own)
    ]
    return _interval(powers) if powers else None


def _fitted(points: list[tuple[float, float]]) -> float:
    """The slope of a line through logarithms, by least squares."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def _interval(powers: list[float]) -> Slope:
    mean = float(np.mean(powers))
    if len(powers) == 1:
        return Slope(mean)
    error = float(np.std(powers, ddof=1)) / math.sqrt(len(powers))
    half = float(stdtrit(len(powers) - 1, 0.975)) * error
    return Slope(mean, mean - half, mean + half)


def coordinate_rows(networks: Sequence[Trained], *, repaired: bool) -> Iterator[CoordinateRow]:
    """Yield a row per layer, width and step."""
    for name, layers in layers_of(networks).items():
        by_width: dict[int, list[Moved]] = {}
        for (width, _), layer in layers.items():
            by_width.setdefault(width, []).append(layer)
        for width, own in sorted(by_width.items()):
            for step in range(len(own[0].outputs)):
                changes = [layer.changes[step - 1] if step else 0.0 for layer in own]
                outputs = [layer.outputs[step] for layer in own]
                yield CoordinateRow(name, width, step, median(changes), median(outputs), repaired)
