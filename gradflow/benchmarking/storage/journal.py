"""Which epochs are done, in this session and before. Standard library only."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from gradflow.benchmarking.events import EpochDone, Event
from gradflow.benchmarking.storage.folder import RunDirectory
from gradflow.results.benchmark import FlowRow, HistoryRow, Setting

#: A run: what is trained with which seed.
Run = tuple[Setting, int]


class Journal:
    """Keeps the epochs that were finished, and hands every event on.

    Parameters
    ----------
    folder
        Where they are kept as well, if anywhere; what it holds already is read.
    """

    def __init__(
        self, folder: RunDirectory | None, on_event: Callable[[Event], None] | None
    ) -> None:
        self.folder, self.on_event = folder, on_event
        self.busy: dict[Hashable, list[float]] = defaultdict(list)  # seconds per epoch, by worker
        self.events = {} if folder is None else stored(folder)

    def __call__(self, worker: Hashable, event: Event) -> None:
        """Take what a worker emitted."""
        if isinstance(event, EpochDone):
            self._take(worker, event)
        if self.on_event is not None:
            self.on_event(event)

    def _take(self, worker: Hashable, event: EpochDone) -> None:
        if not event.restored:
            self.busy[worker].append(event.history.seconds)
        if event.restored and _key(event) in self.events:
            return
        self.events[_key(event)] = event
        if self.folder is not None:
            self.folder.append(event)

    def finished(self, epochs: int) -> set[Run]:
        """Return the runs that have so many epochs."""
        return finished((event.history for event in self.events.values()), epochs)

    def history(self, runs: Sequence[Run], epochs: int) -> tuple[HistoryRow, ...]:
        """Return the epochs of these runs, up to a number, setting by setting."""
        return tuple(event.history for event in self._of(runs, epochs))

    def flow(self, runs: Sequence[Run], epochs: int) -> tuple[FlowRow, ...]:
        """Return the layers, as `history`."""
        return tuple(row for event in self._of(runs, epochs) for row in event.flow)

    def _of(self, runs: Sequence[Run], epochs: int) -> list[EpochDone]:
        wanted = set(runs)
        found = [
            event
            for (setting, seed, epoch), event in self.events.items()
            if (setting, seed) in wanted and epoch <= epochs
        ]
        return in_order(found, dict(runs))

    def aggregate(self, train_size: int) -> float | None:
        """Return images per second of all workers together; None where nothing was trained."""
        if not self.busy:
            return None
        epochs = sum(len(seconds) for seconds in self.busy.values())
        return train_size * epochs / max(math.fsum(seconds) for seconds in self.busy.values())


def stored(folder: RunDirectory) -> dict[tuple[Setting, int, int], EpochDone]:
    """Return the epochs that a folder holds; of two records of the same one, the later.

    Raises
    ------
    GradflowError
        If a file is damaged.
    """
    flow: dict[tuple[Setting, int, int], dict[int, FlowRow]] = defaultdict(dict)
    for layer in folder.flow():
        flow[layer.setting, layer.seed, layer.epoch][layer.index] = layer
    events = {}
    for row in folder.history():
        key = row.setting, row.seed, row.epoch
        events[key] = EpochDone(row, tuple(flow[key].values()))
    return events


def in_order(events: Iterable[EpochDone], settings: Iterable[Setting]) -> list[EpochDone]:
    """Return the epochs by setting, in the order of these, then by seed and number."""
    place = {setting: index for index, setting in enumerate(settings)}
    return sorted(events, key=lambda e: (place[e.history.setting], e.history.seed, e.history.epoch))


def finished(rows: Iterable[HistoryRow], epochs: int) -> set[Run]:
    """Return the runs that have so many epochs."""
    counts = Counter((row.setting, row.seed) for row in rows)
    return {run for run, count in counts.items() if count >= epochs}


def _key(event: EpochDone) -> tuple[Setting, int, int]:
    return event.history.setting, event.history.seed, event.history.epoch
