"""Numbers that were read of layers, step by step, on their device until the end."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers
from gradflow.measurement.stats import accumulator
from gradflow.watching.sampled import SAMPLED, TOTALS

#: Of one quantity: layers, entries that every number is of, and the numbers.
_Numbers = tuple[Sequence[int], int, Numbers]


_NOTHING = np.empty((0, 3), np.int64), torch.empty(0)


class StepTable:
    """Collects numbers, and adds up those of a layer that was called several times in a step."""

    def __init__(self) -> None:
        self._new: dict[str, list[_Numbers]] = defaultdict(list)
        self._steps: list[tuple[NDArray[np.int64], Tensor]] = []
        self._scales: list[Tensor | None] = []

    def add(self, total: str, layers: Sequence[int], entries: int, numbers: Numbers) -> None:
        """Add a number to each of the layers in the step under way.

        Parameters
        ----------
        total
            One of `TOTALS`.
        entries
            That each number is of.
        """
        self._new[total].append((layers, entries, numbers))

    def close_step(self, scale: Tensor | None) -> None:
        """End the step under way, whose loss was multiplied by `scale`, 0-d, if by anything."""
        self._scales.append(scale)
        self._steps.append(_NOTHING)  # stays where what was read cannot be put together
        if self._new:
            new, self._new = self._new, defaultdict(list)
            self._steps[-1] = _gathered(new)

    def table(self, layers: int) -> Floats:
        """Return all of it, brought to the host at once from every device.

        Returns
        -------
        array
            (steps, layers, quantities): see `SAMPLED`; NaN where nothing was read.
        """
        if not self._steps:
            return np.empty((0, layers, len(SAMPLED)))
        shape = (len(TOTALS), len(self._steps), layers)
        totals, entries = np.zeros(shape), np.zeros(shape)
        squared = np.array([t.squared for t in TOTALS.values()])
        for step, numbers in enumerate(_on_host([values for _, values in self._steps])):
            keys = self._steps[step][0]
            place = keys[:, 0], np.full(len(keys), step), keys[:, 1]
            norms = squared[keys[:, 0]]
            for some, add in ((norms, np.hypot), (~norms, np.add)):
                add.at(totals, tuple(axis[some] for axis in place), numbers[some])
            np.add.at(entries, place, keys[:, 2])
        counts = np.where(entries, entries, np.nan)
        means = totals / np.where(squared[:, None, None], np.sqrt(counts), counts)
        named = dict(zip(TOTALS, means, strict=True))
        found = np.stack([q.value(named) for q in SAMPLED.values()], axis=2)
        return found / self._scale()

    def _scale(self) -> Floats:
        """(steps, 1, quantities): what δ was multiplied by."""
        scales = np.ones((len(self._scales), 1, len(SAMPLED)))
        known = [(i, s) for i, s in enumerate(self._scales) if s is not None]
        values = _on_host([s.reshape(1) for _, s in known])
        for (step, _), value in zip(known, values, strict=True):
            scales[step, 0, [q.scaled for q in SAMPLED.values()]] = value
        return scales


def _gathered(new: dict[str, list[_Numbers]]) -> tuple[NDArray[np.int64], Tensor]:
    """Return the totals, layers and entries that numbers are of, and the numbers."""
    keys, values = [], []
    for place, total in enumerate(TOTALS):
        for layers, entries, numbers in new.get(total, ()):
            keys += [(place, layer, entries) for layer in layers]
            values.append(numbers)
    return np.array(keys, np.int64).reshape(-1, 3), _together(values)


def _together(numbers: Sequence[Numbers]) -> Tensor:
    """Return the numbers of a step as one tensor, on their device if they share one."""
    if all(isinstance(n, array) for n in numbers):
        return torch.tensor([v for n in numbers for v in n], dtype=torch.float64)
    tensors = [n if isinstance(n, Tensor) else torch.tensor(list(n)) for n in numbers]
    device = next(n.device for n in numbers if isinstance(n, Tensor))
    return torch.cat([t.to(device=device, dtype=accumulator(device)) for t in tensors])


def _on_host(tensors: Sequence[Tensor]) -> list[Floats]:
    """Bring tensors to the host, in one transfer from each device."""
    found: list[Floats] = [np.empty(0)] * len(tensors)
    for device in {t.device for t in tensors}:
        there = [i for i, t in enumerate(tensors) if t.device == device]
        flat = torch.cat([tensors[i] for i in there]).cpu().double().numpy()
        ends = np.cumsum([len(tensors[i]) for i in there])[:-1]
        for index, values in zip(there, np.split(flat, ends), strict=True):
            found[index] = values
    return found
