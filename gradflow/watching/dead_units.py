"""Where an activation is flat, and which units never leave its flat parts: dead ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradflow.measurement.preserving import random_states_kept
from gradflow.measurement.slopes import Function, slope
from gradflow.measurement.stats import numpy_has

#: Far enough out for every activation to be flat, if it ever is.
_FAR = 1e4


class FlatLevels(NamedTuple):
    """The values at which an activation is flat far out: 0 for ReLU, ±1 for tanh."""

    levels: tuple[float, ...] = ()

    def left(self, values: Tensor, unit_axis: int) -> Tensor:
        """Return which units have an entry off the levels.

        Parameters
        ----------
        values
            (calls, …), units along `unit_axis`.

        Returns
        -------
        Tensor
            (calls, units), boolean.
        """
        others = tuple(axis for axis in range(1, values.dim()) if axis != unit_axis)
        if type(values) is Tensor and numpy_has(values):
            # NumPy takes a fifth of the time; of a copy, since what it has seen is never resized.
            return torch.from_numpy(self._off(values.clone().numpy()).any(others))
        off: Tensor = self._off(values)
        return off.any(others) if others else off

    def _off(self, values: Any) -> Any:
        """Return which entries are off the levels, of an array of NumPy's or torch's."""
        off = values != self.levels[0]
        for level in self.levels[1:]:
            off &= values != level
        return off


def flat_levels(function: Function, like: Tensor) -> FlatLevels:
    """Return where an activation is flat, by calling it far out, random states kept."""
    if like.device.type == "meta":  # nothing can be read there
        return FlatLevels((0.0,))
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module):  # a copy: it may count its calls
        function = copy.deepcopy(owner).forward
    x = torch.tensor([-_FAR, _FAR], dtype=torch.float32, device=like.device).to(like.dtype)
    with random_states_kept():
        ends = zip(function(x.clone()).tolist(), slope(function, x).tolist(), strict=True)
    return FlatLevels(tuple(value for value, rise in ends if rise == 0))


class DeadUnitWindow:
    """The last batches, in which a unit has to stay on a flat level to count as dead.

    Parameters
    ----------
    size
        How many batches.
    """

    def __init__(self, size: int) -> None:
        self.size, self.batch = size, size
        # By layer, (units,): the batch in which a unit last left the levels; 0 for never.
        self._last: dict[int, Tensor] = {}

    def next_batch(self, left: dict[int, Tensor]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        """Move on by a batch, given which units of each layer left the levels in it.

        Yields
        ------
        layers, dead
            (layers,): the share of units that no batch of the window took off a level.
        """
        alike: dict[tuple[int, torch.device], list[int]] = {}
        for layer, units in left.items():
            alike.setdefault((len(units), units.device), []).append(layer)
        for layers in alike.values():
            yield tuple(layers), self._dead(layers, torch.stack([left[i] for i in layers]))
        self.batch += 1

    def _dead(self, layers: list[int], left: Tensor) -> Tensor:
        never = torch.zeros_like(left[0], dtype=torch.long)
        before = [self._last.get(layer, never) for layer in layers]
        # Other units than before begin anew.
        known = torch.stack([row if row.shape == never.shape else never for row in before])
        last = torch.where(left, self.batch, known)
        self._last.update(zip(layers, last.unbind(), strict=True))
        return (last <= self.batch - self.size).sum(1, dtype=torch.float32) / last.shape[1]
