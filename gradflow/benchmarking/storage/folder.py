"""A run's folder: whose it is, config, a line per epoch as it comes, checkpoints.

    run.json           which run it is, with hashes of its config and its images
    config.json        what the numbers depend on
    environment.json   where they were made
    history.jsonl      an epoch per line
    flow.jsonl         a layer in an epoch per line
    checkpoints/       the state of every run after its last epoch
    result.json, table.md, figure.png    of what is there so far (written by the command)
    .lock              held by the process that writes

All is read and checked before the first write. Standard library only, but for the lock.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gradflow.benchmarking.events import EpochDone
from gradflow.benchmarking.storage import files, marker, rows
from gradflow.benchmarking.storage.environment import Environment
from gradflow.benchmarking.storage.marker import Marker, config_hash
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.errors import GradflowError
from gradflow.results.base import Row
from gradflow.results.benchmark import FlowRow, HistoryRow, Setting
from gradflow.results.decoding import parse, value

#: What the command makes of a run, in its folder.
VIEWS = ("result.json", "table.md", "figure.png")
_CONFIG, _ENVIRONMENT, _HISTORY = "config.json", "environment.json", "history.jsonl"
_FLOW, _CHECKPOINTS, _LOCK = "flow.jsonl", "checkpoints", ".lock"
_FILES = (marker.NAME, _CONFIG, _ENVIRONMENT, _HISTORY, _FLOW, *VIEWS)
_MOST_BYTES = 1 << 24
_OTHER = "choose another --output-dir"


class RunDirectory:
    """The folder of one run of ``benchmark``.

    Parameters
    ----------
    path
        Where it is, or will be.

    Attributes
    ----------
    marker
        Whose it is; None before a run begins, and in a folder that gradflow 0.1 wrote.

    Raises
    ------
    GradflowError
        If it is no folder, or its marker is damaged.
    """

    def __init__(self, path: Path) -> None:
        if os.path.lexists(path) and not path.is_dir():
            raise GradflowError(f"'{path}' is no folder", "name the folder of a run")
        self.path = path
        self.history_file, self.flow_file = path / _HISTORY, path / _FLOW
        self.checkpoints = path / _CHECKPOINTS
        self.marker = Marker.read(path)
        self._begun = self.marker is not None

    def check(self, settings: dict[str, Any], data: str, resume: bool) -> None:
        """Refuse a folder that is not this run's. Nothing is written.

        Parameters
        ----------
        settings, data
            As in `Marker.new`.

        Raises
        ------
        GradflowError
            If there is a run and `resume` is False, or it is another; if there is none, and a file
            that it would write is there.
        """
        self._refuse_foreign(resume)
        if self.marker is None:
            return
        self._compare(settings)
        if self.marker.data != data:
            raise GradflowError(
                f"'{self.path}' holds a run on other images: the contents of --data "
                f"{settings.get('data')} are not what they were",
                "resume with the data of the first run, or choose another --output-dir",
            )

    def identify(self, settings: dict[str, Any], data: str, threads: int) -> Marker:
        """Return the marker of the run that is there, or of the one that begins. As `check`."""
        if self.marker is None:
            self.marker = Marker.new(settings, data, threads)
        return self.marker

    def begin(
        self, settings: dict[str, Any], environment: Environment, events: Iterable[EpochDone]
    ) -> None:
        """Write whose the folder is, and exactly these epochs.

        Raises
        ------
        GradflowError
            If a file cannot be written.
        """
        if self.marker is not None and not self._begun:
            self.marker.write(self.path)
        with _usable(self.path):
            self.checkpoints.mkdir(exist_ok=True)
        given = {name: settings[name] for name in (*marker.GROWS, *marker.MOVES)}
        files.write(self.path / _CONFIG, _text({**(self._config() or settings), **given}))
        files.write(self.path / _ENVIRONMENT, _text(vars(environment)))
        self.rewrite(events)

    def config(self) -> dict[str, Any]:
        """Return the stored config.

        Raises
        ------
        GradflowError
            If there is none, it is damaged, or that of another run.
        """
        config = self._config()
        if config is None:
            raise self._no_run(_CONFIG)
        return config

    def environment(self) -> Environment:
        """Return the stored environment, as `config`."""
        stored = self._document(_ENVIRONMENT)
        if stored is None:
            raise self._no_run(_ENVIRONMENT)
        with _damaged(self.path / _ENVIRONMENT):
            return Environment.read(stored)

    def _no_run(self, name: str) -> GradflowError:
        return GradflowError(
            f"'{self.path}' holds no run: there is no {name}",
            "name a folder that --output-dir wrote",
        )

    def _config(self) -> dict[str, Any] | None:
        stored = self._document(_CONFIG)
        if stored and self.marker and config_hash(stored) != self.marker.config:
            raise GradflowError(
                f"'{self.path / _CONFIG}' was changed, or is of another run", _OTHER
            )
        return stored

    def _document(self, name: str) -> dict[str, Any] | None:
        stored = files.content(self.path / name, _MOST_BYTES)
        if stored is None:
            return None
        with _damaged(self.path / name):
            document: dict[str, Any] = value(dict[str, Any], parse(stored))
        return document

    def _refuse_foreign(self, resume: bool) -> None:
        present = [name for name in (*_FILES, _CHECKPOINTS) if os.path.lexists(self.path / name)]
        if self.marker is None and present:
            raise self._foreign(present)
        if self.marker is not None and not resume:
            raise GradflowError(
                f"'{self.path}' holds a run already",
                "--resume continues it; or another --output-dir",
            )
        for name in present:
            _refuse_no_file(self.path / name, name == _CHECKPOINTS)

    def _foreign(self, present: list[str]) -> GradflowError:
        if {_CONFIG, _ENVIRONMENT} <= set(present):
            return GradflowError(
                f"'{self.path}' holds a run of gradflow 0.1, which does not say what its images "
                "were; it can be shown, not continued",
                f"gradflow benchmark --from {self.path}; or choose another --output-dir",
            )
        return GradflowError(
            f"'{self.path}' holds {present[0]}, and no run of gradflow wrote it", _OTHER
        )

    def _compare(self, settings: dict[str, Any]) -> None:
        """Say which option is another than the run was begun with."""
        stored = {**BenchmarkConfig().settings(), **(self._config() or settings)}
        for key in settings.keys() | stored.keys():
            ours, theirs = settings.get(key), stored.get(key)
            if ours != theirs and key not in (*marker.GROWS, *marker.MOVES):
                raise GradflowError(
                    f"'{self.path}' holds a run with {key} = {_shown(theirs)}, not {_shown(ours)}",
                    "resume with the options of the first run, or choose another --output-dir",
                )
        if self._config() is None and self.marker and self.marker.config != config_hash(settings):
            raise GradflowError(
                f"'{self.path}' holds a run with other options, and no {_CONFIG} that says which",
                "resume with the options of the first run, or choose another --output-dir",
            )

    def checkpoint(self, setting: Setting, seed: int) -> Path:
        """Return the file of a run's checkpoint, named after what differs from the defaults."""
        differing = setting.differing()
        differing.pop("activation", None)
        words = [setting.activation, *(f"{name}={value}" for name, value in differing.items())]
        name = "-".join([*words, f"seed{seed}"]).replace("/", "_").replace(" ", "")
        return self.checkpoints / f"{name}.pt"

    def history(self) -> list[HistoryRow]:
        """Return the stored epochs; a last line that was cut off is left out.

        Raises
        ------
        GradflowError
            If another line is not an epoch of this run.
        """
        return list(rows.read(self.history_file, HistoryRow, self._run))

    def flow(self) -> list[FlowRow]:
        """Return the stored layers, as `history`."""
        return list(rows.read(self.flow_file, FlowRow, self._run))

    def rewrite(self, events: Iterable[EpochDone]) -> None:
        """Make the files hold exactly these epochs.

        Raises
        ------
        GradflowError
            If they cannot be written.
        """
        events = list(events)
        files.write(self.flow_file, self._lines(row for event in events for row in event.flow))
        files.write(self.history_file, self._lines(event.history for event in events))

    def append(self, event: EpochDone) -> None:
        """Add one epoch; the system has it when this returns.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        files.append(self.flow_file, self._lines(event.flow))
        files.append(self.history_file, self._lines([event.history]))

    @property
    def _run(self) -> str | None:
        return None if self.marker is None else self.marker.run

    def _lines(self, of: Iterable[Row]) -> bytes:
        return b"".join(rows.line(row, self._run) for row in of)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no other process write to a folder within the block; it is made if need be.

    Raises
    ------
    GradflowError
        If another process is at work in it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / _LOCK, timeout=0)
    with _usable(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise GradflowError(
                f"another process is at work in '{path}'",
                "wait until it is done, or choose another --output-dir",
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GradflowError(f"cannot use folder '{path}': {error.strerror}") from error


@contextlib.contextmanager
def _damaged(file: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise GradflowError(f"{file} is damaged: {error}", _OTHER) from error


def _refuse_no_file(path: Path, folder: bool) -> None:
    """Refuse a link, through which another file would be written, and what is no plain file."""
    if path.is_symlink() or not (path.is_dir() if folder else path.is_file()):
        kind = "folder" if folder else "regular file"
        raise GradflowError(f"'{path}' is a link or no {kind}, and no part of a run", "remove it")


def _text(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
