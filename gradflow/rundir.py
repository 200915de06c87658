"""A run's folder: ``config.json``, and ``history.jsonl`` with a line per epoch as it comes."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gradflow.errors import GradflowError
from gradflow.results.benchmark import HistoryRow

_CONFIG, _HISTORY = "config.json", "history.jsonl"


class RunDirectory:
    """The folder of one run of ``benchmark``.

    Parameters
    ----------
    path
        Made where it is missing.
    config
        What the numbers depend on, as plain values.
    resume
        Continue the run that is there, if one is.

    Raises
    ------
    GradflowError
        If there is a run and `resume` is False, or its config is another; if a file cannot be
        read or written.
    """

    def __init__(self, path: Path, config: dict[str, Any], resume: bool) -> None:
        self.history_file, config_file = path / _HISTORY, path / _CONFIG
        try:
            path.mkdir(parents=True, exist_ok=True)
            if config_file.exists():
                _check(path, json.loads(config_file.read_text(encoding="utf-8")), config, resume)
            else:
                config_file.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise GradflowError(f"cannot use folder '{path}': {error.strerror}") from error
        except ValueError as error:
            raise GradflowError(
                f"{config_file} is damaged: {error}", "choose another --output-dir"
            ) from error

    def read(self) -> list[HistoryRow]:
        """Return the stored epochs; a last line that was cut off is left out.

        Raises
        ------
        GradflowError
            If another line is not an epoch.
        """
        if not self.history_file.exists():
            return []
        lines = self.history_file.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        return [self._row(number, line) for number, line in enumerate(whole, start=1)]

    def _row(self, number: int, line: str) -> HistoryRow:
        try:
            return HistoryRow(**{k: _decode(v) for k, v in json.loads(line).items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise GradflowError(
                f"{self.history_file}, line {number} is not an epoch: {error}",
                "choose another --output-dir",
            ) from error

    def rewrite(self, rows: Iterable[HistoryRow]) -> None:
        """Make the file hold exactly these epochs.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        temporary = self.history_file.with_suffix(".tmp")
        with self._writing():
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8")
            temporary.replace(self.history_file)

    def append(self, row: HistoryRow) -> None:
        """Add one epoch; the system has it when this returns.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        with self._writing(), self.history_file.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GradflowError(f"cannot write {self.history_file}: {error.strerror}") from error


class Recorder:
    """Keeps the epochs that were finished, before and now, and hands every event on."""

    def __init__(
        self, folder: RunDirectory | None, epochs: int, on_event: Callable[[Any], None] | None
    ) -> None:
        self.folder, self.on_event = folder, on_event
        self.rows: list[HistoryRow] = []
        self.busy: dict[int, list[float]] = defaultdict(list)  # seconds per epoch, by worker
        if folder is not None:
            stored = folder.read()
            whole = finished(stored, epochs)
            self.rows = [row for row in stored if (row.activation, row.seed) in whole]
            folder.rewrite(self.rows)
        self.finished = finished(self.rows, epochs)

    def __call__(self, worker: int, event: Any) -> None:
        """Take what a worker emitted."""
        if isinstance(event, HistoryRow):
            self.rows.append(event)
            self.busy[worker].append(event.seconds)
            if self.folder is not None:
                self.folder.append(event)
        if self.on_event is not None:
            self.on_event(event)

    def ordered(self, names: Sequence[str]) -> tuple[HistoryRow, ...]:
        """Return the epochs by activation, seed and epoch, whichever came first."""
        place = {name: index for index, name in enumerate(names)}
        return tuple(sorted(self.rows, key=lambda r: (place[r.activation], r.seed, r.epoch)))

    def aggregate(self, train_size: int) -> float | None:
        """Return images per second of all workers together."""
        if not self.busy:
            return None
        epochs = sum(len(seconds) for seconds in self.busy.values())
        return train_size * epochs / max(math.fsum(seconds) for seconds in self.busy.values())


def finished(rows: Iterable[HistoryRow], epochs: int) -> set[tuple[str, int]]:
    """Return the (activation, seed) pairs that have all their epochs."""
    counts = Counter((row.activation, row.seed) for row in rows)
    return {pair for pair, count in counts.items() if count >= epochs}


def _check(path: Path, stored: Any, config: dict[str, Any], resume: bool) -> None:
    if not resume:
        raise GradflowError(
            f"'{path}' holds a run already", "--resume continues it; or another --output-dir"
        )
    if not isinstance(stored, dict):
        raise ValueError("not an object")
    for key in config.keys() | stored.keys():
        ours, theirs = config.get(key), stored.get(key)
        if ours != theirs:
            raise GradflowError(
                f"'{path}' holds a run with {key} = {theirs}, not {ours}",
                "resume with the options of the first run, or choose another --output-dir",
            )


def _line(row: HistoryRow) -> str:
    values = {key: _encode(value) for key, value in row.to_dict().items()}
    return json.dumps(values, allow_nan=False) + "\n"


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _decode(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value
