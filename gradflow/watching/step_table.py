"""Numbers that were read of layers, step by step, on their device until the end."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers, as_tensor

#: The columns of the table.
SAMPLED = ("activation_mean", "activation_rms", "zero_fraction", "delta_rms", "dead_fraction")


#: Steps, sensors, entries, numbers: a plain tuple, made between large products.
Note = tuple[list[int], list[int], int, Numbers]


class Ledger:
    """Notes numbers, and adds up those of a layer that was called several times in a step."""

    def __init__(self) -> None:
        self._new: dict[str, list[Note]] = defaultdict(list)
        self._blocks: list[tuple[str, NDArray[np.int64], Tensor]] = []

    def note(
        self, quantity: str, steps: list[int], sensors: list[int], entries: int, numbers: Numbers
    ) -> None:
        """Note numbers, each of a step and a sensor, and of how many entries every one is.

        Their quantity is "sum", "norm" or "nonzero" of activations, "delta_norm", "dead", or
        "scale".
        """
        self._new[quantity].append((steps, sensors, entries, numbers))

    def tidy(self, loose: int = 2000) -> None:
        """Put notes into few arrays, if there are so many; nothing waits for the device."""
        if sum(map(len, self._new.values())) < loose:
            return
        kinds: dict[tuple[str, torch.device], list[Note]] = defaultdict(list)
        for quantity, notes in self._new.items():
            for note in notes:
                device = note[3].device if isinstance(note[3], Tensor) else torch.device("cpu")
                kinds[quantity, device].append(note)
        for (quantity, _), notes in kinds.items():
            steps = np.fromiter(chain.from_iterable(n[0] for n in notes), np.int64)
            sensors = np.fromiter(chain.from_iterable(n[1] for n in notes), np.int64)
            entries = np.repeat([n[2] for n in notes], [len(n[0]) for n in notes])
            values = torch.cat([as_tensor(n[3]) for n in notes])
            self._blocks.append((quantity, np.stack([steps, sensors, entries]), values))
        self._new.clear()

    def table(self, steps: int, sensors: int) -> Floats:
        """Return all of it, brought to the host at once from every device.

        Returns
        -------
        array
            (steps, sensors, quantities): see `SAMPLED`; NaN where nothing was noted.
        """
        self.tidy(0)
        if not self._blocks:
            return np.full((steps, sensors, len(SAMPLED)), np.nan)
        totals = _Totals(steps, sensors)
        for device in {values.device for *_, values in self._blocks}:
            blocks = [block for block in self._blocks if block[2].device == device]
            flat = torch.cat([values for *_, values in blocks]).cpu().double().numpy()
            ends = np.cumsum([len(values) for *_, values in blocks])[:-1]
            for (quantity, whose, _), numbers in zip(blocks, np.split(flat, ends), strict=True):
                totals.add(quantity, whose, numbers)
        return totals.table()


class _Totals:
    """(steps, sensors) for each quantity: its total, and of how many entries that is."""

    def __init__(self, steps: int, sensors: int) -> None:
        self.shape = (steps, sensors)
        self.totals: dict[str, Floats] = {}
        self.entries: dict[str, Floats] = {}

    def add(self, quantity: str, whose: NDArray[np.int64], numbers: Floats) -> None:
        done = whose[0] < self.shape[0]  # not those of a step under way
        place, entries = (whose[0, done], whose[1, done]), whose[2, done]
        total = self.totals.setdefault(quantity, np.zeros(self.shape))
        together = np.hypot if "norm" in quantity else np.add
        together.at(total, place, numbers[done])
        np.add.at(self.entries.setdefault(quantity, np.zeros(self.shape)), place, entries)

    def mean(self, quantity: str, power: float = 1.0) -> Floats:
        if quantity not in self.totals:
            return np.full(self.shape, np.nan)
        entries = self.entries[quantity]
        return self.totals[quantity] / np.where(entries, entries, np.nan) ** power

    def table(self) -> Floats:
        delta = self.mean("delta_norm", 0.5)
        if "scale" in self.totals:
            delta /= self.totals["scale"][:, :1]
        columns = (
            self.mean("sum"),
            self.mean("norm", 0.5),
            1 - self.mean("nonzero"),
            delta,
            self.mean("dead"),
        )
        return np.stack(columns, axis=2)
