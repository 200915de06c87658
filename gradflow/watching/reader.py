"""Reads what sensors see of activations and of δ, many small tensors in one call."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers, norm, row_norms
from gradflow.watching.dead_units import Awake, Plateaus, Window, extents
from gradflow.watching.step_table import Ledger

#: Entries up to which a tensor is kept, to be read together with others of its shape: one call for
#: many costs little more than one for each. Of larger ones the memory would tell.
SMALL = 2**16
#: Entries of all the tensors that are kept.
KEPT = 2**22
#: Recorded steps after which all that was kept is read.
STEPS = 24
#: Entries that are read at once: about as many as caches hold.
CHUNK = 2**18


@dataclass(slots=True, eq=False)
class How:
    """How an output is read: where its activation is flat, and the axis of its units.

    The axis counts from that of calls, 0.
    """

    flat: Plateaus
    channel: int


@dataclass(slots=True, eq=False)
class Source:
    """Where tensors come from: δ of a sensor, or its activation, to be read in some way.

    `steady` says whether nobody writes into them before they are read, None if that is not known.
    """

    sensor: int
    how: How | None = None
    steady: bool | None = None


class Call(NamedTuple):
    """A tensor, of which batch and, if it is recorded, of which step."""

    source: Source
    tensor: Tensor
    version: int
    batch: int
    step: int | None


class Units(NamedTuple):
    """Extents of outputs, (calls, units): of which batches, sensors, and steps if recorded."""

    how: How
    entries: int
    batches: list[int]
    sensors: list[int]
    steps: list[int]
    extents: Tensor


class Scratch:
    """Memory to work in on a CPU, which costs more to get anew than to use."""

    def __init__(self) -> None:
        self._floats = torch.empty(0)

    def _of(self, entries: int) -> Tensor:
        if len(self._floats) < entries:
            self._floats = torch.empty(entries)
        return self._floats[:entries]

    def stacked(self, tensors: list[Tensor]) -> Tensor:
        """Return tensors as one, in a dtype to sum in."""
        first = tensors[0]
        if first.device.type == "cpu" and first.dtype == torch.float32:
            room = self._of(len(tensors) * first.numel()).view(len(tensors), *first.shape)
            return torch.stack(tensors, out=room)
        return torch.stack(tensors).to(_wide(first))

    def nonzeros(self, tensor: Tensor) -> Numbers:
        """Return the count of entries that are not 0, (1,)."""
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            count: Tensor = torch.linalg.vector_norm(tensor, 0, dtype=_wide(tensor))
            return count.reshape(1)
        found = 0.0
        for part in torch.split(tensor.reshape(-1), CHUNK):
            signs = torch.sign(part, out=self._of(len(part)))
            found += torch.dot(signs, signs).item()  # takes a tenth of a count's time
        return array("d", [found])


class Reader:
    """Takes outputs and gradients as they come, and writes what it reads into a ledger.

    Small tensors are kept and read together with those of other layers and steps. The first of
    each source is read at once, and looked at again later: what a model overwrites (a sum into the
    output of an activation, say) is read at once ever after.

    Attributes
    ----------
    step
        How many recorded steps are over.
    batch
        The forward pass under way.
    """

    def __init__(self, window: int) -> None:
        self.ledger, self.step, self.batch = Ledger(), 0, window
        self._window = Window(window)
        self._scratch = Scratch()
        self._kept: list[Call] = []
        self._units: list[Units] = []
        self._closed: dict[int, list[int]] = {}
        self._entries, self._trying = 0, False

    def take(self, source: Source, tensor: Tensor, recorded: bool = True) -> None:
        """Read a tensor that is detached, now or later; dead units alone if it is not recorded."""
        entries, step = tensor.numel(), self.step if recorded else None
        if source.steady is not False and entries <= SMALL and self._entries <= KEPT:
            # A named tuple's own constructor takes longer than all the rest.
            call = tuple.__new__(Call, (source, tensor, tensor._version, self.batch, step))
            self._kept.append(call)
            self._entries += entries
            if source.steady:
                return
            self._trying = True
        self._read_alone(source, tensor, step)

    def next_batch(self) -> None:
        """Say that a forward pass begins."""
        if self._entries > KEPT:
            self.settle()
        self.batch += 1

    def close(self, scale: Tensor | None) -> None:
        """Say that a recorded step is over, whose loss was multiplied by `scale`, 0-d."""
        if scale is not None:
            self.ledger.note("scale", [self.step], [0], 1, scale.reshape(1))
        self._closed.setdefault(self.batch, []).append(self.step)
        self.step += 1
        if self._trying or self._entries > KEPT or len(self._closed) >= STEPS:
            self.settle()

    def settle(self) -> None:
        """Read what was kept."""
        kept, self._kept, self._entries, self._trying = self._kept, [], 0, False
        changed = {c.source for c in kept if c.tensor._version != c.version}
        alike: dict[Any, list[Call]] = {}
        for call in kept:
            source, tensor = call.source, call.tensor
            if source.steady and tensor._version == call.version:
                kind = (id(source.how), call.step is None, tensor.shape, tensor.dtype)
                alike.setdefault((*kind, tensor.device), []).append(call)
        for source in {call.source for call in kept}:
            source.steady = source not in changed
        for calls in alike.values():
            size = max(CHUNK // max(calls[0].tensor.numel(), 1), 1)
            for start in range(0, len(calls), size):
                self._read_together(calls[start : start + size])
        self._roll()
        self.ledger.tidy()

    def table(self, sensors: int) -> Floats:
        """Return what was read of the steps that are over: see `Ledger.table`."""
        under_way = None if self.batch in self._closed else self.batch
        kept, units = self._kept, self._units
        self._kept = [c for c in kept if c.batch != under_way]
        self._units = [u for u in units if u.batches[-1] != under_way]
        self.settle()
        self._kept = [c for c in kept if c.batch == under_way]
        self._units = [u for u in units if u.batches[-1] == under_way]
        return self.ledger.table(self.step, sensors)

    def _read_alone(self, source: Source, tensor: Tensor, step: int | None) -> None:
        """Read one; in few lines, for between large products no code is in a cache."""
        how, entries, note = source.how, tensor.numel(), self.ledger.note
        steps, sensors = [] if step is None else [step], [source.sensor]
        if how is None:
            note("delta_norm", steps, sensors, entries, norm(tensor))
            return
        if how.flat.levels:
            away = extents(tensor.unsqueeze(0), how.flat, how.channel)
            self._units.append(Units(how, entries, [self.batch], sensors, steps, away))
            self._entries += away.numel()
        if steps:
            if not how.flat.at_zero:
                note("sum", steps, sensors, entries, tensor.sum(dtype=_wide(tensor)).reshape(1))
            note("norm", steps, sensors, entries, norm(tensor))
            note("nonzero", steps, sensors, entries, self._scratch.nonzeros(tensor))

    def _read_together(self, calls: list[Call]) -> None:
        """Read small ones, of one shape and how to be read."""
        how, entries, note = calls[0].source.how, calls[0].tensor.numel(), self.ledger.note
        sensors = [c.source.sensor for c in calls]
        steps = [c.step for c in calls if c.step is not None]
        values = self._scratch.stacked([c.tensor for c in calls])
        rows = values.flatten(1)
        if how is None:
            note("delta_norm", steps, sensors, entries, row_norms(rows))
            return
        if how.flat.levels:
            batches, away = [c.batch for c in calls], extents(values, how.flat, how.channel)
            self._units.append(Units(how, entries, batches, sensors, steps, away))
        if steps:
            if not how.flat.at_zero:
                note("sum", steps, sensors, entries, rows.sum(1))
            note("norm", steps, sensors, entries, row_norms(rows))
            signs = rows.sign_()  # the copies are no longer wanted
            counts = (signs if how.flat.positive else signs.abs_()).sum(1)
            note("nonzero", steps, sensors, entries, counts)

    def _roll(self) -> None:
        """Move the window over the batches that were read."""
        alike: dict[Any, list[Units]] = {}
        for units in self._units:
            away = units.extents
            kind = (units.how.flat.at_zero, away.shape[1:], away.dtype, away.device)
            alike.setdefault(kind, []).append(units)
        for (at_zero, *_), parts in alike.items():
            together = torch.cat([units.extents for units in parts])
            if at_zero:
                self._note_sums(parts, together.sum(1))
            batches = list(chain.from_iterable(units.batches for units in parts))
            sensors = list(chain.from_iterable(units.sensors for units in parts))
            for run, those, dead in self._window.roll(Awake(batches, sensors, together)):
                self._note_dead(run, those, dead)
        self._units, self._closed = [], {}

    def _note_sums(self, parts: list[Units], sums: Tensor) -> None:
        sizes = [len(units.sensors) for units in parts]
        for units, part in zip(parts, torch.split(sums, sizes), strict=True):
            if units.steps:
                self.ledger.note("sum", units.steps, units.sensors, units.entries, part)

    def _note_dead(self, batches: list[int], sensors: list[int], dead: Tensor) -> None:
        for batch, row in zip(batches, dead.unbind(), strict=True):
            for step in self._closed.get(batch, ()):
                self.ledger.note("dead", [step] * len(sensors), sensors, 1, row)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
