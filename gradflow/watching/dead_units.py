"""Where an activation is flat, and which units never leave it: dead ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from gradflow.measurement.slopes import Function, slope

#: Far enough out for every activation to be on its plateau, if it has one.
_FAR = 1e4


class Plateaus(NamedTuple):
    """The values at which an activation is flat far out, and whether it is never below 0."""

    levels: tuple[float, ...]
    positive: bool

    @property
    def at_zero(self) -> bool:
        """Whether what is off the plateau is above 0, so that sums tell it."""
        return self.positive and self.levels == (0.0,)


def plateaus(function: Function, like: Tensor) -> Plateaus:
    """Return where an activation is flat: at 0 for ReLU, at ±1 for tanh."""
    if like.device.type == "meta":  # nothing can be read there
        return Plateaus((0.0,), True)
    x = torch.tensor([-_FAR, _FAR], dtype=torch.float32, device=like.device).to(like.dtype)
    ends = zip(function(x.clone()).tolist(), slope(function, x).tolist(), strict=True)
    grid = torch.linspace(-8, 8, 1001, device=like.device).to(like.dtype)
    lowest = float(function(grid.clone()).min())
    return Plateaus(tuple(value for value, rise in ends if rise == 0), lowest >= 0)


def extents(values: Tensor, flat: Plateaus, channel: int) -> Tensor:
    """Return how far each unit came off its plateaus.

    Parameters
    ----------
    values
        (calls, …), units along the axis `channel`.

    Returns
    -------
    Tensor
        (calls, units): 0 for a unit all of whose entries are on a plateau, else above. Where
        `flat.at_zero`, the sum of its entries.
    """
    if len(flat.levels) > 1:
        low, high = min(flat.levels), max(flat.levels)
        values = (values - low) * (high - values)
    elif not flat.at_zero:
        values = (values - flat.levels[0]).abs()
    others = [axis for axis in range(1, values.dim()) if axis != channel]
    if flat.at_zero:  # its sum is wanted as well
        return values.sum(others, dtype=torch.promote_types(values.dtype, torch.float32))
    return values.amax(others)


class Awake(NamedTuple):
    """Extents, (calls, units), and the batch and the sensor that each call is of."""

    batches: list[int]
    sensors: list[int]
    extents: Tensor

    def sorted(self) -> Awake:
        """Return them by batch, then by sensor, all calls of a sensor in a batch as one."""
        whose = list(zip(self.batches, self.sensors, strict=True))
        order = sorted(set(whose))
        if order == whose:
            return self
        calls: dict[tuple[int, int], list[Tensor]] = {}
        for key, row in zip(whose, self.extents.unbind(), strict=True):
            calls.setdefault(key, []).append(row)
        rows = [torch.stack(calls[key]).amax(0) for key in order]
        return Awake([b for b, _ in order], [s for _, s in order], torch.stack(rows))


class Window:
    """The last batches, in which a unit has to stay on its plateau to count as dead."""

    def __init__(self, size: int) -> None:
        self.size = size
        # (sensors, units) of those that are read together: the batch in which a unit was awake last
        self._last: dict[tuple[int, ...], Tensor] = {}
        self._home: dict[int, tuple[int, ...]] = {}

    def roll(self, new: Awake) -> Iterator[tuple[list[int], list[int], Tensor]]:
        """Move on over batches, which count from `size`.

        Yields
        ------
        batches, sensors, dead
            (batches, sensors): the share of units that no batch of the window took off a plateau.
        """
        new = new.sorted()
        places: dict[int, list[int]] = {}
        for place, batch in enumerate(new.batches):
            places.setdefault(batch, []).append(place)
        whose = {b: tuple(new.sensors[i] for i in calls) for b, calls in places.items()}
        # Batches without a gap and of the same sensors: a block.
        numbered = enumerate(places)
        for (_, sensors), run in groupby(numbered, lambda ib: (ib[1] - ib[0], whose[ib[1]])):
            batches = [batch for _, batch in run]
            start, stop = places[batches[0]][0], places[batches[-1]][-1] + 1
            block = new.extents[start:stop].view(len(batches), len(sensors), -1)
            yield batches, list(sensors), self._dead(batches, sensors, block)

    def _dead(self, batches: list[int], sensors: tuple[int, ...], extents: Tensor) -> Tensor:
        """(batches, sensors), of (batches, sensors, units)."""
        counted = torch.arange(batches[0], batches[-1] + 1, device=extents.device).view(-1, 1, 1)
        last = (extents != 0) * counted
        before = self._before(sensors, last[0])
        for now in last.unbind():
            before = torch.maximum(before, now, out=now)
        self._last[sensors] = before.clone()
        if not self._at_home(sensors):
            self._home.update(dict.fromkeys(sensors, sensors))
            homes = set(self._home.values())
            self._last = {home: rows for home, rows in self._last.items() if home in homes}
        return (last <= counted - self.size).sum(2, dtype=torch.float32) / last.shape[2]

    def _before(self, sensors: tuple[int, ...], like: Tensor) -> Tensor:
        """Other units than before begin anew."""
        if self._at_home(sensors) and self._last[sensors].shape == like.shape:
            return self._last[sensors]
        rows = []
        for sensor, unknown in zip(sensors, torch.zeros_like(like), strict=True):
            home = self._home.get(sensor, ())
            row = self._last[home][home.index(sensor)] if home else unknown
            rows.append(row if row.shape == unknown.shape else unknown)
        return torch.stack(rows)

    def _at_home(self, sensors: tuple[int, ...]) -> bool:
        """Whether all of them were last read together."""
        return all(self._home.get(sensor) == sensors for sensor in sensors)
